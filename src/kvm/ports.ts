import type { ExternalInterrupts } from '../apic/ports.ts';
import type { GuestSegmentName } from './guest-state.ts';

/** Port I/O of one VM, as user space answers it. */
export interface VmIoPort {
  read(port: number, size: 1 | 2 | 4): number;
  write(port: number, size: 1 | 2 | 4, value: number): void;
}

/** What a VM has in its physical address space beside RAM and the local APICs; absent memory reads as all ones. */
export interface VmMmioPort {
  read(address: number, size: number): bigint;
  write(address: number, size: number, value: bigint): void;
}

/** Guest-physical memory as an emulator sees it. */
export interface GuestPhysical {
  /** Physical address of guest RAM; `undefined` where there is none. */
  hostAddress(guestPhysical: number): number | undefined;
  /** What is no RAM. */
  readonly mmio: VmMmioPort;
}

/** An exception that the guest is to take. */
export interface GuestFault {
  readonly kind: 'fault';
  readonly vector: number;
  readonly errorCode: number | undefined;
  /** CR2 of a page fault. */
  readonly address: bigint;
}

/** What carrying out one guest instruction in software came to. */
export type Emulation =
  /** Done, RIP advanced; `branch` if it is one of BR_INST_RETIRED.ALL_BRANCHES. */
  | { readonly kind: 'done'; readonly branch: boolean }
  | GuestFault
  /** An instruction the emulator does not know. */
  | { readonly kind: 'unsupported' };

/**
 * The instruction emulator. It works on the guest whose VMCS is current on a CPU and on that CPU's general
 * registers, through the guest's own paging.
 */
export interface Emulator {
  /** Bytes at the guest's linear CS:RIP; fewer where memory ends. */
  fetch(length: number): Uint8Array;
  /** Carries out the instruction `skip` bytes behind RIP. */
  emulate(skip: number): Emulation;
  /** Guest memory as an instruction of the guest's own would read it. */
  load(segment: GuestSegmentName, offset: bigint, size: 4 | 8 | 16): bigint | GuestFault;
  store(
    segment: GuestSegmentName,
    offset: bigint,
    size: 4 | 8,
    value: bigint,
  ): GuestFault | undefined;
}

/** Devices of one VM that keep time and interrupt. They are told the time by their own clock. */
export interface VmDevicePort {
  /** The tick of their next event, Infinity when there is none. */
  nextDeadline(): number;
  /** Does what the clock has reached. */
  elapse(): void;
  /** The i8259 pair, at LINT0 of the first vCPU. */
  readonly external: ExternalInterrupts;
  /** A vCPU's APIC ended a level-triggered interrupt. */
  endOfInterrupt(vector: number): void;
}

/** What the machine supplies for one VM. */
export interface VmPorts {
  readonly io: VmIoPort;
  readonly mmio: VmMmioPort;
  readonly devices?: VmDevicePort;
  /** The emulator for guests of this VM on a physical CPU. */
  emulator(cpu: number, memory: GuestPhysical): Emulator;
}
