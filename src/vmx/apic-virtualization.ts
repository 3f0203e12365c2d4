import { VmExit } from '../cpu/vm-exit.ts';
import type { WriteOutcome } from '../msr/bus.ts';
import { PIN, PRIMARY, SECONDARY } from '../msr/vmx.ts';
import { EXIT_REASON } from './exit-reasons.ts';
import { FIELDS } from './fields.ts';
import { InstructionIntercepts } from './instruction-intercepts.ts';
import { VIRTUAL, VirtualApic } from './virtual-apic.ts';

/** Access types in the exit qualification. Vol. 3, "Exit Qualification for APIC-Access VM Exits from Linear Accesses and Guest-Physical Accesses". */
const ACCESS = {
  READ: 0,
  WRITE: 1,
  FETCH: 2,
  DELIVERY: 3,
  PHYSICAL_DELIVERY: 10,
  PHYSICAL: 15,
} as const;

const every = (first: number, last: number) =>
  Array.from({ length: (last - first) / 16 + 1 }, (_, i) => first + i * 16);

/** Registers that are read from, and written to, the virtual-APIC page. Vol. 3, "Virtualizing Reads from the APIC-Access Page", "Virtualizing Writes to the APIC-Access Page". */
// biome-ignore format: a table
const VIRTUALIZED = {
  read: {
    registers: new Set([0x20, 0x30, 0x80, 0xb0, 0xd0, 0xe0, 0xf0, ...every(0x100, 0x280), 0x300, 0x310, ...every(0x320, 0x380), 0x3e0]),
    delivery: new Set([0x80]),
    priority: new Set([0x80]),
  },
  write: {
    registers: new Set([0x20, 0x80, 0xb0, 0xd0, 0xe0, 0xf0, 0x280, 0x300, 0x310, ...every(0x320, 0x380), 0x3e0]),
    delivery: new Set([0x80, 0xb0, 0x300]),
    priority: new Set([0x80]),
  },
} as const;

/** Bits of ICR that must be clear, and those that must be as here, for an IPI to be virtualised: fixed, edge, to itself. */
const SELF_IPI = { CLEAR: 0xfff3_b700, SHORTHAND: 0xc_0000, SELF: 0x4_0000 } as const;

const X2APIC = { FIRST: 0x800, LAST: 0x8ff, TPR: 0x808, EOI: 0x80b, SELF_IPI: 0x83f } as const;

/** What of the APIC is virtualised in non-root operation, by the controls. Vol. 3, "APIC Virtualization and Virtual Interrupts". */
export class ApicVirtualization extends InstructionIntercepts {
  readonly apicAccessPage: number = this.secondary(SECONDARY.VIRTUALIZE_APIC_ACCESSES)
    ? Number(this.vmcs.read(FIELDS.APIC_ACCESS_ADDRESS)) / 4096
    : -1;
  /** With the TPR shadow. */
  protected readonly apic: VirtualApic | undefined = this.primary(PRIMARY.USE_TPR_SHADOW)
    ? new VirtualApic(this.machine, this.vmcs, this.controls)
    : undefined;
  /** A trap-like VM exit that is due once the instruction is over: TPR below threshold, EOI, APIC write. */
  protected trap: { readonly reason: number; readonly qualification: bigint } | undefined;

  /** What VM entry looks at. */
  protected beginApic(): void {
    this.apic?.begin();
    const threshold = this.apicAccessPage >= 0 && this.apic?.delivers === false;
    if (threshold && this.apic?.belowThreshold) this.#trap(EXIT_REASON.TPR_BELOW_THRESHOLD);
  }

  /** The task priority that MOV CR8 reaches: bits 7:4 of VTPR under the TPR shadow, else the APIC's own. */
  taskPriority(): number {
    const { apic } = this;
    if (!apic) return this.machine.core.ports.interrupts.taskPriority();
    return Number(apic.read(VIRTUAL.VTPR, 1) >> 4n);
  }

  setTaskPriority(priority: number): void {
    if (this.apic) this.#writeTaskPriority(this.apic, BigInt(priority << 4));
    else this.machine.core.ports.interrupts.setTaskPriority(priority);
  }

  apicRead(offset: number, size: number): bigint {
    const apic = this.#virtualizes('read', offset, size);
    if (!apic) throw this.#accessed(this.#delivering ? ACCESS.DELIVERY : ACCESS.READ, offset);
    return apic.read(offset, size as 1 | 2 | 4);
  }

  apicWrite(offset: number, size: number, value: bigint): void {
    const apic = this.#virtualizes('write', offset, size);
    if (!apic) throw this.#accessed(this.#delivering ? ACCESS.DELIVERY : ACCESS.WRITE, offset);
    apic.write(offset, value, size as 1 | 2 | 4);
    this.#emulateWrite(apic, offset & 0xff0);
  }

  apicAccess(kind: 'fetch' | 'walk', offset: number): never {
    if (kind === 'fetch') throw this.#accessed(ACCESS.FETCH, offset);
    throw this.#accessed(this.#delivering ? ACCESS.PHYSICAL_DELIVERY : ACCESS.PHYSICAL, 0);
  }

