import { SECONDARY } from '../msr/vmx.ts';
import type { Controls } from './controls.ts';
import { FIELDS } from './fields.ts';
import type { VmxMachine } from './machine.ts';
import type { Vmcs } from './vmcs.ts';

/** Offsets of registers in the virtual-APIC page. Vol. 3, "Virtualized APIC Registers". */
export const VIRTUAL = {
  VTPR: 0x80,
  VPPR: 0xa0,
  VEOI: 0xb0,
  VISR: 0x100,
  VIRR: 0x200,
  VICR_LO: 0x300,
  VICR_HI: 0x310,
  SELF_IPI: 0x3f0,
} as const;

/** A vector register: 256 bits, 32 of them at every 16 bytes. */
const STEP = 16;
const EOI_EXIT_BITMAPS = [
  FIELDS.EOI_EXIT_BITMAP_0,
  FIELDS.EOI_EXIT_BITMAP_1,
  FIELDS.EOI_EXIT_BITMAP_2,
  FIELDS.EOI_EXIT_BITMAP_3,
];
/** Posted-interrupt descriptor: 256 requests, then the outstanding-notification bit. */
const DESCRIPTOR = { REQUESTS: 32, NOTIFICATION: 32 } as const;

/** The task priority and, with virtual-interrupt delivery, the interrupts of a guest. Vol. 3, "APIC Virtualization and Virtual Interrupts". */
export class VirtualApic {
  readonly delivers: boolean;
  readonly #machine: VmxMachine;
  readonly #vmcs: Vmcs;
  readonly #page: number;
  /** Whether a virtual interrupt is recognised: that in RVI. */
  #recognized = false;

  constructor(machine: VmxMachine, vmcs: Vmcs, controls: Controls) {
    this.#machine = machine;
    this.#vmcs = vmcs;
    this.#page = Number(vmcs.read(FIELDS.VIRTUAL_APIC_ADDRESS));
    this.delivers = (controls.secondary & SECONDARY.VIRTUAL_INTERRUPT_DELIVERY) !== 0;
  }

  /** VM entry. */
  begin(): void {
    if (this.delivers) this.#prioritize();
  }

  get recognized(): boolean {
    return this.#recognized;
  }

  set recognized(recognized: boolean) {
    this.#recognized = recognized;
  }

  read(offset: number, size: 1 | 2 | 4 | 8 = 4): bigint {
    return this.#machine.memory.read(this.#page + offset, size);
  }

  write(offset: number, value: bigint, size: 1 | 2 | 4 | 8 = 4): void {
    this.#machine.memory.write(this.#page + offset, size, value);
  }

  /** TPR virtualization, after VTPR was written. Answers whether it is below the threshold, which then exits. */
  taskPriorityChanged(): boolean {
    if (this.delivers) {
      this.#prioritize();
      return false;
    }
    return this.belowThreshold;
  }

  get belowThreshold(): boolean {
    const threshold = this.#vmcs.read32(FIELDS.TPR_THRESHOLD) & 15;
    return threshold > Number(this.read(VIRTUAL.VTPR, 1) >> 4n);
  }

  /** EOI virtualization. Answers the vector whose end exits, if it does. */
  endOfInterrupt(): number | undefined {
    const vector = this.#inService;
    this.#setBit(VIRTUAL.VISR, vector, false);
    this.#inService = this.#highest(VIRTUAL.VISR);
    this.#rank();
    const exits = (this.#vmcs.read(EOI_EXIT_BITMAPS[vector >> 6]!) >> BigInt(vector & 63)) & 1n;
    if (exits !== 0n) return vector;
    this.#evaluate();
    return undefined;
  }

  /** Self-IPI virtualization. */
  interruptSelf(vector: number): void {
    this.#setBit(VIRTUAL.VIRR, vector, true);
    this.#requested = Math.max(this.#requested, vector);
    this.#evaluate();
  }

  /** Virtual-interrupt delivery, up to the IDT: answers the vector. */
  deliver(): number {
    const vector = this.#requested;
    this.#setBit(VIRTUAL.VISR, vector, true);
    this.#inService = vector;
    this.write(VIRTUAL.VPPR, BigInt(vector & 0xf0));
    this.#setBit(VIRTUAL.VIRR, vector, false);
    this.#requested = this.#highest(VIRTUAL.VIRR);
    this.#recognized = false;
    return vector;
  }

  /** Posted-interrupt processing, once the notification is acknowledged. */
  post(): void {
    const { memory } = this.#machine;
    const descriptor = Number(this.#vmcs.read(FIELDS.POSTED_INTERRUPT_DESCRIPTOR_ADDRESS));
    const control = descriptor + DESCRIPTOR.NOTIFICATION;
    memory.write(control, 1, memory.read(control, 1) & ~1n);
    let highest = 0;
    for (let i = 0; i < DESCRIPTOR.REQUESTS / 4; i++) {
      const requests = memory.read(descriptor + i * 4, 4);
      if (requests === 0n) continue;
      memory.write(descriptor + i * 4, 4, 0n);
      const register = VIRTUAL.VIRR + i * STEP;
      this.write(register, this.read(register) | requests);
      highest = i * 32 + 31 - Math.clz32(Number(requests));
    }
    this.#requested = Math.max(this.#requested, highest);
    this.#evaluate();
  }

  /** PPR virtualization, then the evaluation of pending virtual interrupts. */
  #prioritize(): void {
    this.#rank();
    this.#evaluate();
  }

  #rank(): void {
    const task = Number(this.read(VIRTUAL.VTPR, 1));
    const service = this.#inService & 0xf0;
    this.write(VIRTUAL.VPPR, BigInt((task & 0xf0) >= service ? task : service));
  }

  #evaluate(): void {
    this.#recognized = this.#requested >> 4 > Number(this.read(VIRTUAL.VPPR, 1) >> 4n);
    if (this.#recognized) this.#machine.core.engine.endSlice();
  }

  /** RVI and SVI, the halves of the guest interrupt status. */
  get #requested(): number {
    return this.#vmcs.read32(FIELDS.GUEST_INTERRUPT_STATUS) & 0xff;
  }

  set #requested(vector: number) {
    this.#vmcs.write32(FIELDS.GUEST_INTERRUPT_STATUS, (this.#inService << 8) | vector);
  }

  get #inService(): number {
    return this.#vmcs.read32(FIELDS.GUEST_INTERRUPT_STATUS) >>> 8;
  }

  set #inService(vector: number) {
    this.#vmcs.write32(FIELDS.GUEST_INTERRUPT_STATUS, (vector << 8) | this.#requested);
  }

  /** Highest vector set in a vector register; 0 if none is. */
  #highest(register: number): number {
    for (let i = 7; i >= 0; i--) {
      const bits = Number(this.read(register + i * STEP));
      if (bits !== 0) return i * 32 + 31 - Math.clz32(bits);
    }
    return 0;
  }

  #setBit(register: number, vector: number, on: boolean): void {
    const at = register + (vector >> 5) * STEP;
    const bit = 1n << BigInt(vector & 31);
    this.write(at, on ? this.read(at) | bit : this.read(at) & ~bit);
  }
}
