import type { ApicMessage } from './message.ts';
import type { ApicClock } from './timer.ts';

/** A device in physical address space; offsets from its base, sizes in bytes. */
export interface MmioDevice {
  read(offset: number, size: number): bigint;
  write(offset: number, size: number, value: bigint): void;
}

/** What a local APIC asks of the machine. */
export interface LocalApicPorts extends ApicClock {
  /** An interrupt message for other APICs, or for this one too. */
  send(message: ApicMessage): void;
  /** Something may have become pending. */
  attention(): void;
  /** Whether the processor waits for SIPI although no INIT has reset its APIC: VM entry can make it. */
  waitsForSipi?(): boolean;
  /** The processor has taken an interrupt. */
  taken?(interrupt: number | 'NMI'): void;
  /** EOI of a level-triggered vector, told to the I/O APICs. */
  eoi?(vector: number): void;
  /** The i8259 pair behind LINT0. */
  readonly external?: ExternalInterrupts;
}

/** An interrupt controller that hands out vectors itself (ExtINT). */
export interface ExternalInterrupts {
  pendingVector(): number | undefined;
  acknowledge(): number;
}