  /** Vol. 3, "Virtualizing MSR-Based APIC Accesses". */
  readMsr(address: number): bigint | undefined {
    const { apic } = this;
    if (!apic || !this.#isX2Apic(address)) return undefined;
    const all = this.secondary(SECONDARY.APIC_REGISTER_VIRTUALIZATION);
    return all || address === X2APIC.TPR ? apic.read((address & 0xff) << 4, 8) : undefined;
  }

  writeMsr(address: number, value: bigint): WriteOutcome | undefined {
    const { apic } = this;
    if (!apic || !this.#isX2Apic(address)) return undefined;
    if (address === X2APIC.TPR) {
      if (value >> 8n !== 0n) return '#GP';
      this.#writeTaskPriority(apic, value);
      return 'done';
    }
    if (!apic.delivers) return undefined;
    if (address === X2APIC.EOI) {
      if (value !== 0n) return '#GP';
      this.#endOfInterrupt(apic);
      return 'done';
    }
    if (address !== X2APIC.SELF_IPI) return undefined;
    if (value >> 8n !== 0n) return '#GP';
    apic.write(VIRTUAL.SELF_IPI, value, 8);
    if (value >> 4n === 0n) this.#trap(EXIT_REASON.APIC_WRITE, VIRTUAL.SELF_IPI);
    else apic.interruptSelf(Number(value));
    return 'done';
  }

  /** The virtual interrupt that is delivered now, if one is recognised and the interrupt window is not intercepted. */
  takeVirtualInterrupt(): number | undefined {
    if (!this.apic?.recognized || this.primary(PRIMARY.INTERRUPT_WINDOW_EXITING)) return undefined;
    return this.apic.deliver();
  }

  /** Whether the external interrupt was a posted-interrupt notification, which does not exit. Vol. 3, "Posted-Interrupt Processing". */
  protected posted(): boolean {
    if (!this.pin(PIN.PROCESS_POSTED_INTERRUPTS)) return false;
    const { interrupts } = this.machine.core.ports;
    const notification = this.vmcs.read32(FIELDS.POSTED_INTERRUPT_NOTIFICATION_VECTOR) & 0xff;
    if (interrupts.pendingVector() !== notification) return false;
    interrupts.acknowledge();
    interrupts.endOfInterrupt();
    this.apic?.post();
    return true;
  }

  get #delivering(): boolean {
    return this.machine.core.delivering !== undefined;
  }

  #isX2Apic(address: number): boolean {
    const { FIRST, LAST } = X2APIC;
    return address >= FIRST && address <= LAST && this.secondary(SECONDARY.VIRTUALIZE_X2APIC_MODE);
  }

  /** The virtual APIC if it takes the access: to at most four bytes of one register that the controls virtualise. */
  #virtualizes(access: 'read' | 'write', offset: number, size: number): VirtualApic | undefined {
    if (!this.apic || (offset & 15) + size > 4) return undefined;
    const set = VIRTUALIZED[access];
    const registers = this.secondary(SECONDARY.APIC_REGISTER_VIRTUALIZATION)
      ? set.registers
      : this.apic.delivers
        ? set.delivery
        : set.priority;
    return registers.has(offset & 0xff0) ? this.apic : undefined;
  }

  /** Vol. 3, "APIC-Write Emulation". */
  #emulateWrite(apic: VirtualApic, register: number): void {
    if (register === VIRTUAL.VTPR) {
      this.#writeTaskPriority(apic, apic.read(VIRTUAL.VTPR, 1));
    } else if (register === VIRTUAL.VEOI && apic.delivers) {
      apic.write(VIRTUAL.VEOI, 0n);
      this.#endOfInterrupt(apic);
    } else if (register === VIRTUAL.VICR_HI) {
      apic.write(VIRTUAL.VICR_HI, apic.read(VIRTUAL.VICR_HI) & 0xff00_0000n);
    } else if (register === VIRTUAL.VICR_LO && apic.delivers && this.#isToItself(apic)) {
      apic.interruptSelf(Number(apic.read(VIRTUAL.VICR_LO, 1)));
    } else this.#trap(EXIT_REASON.APIC_WRITE, register);
  }

  #isToItself(apic: VirtualApic): boolean {
    const command = Number(apic.read(VIRTUAL.VICR_LO));
    if ((command & SELF_IPI.CLEAR) !== 0) return false;
    return (command & SELF_IPI.SHORTHAND) === SELF_IPI.SELF && (command & 0xf0) !== 0;
  }

  #writeTaskPriority(apic: VirtualApic, value: bigint): void {
    apic.write(VIRTUAL.VTPR, value);
    if (apic.taskPriorityChanged()) this.#trap(EXIT_REASON.TPR_BELOW_THRESHOLD);
  }

  #endOfInterrupt(apic: VirtualApic): void {
    const vector = apic.endOfInterrupt();
    if (vector !== undefined) this.#trap(EXIT_REASON.EOI_INDUCED, vector);
  }

  #trap(reason: number, qualification = 0): void {
    this.trap = { reason, qualification: BigInt(qualification) };
    this.machine.core.engine.endSlice();
  }

  #accessed(type: number, offset: number): VmExit {
    return new VmExit(EXIT_REASON.APIC_ACCESS, { qualification: BigInt((type << 12) | offset) });
  }
}
