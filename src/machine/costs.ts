import { COSTS, type CostName, type CostTable } from '../host/costs.ts';
import type { Machine } from './machine.ts';
import { VirtualMachine } from './virtual.ts';

/** What one row of the cost table amounted to in a run. */
export interface Cost {
  readonly row: string;
  readonly times: number;
  readonly cycles: number;
  /** One operation: what was charged, and the range it may be doubted in. */
  readonly each: number;
  readonly low: number;
  readonly high: number;
  readonly provenance: string;
  readonly source: string;
}

/** Where root-mode time went on all processors, dearest first; nothing on the bare machine. */
export function costs(machine: Machine): Cost[] {
  if (!(machine instanceof VirtualMachine)) return [];
  const sums = new Map<CostName, { times: number; ticks: number }>();
  for (const { account } of machine.hosts) {
    for (const { name, times, ticks } of account.rows()) {
      const sum = sums.get(name) ?? { times: 0, ticks: 0 };
      sums.set(name, { times: sum.times + times, ticks: sum.ticks + ticks });
    }
  }
  return [...sums]
    .map(([name, { times, ticks }]) => {
      const { cycles, low, high, provenance, source } = COSTS[name];
      return { row: name, times, cycles: ticks, each: cycles, low, high, provenance, source };
    })
    .sort((a, b) => b.cycles - a.cycles || (a.row < b.row ? -1 : 1));
}

/** The cost table with every row at one end of the range it may be doubted in. */
export const costsAt = (end: 'low' | 'high'): CostTable =>
  Object.fromEntries(
    Object.entries(COSTS).map(([name, row]) => [name, { ...row, cycles: row[end] }]),
  ) as Record<CostName, CostTable[CostName]>;
