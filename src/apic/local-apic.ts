import { extract, isSet } from '../bits/bitfield.ts';
import { APIC_BASE, ICR, LVT, SIVR } from '../msr/apic.ts';
import type { MsrBus } from '../msr/bus.ts';
import { isDestination } from './destination.ts';
import type { LocalInterrupt, LvtEntry } from './lvt.ts';
import { type ApicMessage, DELIVERY, readCommand, SHORTHAND } from './message.ts';
import type { ExternalInterrupts, LocalApicPorts, MmioDevice } from './ports.ts';
import { apicFaces } from './registers.ts';
import { ApicState, type LocalApicOptions, type SavedLocalApic } from './state.ts';

export type { LocalApicPorts } from './ports.ts';
export type { LocalApicOptions, SavedLocalApic } from './state.ts';

/** Error status register. Vol. 3, "Error Handling". */
const ERROR = { SEND_ILLEGAL_VECTOR: 0x20, RECEIVE_ILLEGAL_VECTOR: 0x40, ILLEGAL_REGISTER: 0x80 };

/** A local APIC with its xAPIC page and its x2APIC registers. Vol. 3, "Advanced Programmable Interrupt Controller". */
export class LocalApic {
  readonly #ports: LocalApicPorts;
  readonly #state: ApicState;
  readonly #attachMsrs: (bus: MsrBus) => void;
  /** The register page; it answers in xAPIC mode only, with all ones otherwise. */
  readonly page: MmioDevice;

