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
  /** PMIs delivered through the guest's LVTPC. */
  pmis: number;
  /** Instructions carried out by KVM: skipped after an exit, or emulated. */
  emulatedInstructions: number;
}

export const newStatistics = (): VcpuStatistics => ({
  entries: 0,
  exits: new Map(),
  msrExits: new Map(),
  fastpath: 0,
  loads: 0,
  puts: 0,
  pmis: 0,
  emulatedInstructions: 0,
});

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
