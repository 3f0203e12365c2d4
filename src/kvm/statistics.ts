import type { HostCpu, Operations } from '../host/cpu.ts';

/** How often a guest's access to one MSR ended in an exit. */
export interface MsrExits {
  reads: number;
  writes: number;
}

/** What one vCPU has cost its host so far, in events. */
export interface VcpuStatistics {
  entries: number;
  /** VM exits by basic reason. */
  readonly exits: Map<number, number>;
  /** Exits for RDMSR and WRMSR by address. */
  readonly msrExits: Map<number, MsrExits>;
  /** Exits that were handled without leaving the inner loop. */
  fastpath: number;
  /** Times a mediated vPMU was loaded and put. */
  loads: number;
  puts: number;
  /** Accesses within them, and those by which VM entries and exits switch GLOBAL_CTRL. */
  readonly switching: Operations;
  /** PMIs delivered through the guest's LVTPC. */
  pmis: number;
  /** Instructions carried out by KVM: skipped after an exit, or emulated. */
  emulatedInstructions: number;
  /** VM entries that the guest made for a guest of its own, and VM exits it got from there. */
  nestedEntries: number;
  nestedExits: number;
}

export const newStatistics = (): VcpuStatistics => ({
  entries: 0,
  exits: new Map(),
  msrExits: new Map(),
  fastpath: 0,
  loads: 0,
  puts: 0,
  switching: { rdmsr: 0, wrmsr: 0, rdpmc: 0, vmread: 0, vmwrite: 0 },
  pmis: 0,
  emulatedInstructions: 0,
  nestedEntries: 0,
  nestedExits: 0,
});

/** Does part of a switch of the PMU between host and guest, and books its accesses. */
export function switchingPmu<Result>(
  { switching }: VcpuStatistics,
  { operations }: HostCpu,
  work: () => Result,
): Result {
  const { rdmsr, wrmsr, rdpmc, vmread, vmwrite } = operations;
  const result = work();
  switching.rdmsr += operations.rdmsr - rdmsr;
  switching.wrmsr += operations.wrmsr - wrmsr;
  switching.rdpmc += operations.rdpmc - rdpmc;
  switching.vmread += operations.vmread - vmread;
  switching.vmwrite += operations.vmwrite - vmwrite;
  return result;
}

/** All VM exits together. */
export const totalExits = ({ exits }: VcpuStatistics): number =>
  [...exits.values()].reduce((sum, count) => sum + count, 0);

export function countMsrExit(
  { msrExits }: VcpuStatistics,
  address: number,
  access: 'read' | 'write',
): void {
  const entry = msrExits.get(address) ?? { reads: 0, writes: 0 };
  if (access === 'read') entry.reads += 1;
  else entry.writes += 1;
  msrExits.set(address, entry);
}

/** Statistics as plain data. */
export interface SavedStatistics extends Omit<VcpuStatistics, 'exits' | 'msrExits' | 'switching'> {
  readonly exits: readonly (readonly [number, number])[];
  readonly msrExits: readonly (readonly [number, MsrExits])[];
  readonly switching: Readonly<Operations>;
}

export const saveStatistics = (statistics: VcpuStatistics): SavedStatistics => ({
  ...statistics,
  switching: { ...statistics.switching },
  exits: [...statistics.exits],
  msrExits: [...statistics.msrExits].map(([address, counts]) => [address, { ...counts }]),
});

export function restoreStatistics(statistics: VcpuStatistics, saved: SavedStatistics): void {
  const { exits, msrExits, switching, ...counts } = saved;
  Object.assign(statistics, counts);
  Object.assign(statistics.switching, switching);
  statistics.exits.clear();
  for (const [reason, count] of exits) statistics.exits.set(reason, count);
  statistics.msrExits.clear();
  for (const [address, each] of msrExits) statistics.msrExits.set(address, { ...each });
}
