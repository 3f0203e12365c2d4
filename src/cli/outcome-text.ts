import { hex } from '../bits/hex.ts';
import type { FaultRecord, RunReason } from '../machine/outcome.ts';

interface Outcome {
  readonly reason: RunReason;
  readonly rip: bigint;
  readonly faults: readonly FaultRecord[];
}

/** Exceptions by vector, as the manual abbreviates them. */
// biome-ignore format: a table
const NAMES: Readonly<Record<number, string>> = {
  0: '#DE', 1: '#DB', 2: 'NMI', 3: '#BP', 4: '#OF', 5: '#BR', 6: '#UD', 7: '#NM', 8: '#DF', 10: '#TS', 11: '#NP', 12: '#SS', 13: '#GP',
  14: '#PF', 16: '#MF', 17: '#AC', 18: '#MC', 19: '#XM', 21: '#CP',
};
const PAGE_FAULT = 14;

function fault({ vector, code, rip, cr2 }: FaultRecord): string {
  const error = code === undefined ? '' : `(${hex(code)})`;
  const address = vector === PAGE_FAULT ? ` CR2 ${hex(cr2)}` : '';
  return `${NAMES[vector] ?? `vector ${vector}`}${error} at RIP ${hex(rip)}${address}`;
}

/** One line on how a run ended that did not end by the guest's own word; undefined if it did. */
export function outcomeLine({ reason, rip, faults }: Outcome): string | undefined {
  switch (reason) {
    case 'exit':
    case 'shutdown':
      return undefined;
    case 'reset':
      return `the guest reset the machine at RIP ${hex(rip)}`;
    case 'budget':
      return `the budget was reached at RIP ${hex(rip)} (--max-instructions and --max-time raise it)`;
    case 'halted-forever':
      return `the guest halted for ever before RIP ${hex(rip)}: interrupts are off or nothing will raise one`;
    case 'triple-fault':
      return `triple fault: ${faults.length > 0 ? faults.map(fault).join(', then ') : `at RIP ${hex(rip)}`}`;
  }
}
