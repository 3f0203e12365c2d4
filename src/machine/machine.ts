import { readStatusFlags } from '../cpu/flags.ts';
import { ALWAYS_KEPT, STATE } from '../cpu/state/layout.ts';
import type { BootOptions } from '../platform/boot/boot.ts';
import type { Region } from '../platform/boot/regions.ts';
import type { Board } from './board.ts';
import type { Budget } from './budget.ts';
import { digest } from './digest.ts';
import type { Hardware } from './hardware.ts';
import type { GuestLedger } from './ledger.ts';
import type { RunResult } from './outcome.ts';

/** A machine with one guest on it, whoever gives the guest its PMU. */
export interface Machine {
  readonly hardware: Hardware;
  /** The guest's devices. */
  readonly board: Board;
  /** What the guest has done on its first processor, and on each. */
  readonly ledger: GuestLedger;
  readonly ledgers: readonly GuestLedger[];
  /** Stretches of the guest whose exact counts are of interest. */
  readonly regions: readonly Region[];
  /** What its image was booted with. */
  readonly boot: BootOptions;
  /** Bytes of RAM that the guest has. */
  readonly memorySize: number;
  /** What the guest has used up so far: instructions retired, ticks passed. */
  readonly spent: { readonly instructions: bigint; readonly ticks: bigint };
  /** Runs on until the guest ends, or up to a budget. */
  run(budget?: Budget): RunResult;
  /** Everything between two instructions but RAM, as plain data and bytes. */
  save(): object;
  /** Goes back to what a machine made alike has saved; RAM has been restored already. */
  restore(saved: object): void;
}

/** The parts of a state block that every engine leaves the same: all but lazy flags, engine fields and dynamic totals. */
// biome-ignore format: a table
const STATE_PARTS: readonly (readonly [number, number])[] = [
  [STATE.GPR, STATE.FLAG_X], [STATE.CR0, STATE.TOTALS], [STATE.MXCSR, STATE.SCRATCH],
];

/** SHA-256 of what a guest could tell apart: memory, processors with their flags and counts, devices, console. */
export function machineDigest({ hardware, board }: Machine): string {
  const { memory, processors } = hardware;
  const parts: unknown[] = [memory.bytes.subarray(memory.ramBase)];
  for (const { state, pmu, apic } of processors) {
    for (const [from, to] of STATE_PARTS) {
      parts.push(new Uint8Array(memory.linear.buffer, state.base + from, to - from));
    }
    parts.push(
      readStatusFlags(state),
      [...ALWAYS_KEPT].map((name) => state.total(name)),
    );
    parts.push(pmu.save(), apic.save());
  }
  parts.push(board.save());
  return digest(parts);
}