  constructor(options: LocalApicOptions, ports: LocalApicPorts) {
    this.#ports = ports;
    this.#state = new ApicState(options, ports);
    const { page, attach } = apicFaces(this.#state, {
      attention: () => this.#ports.attention(),
      endOfInterrupt: () => this.#endOfInterrupt(),
      command: (value) => this.#command(value),
      selfIpi: (vector) => this.#selfIpi(vector),
      writeBase: (value) => this.#writeBase(value),
      writeSivr: (value) => this.#writeSivr(value),
      writeLvt: (entry, value) => this.#writeLvt(entry, value),
      illegalRegister: () => this.#error(ERROR.ILLEGAL_REGISTER),
    });
    this.page = page;
    this.#attachMsrs = attach;
  }

  /** Puts IA32_APIC_BASE, IA32_TSC_DEADLINE and the x2APIC registers on the bus. */
  attach(bus: MsrBus): void {
    this.#attachMsrs(bus);
  }

  // Towards the processor.

  /** Highest vector that outranks the processor priority; else what the i8259 pair offers through LINT0. */
  pendingVector(): number | undefined {
    const vector = this.#state.deliverable;
    return vector >= 0 ? vector : this.#external()?.pendingVector();
  }

  /** Moves the pending vector from requested to in service, as INTA does; the spurious vector when there is none. */
  acknowledge(): number {
    const vector = this.#acknowledge();
    this.#ports.taken?.(vector);
    return vector;
  }

  #acknowledge(): number {
    const { deliverable: vector, irr, isr, registers } = this.#state;
    if (vector >= 0) {
      irr.delete(vector);
      isr.add(vector);
      return vector;
    }
    const external = this.#external();
    if (external?.pendingVector() !== undefined) return external.acknowledge();
    return registers.sivr & Number(SIVR.VECTOR);
  }

  nmiPending(): boolean {
    return this.#state.registers.nmi;
  }

  takeNmi(): void {
    this.#state.registers.nmi = false;
    this.#ports.taken?.('NMI');
  }

  /** LVT performance counter register, whatever face the APIC shows. */
  get lvtPmi(): number {
    return this.#state.lvt.read('PMI');
  }

  /** INIT, unless it is blocked; then the SIPI that ends the wait for it. */
  pendingSignal(initIsBlocked = false): 'INIT' | { readonly sipi: number } | undefined {
    const { init, sipi } = this.#state.registers;
    if (init && !initIsBlocked) return 'INIT';
    return sipi >= 0 ? { sipi } : undefined;
  }

  /** Takes what `pendingSignal` shows. INIT resets the APIC, all but its ID and base. */
  takeSignal(initIsBlocked = false): void {
    const { registers } = this.#state;
    if (registers.init && !initIsBlocked) {
      registers.init = false;
      registers.waiting = !isSet(registers.base, APIC_BASE.BSP);
      this.#state.resetRegisters();
    } else if (registers.sipi >= 0) {
      registers.sipi = -1;
      registers.waiting = false;
    }
  }

  /** INIT is taken by something that resets nothing: a VM exit. */
  dismissInit(): void {
    this.#state.registers.init = false;
  }

  /** As a write to EOI does. */
  endOfInterrupt(): void {
    this.#endOfInterrupt();
  }

  /** Bits 7:4 of TPR: CR8. */
  taskPriority(): number {
    return this.#state.registers.tpr >> 4;
  }

  setTaskPriority(priority: number): void {
    this.#state.registers.tpr = (priority & 15) << 4;
    this.#ports.attention();
  }

  /** Whether IA32_APIC_BASE has the APIC on. */
  enabled(): boolean {
    return this.#state.enabled;
  }

  /** Whether IA32_APIC_BASE marks the bootstrap processor, which INIT restarts at the reset vector. */
  bootstrap(): boolean {
    return isSet(this.#state.registers.base, APIC_BASE.BSP);
  }

  // Towards the devices and the other APICs.

  /** The PMU asks for its interrupt. Delivery sets the entry's mask; while masked the request is lost. */
  raisePmi(): void {
    const { lvt, enabled } = this.#state;
    const interrupt = lvt.interrupt('PMI');
    if (!interrupt || !enabled) return;
    lvt.mask('PMI');
    this.#accept(interrupt);
  }

  raiseThermal(): void {
    this.#raise('THERMAL');
  }

  raiseNmi(): void {
    this.#accept({ mode: DELIVERY.NMI, vector: 2, level: false });
  }

  /** Asserts or releases a local interrupt pin; `asserted` is the pin's meaning, whatever its polarity. */
  setPin(pin: 0 | 1, asserted: boolean): void {
    const { pins, lvt, enabled } = this.#state;
    const rising = asserted && !pins[pin];
    pins[pin] = asserted;
    const entry = pin === 0 ? 'LINT0' : 'LINT1';
    const interrupt = lvt.interrupt(entry);
    if (!enabled) {
      // The pins are INTR and NMI. Vol. 3, "Local APIC Status and Location".
      if (rising && pin === 1) this.raiseNmi();
      this.#ports.attention();
    } else if (interrupt?.mode === DELIVERY.EXTINT) {
      this.#ports.attention();
    } else if (interrupt?.level) {
      this.#levelPin(entry, asserted);
    } else if (interrupt && rising) {
      this.#accept(interrupt);
    }
  }

  isDestination(message: ApicMessage): boolean {
    return isDestination(this.#state, message);
  }

  /** A message that `isDestination` or a shorthand chose this APIC for. INIT level de-assert is heeded by nobody. */
  deliver(message: ApicMessage): void {
    if (message.mode !== DELIVERY.INIT || message.assert) this.#accept(message);
  }

  get id(): number {
    return this.#state.id;
  }

  /** The lowest wins the arbitration for a lowest-priority message. */
  get processorPriority(): number {
    return this.#state.processorPriority;
  }

  takesInterrupts(): boolean {
    return this.#state.takesInterrupts;
  }

  /** Where the register page lies in physical memory. */
  get pageAddress(): number {
    return Number(this.#state.registers.base & ~0xfffn);
  }

  // Time.

  /** The tick at which the timer next expires; Infinity when it is not armed. */
  nextDeadline(): number {
    return this.#state.timer.nextDeadline();
  }

  /** Fires what the clock has reached. */
  elapse(): void {
    if (this.#state.timer.expire()) this.#raise('TIMER');
  }

  /** RESET: as after power-up. */
  reset(): void {
    this.#state.reset();
  }

  save(): SavedLocalApic {
    return this.#state.save();
  }

  restore(saved: SavedLocalApic): void {
    this.#state.restore(saved);
  }

  /** The i8259 pair while LINT0 passes it through, or while the APIC is off and the pin is INTR. */
  #external(): ExternalInterrupts | undefined {
    const { external } = this.#ports;
    if (!external) return undefined;
    const { enabled, lvt } = this.#state;
    const passes = !enabled || lvt.interrupt('LINT0')?.mode === DELIVERY.EXTINT;
    return passes ? external : undefined;
  }

  #raise(entry: LvtEntry): void {
    const interrupt = this.#state.lvt.interrupt(entry);
    if (interrupt && this.#state.enabled) this.#accept(interrupt);
  }

  #levelPin(entry: 'LINT0' | 'LINT1', asserted: boolean): void {
    const { lvt } = this.#state;
    const interrupt = lvt.interrupt(entry);
    if (!asserted || !interrupt?.level || lvt.remoteIrr(entry)) return;
    lvt.setRemoteIrr(entry, true);
    this.#accept(interrupt);
  }

  /** SMI goes nowhere: there is no system-management mode to enter. ExtINT comes by its pin only. */
  #accept({ mode, vector, level }: LocalInterrupt): void {
    const { registers } = this.#state;
    if (mode === DELIVERY.FIXED || mode === DELIVERY.LOWEST_PRIORITY) this.#request(vector, level);
    else if (mode === DELIVERY.NMI) registers.nmi = true;
    else if (mode === DELIVERY.INIT) Object.assign(registers, { init: true, sipi: -1 });
    else if (mode === DELIVERY.STARTUP && this.#awaitsSipi) registers.sipi = vector;
    this.#ports.attention();
  }

  get #awaitsSipi(): boolean {
    const { init, waiting } = this.#state.registers;
    return init || waiting || (this.#ports.waitsForSipi?.() ?? false);
  }

  #request(vector: number, level: boolean): void {
    const { irr, tmr, takesInterrupts } = this.#state;
    if (vector < 16) {
      this.#error(ERROR.RECEIVE_ILLEGAL_VECTOR);
    } else if (takesInterrupts) {
      irr.add(vector);
      if (level) tmr.add(vector);
      else tmr.delete(vector);
    }
  }

  #error(error: number): void {
    const { registers } = this.#state;
    if ((registers.errors & error) !== 0) return;
    registers.errors |= error;
    this.#raise('ERROR');
  }

  #endOfInterrupt(): void {
    const { isr, tmr, lvt, pins } = this.#state;
    const vector = isr.highest();
    if (vector < 0) return;
    isr.delete(vector);
    if (tmr.has(vector)) {
      this.#ports.eoi?.(vector);
      for (const [pin, entry] of (['LINT0', 'LINT1'] as const).entries()) {
        if (!lvt.remoteIrr(entry) || lvt.interrupt(entry)?.vector !== vector) continue;
        lvt.setRemoteIrr(entry, false);
        this.#levelPin(entry, pins[pin]!);
      }
    }
    this.#ports.attention();
  }

  #command(value: bigint): void {
    this.#state.registers.icr = value & ~ICR.STATUS;
    const message = readCommand(value, this.#state.extended);
    const { mode, vector, shorthand } = message;
    const vectored = mode === DELIVERY.FIXED || mode === DELIVERY.LOWEST_PRIORITY;
    if (vectored && vector < 16) this.#error(ERROR.SEND_ILLEGAL_VECTOR);
    else if (shorthand === SHORTHAND.SELF) this.deliver(message);
    else this.#ports.send(message);
  }

  #selfIpi(vector: number): void {
    if (vector < 16) this.#error(ERROR.SEND_ILLEGAL_VECTOR);
    else this.#accept({ mode: DELIVERY.FIXED, vector, level: false });
  }

  /** Vol. 3, "x2APIC State Transitions": no way into x2APIC from off, none out of it but to off. */
  #writeBase(value: bigint): '#GP' | undefined {
    const { registers, enabled: wasOn, extended: wasExtended, options } = this.#state;
    const on = isSet(value, APIC_BASE.EN);
    const extended = isSet(value, APIC_BASE.EXTD);
    if (extended ? !on || !wasOn : wasExtended && on) return '#GP';
    registers.base = value;
    if (wasOn && !on) {
      this.#state.resetRegisters();
      registers.id = options.id;
    }
    if (extended && !wasExtended) registers.icr &= 0xffff_ffffn;
    this.#ports.attention();
    return undefined;
  }

  #writeSivr(value: number): void {
    this.#state.registers.sivr = value;
    if ((value & Number(SIVR.ENABLE)) === 0) this.#state.lvt.maskAll();
    this.#ports.attention();
  }

  #writeLvt(entry: LvtEntry, value: number): void {
    const { lvt, timer, registers, pins } = this.#state;
    lvt.write(entry, value, (registers.sivr & Number(SIVR.ENABLE)) === 0);
    if (entry === 'TIMER') timer.mode = Number(extract(BigInt(value >>> 0), LVT.TIMER_MODE));
    if (entry === 'LINT0') this.#levelPin(entry, pins[0]!);
    if (entry === 'LINT1') this.#levelPin(entry, pins[1]!);
    this.#ports.attention();
  }
}
