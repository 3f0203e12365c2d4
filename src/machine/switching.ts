import type { Operations } from '../host/cpu.ts';
import type { Machine } from './machine.ts';
import { VirtualMachine } from './virtual.ts';

/** What a virtual machine's run loop did, in events; all exact. */
export interface Switching {
  readonly entries: number;
  /** Entries straight after a fastpath exit. */
  readonly fastpath: number;
  /** Times a mediated vPMU was loaded and put. */
  readonly loads: number;
  readonly puts: number;
  /** PMIs delivered through the guest's LVTPC. */
  readonly pmis: number;
  /** Instructions that KVM completed for the guest. */
  readonly emulated: number;
  /** Register accesses of root mode, to the PMU and all else. */
  readonly rdmsr: number;
  readonly wrmsr: number;
  readonly rdpmc: number;
  /** Accesses that switch the PMU between host and guest, all together. */
  readonly switches: Readonly<Operations>;
}

/** The run loop's own figures; `undefined` on the bare machine. */
export function switching(machine: Machine): Switching | undefined {
  if (!(machine instanceof VirtualMachine)) return undefined;
  const { entries, fastpath, loads, puts, pmis, emulatedInstructions, switching } =
    machine.vcpu.statistics;
  const { rdmsr, wrmsr, rdpmc } = machine.host.operations;
  return {
    entries,
    fastpath,
    loads,
    puts,
    pmis,
    emulated: emulatedInstructions,
    rdmsr,
    wrmsr,
    rdpmc,
    switches: { ...switching },
  };
}
