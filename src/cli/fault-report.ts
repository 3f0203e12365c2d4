import type { GuestRun } from '../lab/compare.ts';
import { guestRegisters } from '../machine/registers.ts';
import type { Step, Steps } from '../machine/steps.ts';
import type { Typed } from './session.ts';

/** Instructions told of a triple fault. */
const LAST = 32n;
const REGISTERS_A_LINE = 4;
const BYTES_WIDTH = 8 * 3;

const wide = (value: bigint): string => value.toString(16).padStart(16, '0');

/**
 * What stands below the line on a triple fault: registers, and the last instructions, which are found by running the
 * guest once more, since nothing that a run repeats needs to be kept.
 */
export function faultReport(
  run: GuestRun,
  again: GuestRun,
  {
    steps,
    typed,
    disassemble,
  }: { steps: Steps; typed: readonly Typed[]; disassemble: (step: Step) => string },
): string {
  const registers = Object.entries(guestRegisters(run.machine)).map(
    ([name, value]) => `${name.padEnd(6)} ${wide(value)}`,
  );
  const rows = Array.from({ length: Math.ceil(registers.length / REGISTERS_A_LINE) }, (_, row) =>
    registers.slice(row * REGISTERS_A_LINE, (row + 1) * REGISTERS_A_LINE).join('  '),
  );
  const last = lastSteps(again, { end: run.spent.instructions, steps, typed }).map((step) => {
    const bytes = Buffer.from(step.bytes)
      .toString('hex')
      .replace(/(..)(?!$)/g, '$1 ');
    return `  ${wide(step.rip)}  ${bytes.padEnd(BYTES_WIDTH)}  ${disassemble(step)}`;
  });
  return ['', ...rows, '', `the last ${last.length} instructions:`, ...last, ''].join('\n');
}

/** The last instructions before the end of a run, repeated on a machine made alike. */
function lastSteps(
  again: GuestRun,
  { end, steps, typed }: { end: bigint; steps: Steps; typed: readonly Typed[] },
): Step[] {
  const from = end > LAST ? end - LAST : 0n;
  for (const { ticks, bytes } of typed) {
    again.advance({ maxTicks: ticks });
    again.machine.board.type(bytes);
  }
  again.advance({ maxInstructions: from });
  const told: Step[] = [];
  steps.tell((_processor, step) => {
    told.push(step);
    if (told.length > Number(LAST)) told.shift();
  });
  again.advance({});
  return told;
}
