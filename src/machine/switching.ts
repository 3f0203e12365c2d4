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
  /** VM entries that a guest hypervisor made, and VM exits it got. */
  readonly nestedEntries: number;
  readonly nestedExits: number;
  /** Register accesses of root mode, to the PMU and all else. */
  readonly rdmsr: number;
  readonly wrmsr: number;
  readonly rdpmc: number;
  /** Accesses that switch the PMU between host and guest, all together. */
  readonly switches: Readonly<Operations>;
}

/** The run loop's own figures, of all vCPUs; `undefined` on the bare machine. */
export function switching(machine: Machine): Switching | undefined {
  if (!(machine instanceof VirtualMachine)) return undefined;
  const vcpus = machine.vm.vcpus.map(({ statistics }) => statistics);
  const { rdmsr, wrmsr, rdpmc } = operations(machine.hosts.map(({ operations: own }) => own));
  return {
    entries: sum(vcpus, ({ entries }) => entries),
    fastpath: sum(vcpus, ({ fastpath }) => fastpath),
    loads: sum(vcpus, ({ loads }) => loads),
    puts: sum(vcpus, ({ puts }) => puts),
    pmis: sum(vcpus, ({ pmis }) => pmis),
    emulated: sum(vcpus, ({ emulatedInstructions }) => emulatedInstructions),
    nestedEntries: sum(vcpus, ({ nestedEntries }) => nestedEntries),
    nestedExits: sum(vcpus, ({ nestedExits }) => nestedExits),
    rdmsr,
    wrmsr,
    rdpmc,
    switches: operations(vcpus.map(({ switching }) => switching)),
  };
}

const sum = <T>(each: readonly T[], value: (one: T) => number): number =>
  each.reduce((total, one) => total + value(one), 0);

const operations = (each: readonly Readonly<Operations>[]): Operations => ({
  rdmsr: sum(each, ({ rdmsr }) => rdmsr),
  wrmsr: sum(each, ({ wrmsr }) => wrmsr),
  rdpmc: sum(each, ({ rdpmc }) => rdpmc),
  vmread: sum(each, ({ vmread }) => vmread),
  vmwrite: sum(each, ({ vmwrite }) => vmwrite),
});
