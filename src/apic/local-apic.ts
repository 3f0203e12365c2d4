import { extract, isSet } from '../bits/bitfield.ts';
import { APIC_BASE, type ApicMsrName, apicMsrs, ICR, SIVR, LVT as TABLE } from '../msr/apic.ts';
import type { MsrBehaviour, MsrBus } from '../msr/bus.ts';
import { type LocalInterrupt, LocalVectorTable, LVT_ENTRIES, type LvtEntry } from './lvt.ts';
import { type ApicMessage, DELIVERY, SHORTHAND } from './message.ts';
import { type ApicClock, ApicTimer, type SavedTimer } from './timer.ts';
import { VectorSet } from './vector-set.ts';

/** What a local APIC asks of the machine. */
export interface LocalApicPorts extends ApicClock {
  /** An interrupt message for other APICs, or for this one too. */
  send(message: ApicMessage): void;
  /** Something may have become pending. */
  attention(): void;
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

export interface LocalApicOptions {
  readonly id: number;
  readonly bootstrap: boolean;
  readonly physicalAddressBits: number;
  /** Ticks in one period of the timer's undivided clock, 1 unless told. */
  readonly ticksPerTimerCount?: number;
}

/** Version 14H, last LVT entry 5. */
const VERSION = 0x5_0014;
const DEFAULT_BASE = 0xfee0_0000n;
const ENABLE = Number(SIVR.ENABLE);

/** Error status register. Vol. 3, "Error Handling". */
const ERROR = {
  SEND_ILLEGAL_VECTOR: 1 << 5,
  RECEIVE_ILLEGAL_VECTOR: 1 << 6,
  ILLEGAL_REGISTER: 1 << 7,
};

/** A register as software meets it, by either way. */
interface Register {
  readonly read?: () => number;
  readonly write?: (value: number) => void;
}

export interface SavedLocalApic {
  id: number;
  base: bigint;
  tpr: number;
  ldr: number;
  dfr: number;
  sivr: number;
  esr: number;
  errors: number;
  icr: bigint;
  lvt: number[];
  isr: number[];
  tmr: number[];
  irr: number[];
  pins: boolean[];
  nmi: boolean;
  init: boolean;
  sipi: number;
  waiting: boolean;
  timer: SavedTimer;
}

/** A local APIC with its xAPIC window and its x2APIC registers. Vol. 3, "Advanced Programmable Interrupt Controller". */
export class LocalApic {
  readonly #ports: LocalApicPorts;
  readonly #options: LocalApicOptions;
  readonly #msrs: ReturnType<typeof apicMsrs>;
  readonly #lvt: LocalVectorTable;
  readonly #timer: ApicTimer;
  readonly #isr = new VectorSet();
  readonly #tmr = new VectorSet();
  readonly #irr = new VectorSet();
  /** By offset / 16. */
  readonly #registers: ReadonlyMap<number, Register>;

  #base: bigint;
  #id: number;
  #tpr = 0;
  #ldr = 0;
  #dfr = 0xffff_ffff;
  #sivr = 0xff;
  #esr = 0;
  #errors = 0;
  #icr = 0n;
  /** Whether LINT0 and LINT1 are asserted. */
  readonly #pins = [false, false];
  #nmi = false;
  #init = false;
  #sipi = -1;
  /** Between INIT (or power-up of an application processor) and SIPI. */
  #waiting: boolean;

  constructor(options: LocalApicOptions, ports: LocalApicPorts) {
    this.#options = options;
    this.#ports = ports;
    this.#id = options.id;
    this.#waiting = !options.bootstrap;
    this.#base = DEFAULT_BASE | APIC_BASE.EN | (options.bootstrap ? APIC_BASE.BSP : 0n);
    this.#msrs = apicMsrs(options.physicalAddressBits);
    const writable = (entry: LvtEntry) => Number(this.#msrs[`IA32_X2APIC_LVT_${entry}`].writable);
    this.#lvt = new LocalVectorTable({
      TIMER: writable('TIMER'),
      THERMAL: writable('THERMAL'),
      PMI: writable('PMI'),
      LINT0: writable('LINT0'),
      LINT1: writable('LINT1'),
      ERROR: writable('ERROR'),
    });
    this.#timer = new ApicTimer(ports, options.ticksPerTimerCount);
    this.#registers = this.#describe();
  }

  // --- Towards the processor -------------------------------------------------------------------

  /** Highest vector that outranks the processor priority; else what the i8259 offers through LINT0. */
  pendingVector(): number | undefined {
    const vector = this.#deliverable();
    return vector >= 0 ? vector : this.#external()?.pendingVector();
  }

  /** Moves the pending vector from requested to in service, as INTA does. */
  acknowledge(): number {
    const vector = this.#deliverable();
    if (vector >= 0) {
      this.#irr.delete(vector);
      this.#isr.add(vector);
      return vector;
    }
    const external = this.#external();
    return external?.pendingVector() === undefined ? this.#sivr & 0xff : external.acknowledge();
  }

  nmiPending(): boolean {
    return this.#nmi;
  }

  takeNmi(): void {
    this.#nmi = false;
  }

  /** INIT, then the SIPI that ends the wait for it. */
  pendingSignal(): 'INIT' | { readonly sipi: number } | undefined {
    if (this.#init) return 'INIT';
    return this.#sipi >= 0 ? { sipi: this.#sipi } : undefined;
  }

  /** Takes what `pendingSignal` shows. INIT resets the APIC, all but its ID and base. */
  takeSignal(): void {
    if (this.#init) {
      this.#init = false;
      this.#resetRegisters();
      this.#waiting = !isSet(this.#base, APIC_BASE.BSP);
    } else if (this.#sipi >= 0) {
      this.#sipi = -1;
      this.#waiting = false;
    }
  }

  /** Bits 7:4 of TPR: CR8. */
  taskPriority(): number {
    return this.#tpr >> 4;
  }

  setTaskPriority(priority: number): void {
    this.#tpr = (priority & 15) << 4;
    this.#ports.attention();
  }

  /** Whether IA32_APIC_BASE has the APIC enabled. */
  enabled(): boolean {
    return isSet(this.#base, APIC_BASE.EN);
  }

  /** The APIC's ID: 8 bits in xAPIC mode, the whole of it in x2APIC mode. */
  get id(): number {
    return this.#x2() ? this.#options.id : this.#id;
  }

  /** Priority that a pending vector has to outrank: TPR or the class in service. */
  get processorPriority(): number {
    const inService = Math.max(0, this.#isr.highest());
    return this.#tpr >> 4 >= inService >> 4 ? this.#tpr : inService & 0xf0;
  }

  // --- Towards the devices ---------------------------------------------------------------------

  /** The PMU asks for its interrupt. Delivery sets the entry's mask; while masked the request is lost. */
  raisePmi(): void {
    const interrupt = this.#lvt.interrupt('PMI');
    if (!interrupt || !this.enabled()) return;
    this.#lvt.mask('PMI');
    this.#accept(interrupt);
  }

  raiseThermal(): void {
    this.#raise('THERMAL');
  }

  /** Asserts or releases a local interrupt pin; `asserted` is the pin's meaning, whatever its polarity. */
  setPin(pin: 0 | 1, asserted: boolean): void {
    const rising = asserted && !this.#pins[pin];
    this.#pins[pin] = asserted;
    const entry = pin === 0 ? 'LINT0' : 'LINT1';
    const interrupt = this.#lvt.interrupt(entry);
    if (!interrupt || !this.enabled()) {
      if (rising && pin === 1 && !this.enabled()) this.raiseNmi();
    } else if (interrupt.mode === DELIVERY.EXTINT) {
      this.#ports.attention();
    } else if (interrupt.level) {
      this.#levelPin(entry, asserted);
    } else if (rising) {
      this.#accept(interrupt);
    }
  }

  raiseNmi(): void {
    this.#nmi = true;
    this.#ports.attention();
  }

  /** Whether a message without shorthand is for this APIC. Vol. 3, "Determining IPI Destination". */
  isDestination({ destination, broadcast, logical }: ApicMessage): boolean {
    if (!this.enabled()) return false;
    if (!logical) return destination === broadcast || destination === this.id;
    if (this.#x2()) {
      if (destination === 0xffff_ffff) return true;
      const ldr = this.#logicalId();
      return ldr >>> 16 === destination >>> 16 && (ldr & destination & 0xffff) !== 0;
    }
    const ldr = this.#ldr >>> 24;
    if (this.#dfr >>> 28 === 0xf) return (ldr & destination) !== 0;
    const cluster = destination >> 4 === 0xf || destination >> 4 === ldr >> 4;
    return cluster && (destination & ldr & 0xf) !== 0;
  }

  /** Whether the APIC would take a fixed interrupt. */
  takesInterrupts(): boolean {
    return this.enabled() && (this.#sivr & ENABLE) !== 0;
  }

  /** A message that `isDestination` or a shorthand chose this APIC for. */
  deliver(message: ApicMessage): void {
    if (message.mode === DELIVERY.INIT && !message.assert) return;
    this.#accept(message);
  }

  // --- Time ------------------------------------------------------------------------------------

  /** The tick at which the timer next expires; Infinity when it is not armed. */
  nextDeadline(): number {
    return this.#timer.nextDeadline();
  }

  /** Fires what the clock has reached. */
  elapse(): void {
    if (this.#timer.expire()) this.#raise('TIMER');
  }

  // --- Software's two ways to the registers ----------------------------------------------------

  /** Where the 4-KiB register page lies in physical memory while the APIC is in xAPIC mode. */
  get pageAddress(): number {
    return Number(this.#base & ~0xfffn);
  }

  /** The register page; it answers in xAPIC mode only. */
  readonly page = {
    read: (offset: number, size: number): bigint => {
      const all = (1n << BigInt(size * 8)) - 1n;
      if (!this.enabled() || this.#x2()) return all;
      const register = this.#registers.get(offset >> 4);
      if (!register) this.#error(ERROR.ILLEGAL_REGISTER);
      if ((offset & 0xf) > 3) return 0n;
      const value = (register?.read?.() ?? 0) >>> 0;
      return BigInt(value >>> (8 * (offset & 3))) & all;
    },
    write: (offset: number, size: number, value: bigint): void => {
      if (!this.enabled() || this.#x2() || size < 4 || (offset & 0xf) !== 0) return;
      const register = this.#registers.get(offset >> 4);
      if (register) register.write?.(Number(value & 0xffff_ffffn));
      else this.#error(ERROR.ILLEGAL_REGISTER);
    },
  };

  attach(bus: MsrBus): void {
    const at = (index: number): MsrBehaviour => {
      const { read, write } = this.#registers.get(index)!;
      return {
        read: () => (this.#x2() && read ? BigInt(read() >>> 0) : '#GP'),
        write: (value) => (this.#x2() && write ? write(Number(value)) : '#GP'),
      };
    };
    const bank = (first: number): MsrBehaviour => ({
      read: (index) => at(first + index).read!(index),
    });
    const x2 = (
      behaviour: Partial<Record<'read', () => bigint> & { write: (v: bigint) => void }>,
    ) => ({
      read: () => (this.#x2() && behaviour.read ? behaviour.read() : ('#GP' as const)),
      write: (value: bigint) =>
        this.#x2() && behaviour.write ? behaviour.write(value) : ('#GP' as const),
    });

    const behaviours: Record<ApicMsrName, MsrBehaviour> = {
      IA32_APIC_BASE: { read: () => this.#base, write: (value) => this.#writeBase(value) },
      IA32_TSC_DEADLINE: {
        read: () => this.#timer.tscDeadline,
        write: (value) => {
          this.#timer.tscDeadline = value;
          this.#ports.attention();
        },
      },
      IA32_X2APIC_APICID: x2({ read: () => BigInt(this.#options.id) }),
      IA32_X2APIC_VERSION: at(0x03),
      IA32_X2APIC_TPR: at(0x08),
      IA32_X2APIC_PPR: at(0x0a),
      IA32_X2APIC_EOI: at(0x0b),
      IA32_X2APIC_LDR: x2({ read: () => BigInt(this.#logicalId() >>> 0) }),
      IA32_X2APIC_SIVR: at(0x0f),
      IA32_X2APIC_ISR: bank(0x10),
      IA32_X2APIC_TMR: bank(0x18),
      IA32_X2APIC_IRR: bank(0x20),
      IA32_X2APIC_ESR: at(0x28),
      IA32_X2APIC_ICR: x2({ read: () => this.#icr, write: (value) => this.#command(value) }),
      IA32_X2APIC_LVT_TIMER: at(0x32),
      IA32_X2APIC_LVT_THERMAL: at(0x33),
      IA32_X2APIC_LVT_PMI: at(0x34),
      IA32_X2APIC_LVT_LINT0: at(0x35),
      IA32_X2APIC_LVT_LINT1: at(0x36),
      IA32_X2APIC_LVT_ERROR: at(0x37),
      IA32_X2APIC_INIT_COUNT: at(0x38),
      IA32_X2APIC_CUR_COUNT: at(0x39),
      IA32_X2APIC_DIV_CONF: at(0x3e),
      IA32_X2APIC_SELF_IPI: x2({ write: (value) => this.#selfIpi(Number(value)) }),
    };
    bus.attach(this.#msrs, behaviours);
  }

  /** RESET: as after power-up. */
  reset(): void {
    const { id, bootstrap } = this.#options;
    this.#id = id;
    this.#base = DEFAULT_BASE | APIC_BASE.EN | (bootstrap ? APIC_BASE.BSP : 0n);
    this.#init = false;
    this.#sipi = -1;
    this.#waiting = !bootstrap;
    this.#nmi = false;
    this.#resetRegisters();
  }

  save(): SavedLocalApic {
    return {
      id: this.#id,
      base: this.#base,
      tpr: this.#tpr,
      ldr: this.#ldr,
      dfr: this.#dfr,
      sivr: this.#sivr,
      esr: this.#esr,
      errors: this.#errors,
      icr: this.#icr,
      lvt: [...this.#lvt.values],
      isr: [...this.#isr.words],
      tmr: [...this.#tmr.words],
      irr: [...this.#irr.words],
      pins: [...this.#pins],
      nmi: this.#nmi,
      init: this.#init,
      sipi: this.#sipi,
      waiting: this.#waiting,
      timer: this.#timer.save(),
    };
  }

  restore(saved: SavedLocalApic): void {
    this.#id = saved.id;
    this.#base = saved.base;
    this.#tpr = saved.tpr;
    this.#ldr = saved.ldr;
    this.#dfr = saved.dfr;
    this.#sivr = saved.sivr;
    this.#esr = saved.esr;
    this.#errors = saved.errors;
    this.#icr = saved.icr;
    this.#lvt.values.set(saved.lvt);
    this.#isr.words.set(saved.isr);
    this.#tmr.words.set(saved.tmr);
    this.#irr.words.set(saved.irr);
    this.#pins[0] = saved.pins[0] ?? false;
    this.#pins[1] = saved.pins[1] ?? false;
    this.#nmi = saved.nmi;
    this.#init = saved.init;
    this.#sipi = saved.sipi;
    this.#waiting = saved.waiting;
    this.#timer.restore(saved.timer);
  }

  // --- Inside ----------------------------------------------------------------------------------

  #x2(): boolean {
    return isSet(this.#base, APIC_BASE.EXTD);
  }

  /** Cluster and bit that follow from the ID. Vol. 3, "Deriving Logical x2APIC ID from the Local x2APIC ID". */
  #logicalId(): number {
    const { id } = this.#options;
    return ((id >>> 4) << 16) | (1 << (id & 15));
  }

  #deliverable(): number {
    if (!this.takesInterrupts()) return -1;
    const vector = this.#irr.highest();
    return vector >> 4 > this.processorPriority >> 4 ? vector : -1;
  }

  /** The i8259 pair while LINT0 passes it through, or while the APIC is off and the pin is INTR. */
  #external(): ExternalInterrupts | undefined {
    const passes = !this.enabled() || this.#lvt.interrupt('LINT0')?.mode === DELIVERY.EXTINT;
    return passes ? this.#ports.external : undefined;
  }

  #raise(entry: LvtEntry): void {
    const interrupt = this.#lvt.interrupt(entry);
    if (interrupt && this.enabled()) this.#accept(interrupt);
  }

  #levelPin(entry: 'LINT0' | 'LINT1', asserted: boolean): void {
    const interrupt = this.#lvt.interrupt(entry);
    if (!asserted || !interrupt?.level || this.#lvt.remoteIrr(entry)) return;
    this.#lvt.setRemoteIrr(entry, true);
    this.#accept(interrupt);
  }

  #accept({ mode, vector, level }: LocalInterrupt): void {
    switch (mode) {
      case DELIVERY.FIXED:
      case DELIVERY.LOWEST_PRIORITY:
        this.#request(vector, level);
        break;
      case DELIVERY.NMI:
        this.#nmi = true;
        break;
      case DELIVERY.INIT:
        this.#init = true;
        this.#sipi = -1;
        break;
      case DELIVERY.STARTUP:
        if (this.#init || this.#waiting) this.#sipi = vector;
        break;
      // SMI: there is no system-management mode to enter. EXTINT arrives by its pin only.
    }
    this.#ports.attention();
  }

  #request(vector: number, level: boolean): void {
    if (vector < 16) {
      this.#error(ERROR.RECEIVE_ILLEGAL_VECTOR);
      return;
    }
    if (!this.takesInterrupts()) return;
    this.#irr.add(vector);
    if (level) this.#tmr.add(vector);
    else this.#tmr.delete(vector);
  }

  #error(error: number): void {
    if ((this.#errors & error) !== 0) return;
    this.#errors |= error;
    this.#raise('ERROR');
  }

  #endOfInterrupt(): void {
    const vector = this.#isr.highest();
    if (vector < 0) return;
    this.#isr.delete(vector);
    if (this.#tmr.has(vector)) {
      this.#ports.eoi?.(vector);
      for (const [pin, entry] of (['LINT0', 'LINT1'] as const).entries()) {
        if (!this.#lvt.remoteIrr(entry) || this.#lvt.interrupt(entry)?.vector !== vector) continue;
        this.#lvt.setRemoteIrr(entry, false);
        this.#levelPin(entry, this.#pins[pin]!);
      }
    }
    this.#ports.attention();
  }

  /** A write of the whole ICR, in x2APIC layout. */
  #command(value: bigint): void {
    this.#icr = value & ~ICR.STATUS;
    const mode = Number(extract(value, ICR.MODE));
    const vector = Number(extract(value, ICR.VECTOR));
    const vectored = mode === DELIVERY.FIXED || mode === DELIVERY.LOWEST_PRIORITY;
    if (vectored && vector < 16) {
      this.#error(ERROR.SEND_ILLEGAL_VECTOR);
      return;
    }
    const shorthand = Number(extract(value, ICR.SHORTHAND));
    const message: ApicMessage = {
      mode,
      vector,
      level: false,
      assert: isSet(value, ICR.ASSERT) || !isSet(value, ICR.LEVEL),
      logical: isSet(value, ICR.LOGICAL),
      shorthand,
      destination: Number(extract(value, ICR.DESTINATION)),
      broadcast: this.#x2() ? 0xffff_ffff : 0xff,
    };
    if (shorthand === SHORTHAND.SELF) this.deliver(message);
    else this.#ports.send(message);
  }

  #selfIpi(vector: number): void {
    if (vector < 16) this.#error(ERROR.SEND_ILLEGAL_VECTOR);
    else this.#accept({ mode: DELIVERY.FIXED, vector, level: false });
  }

  #writeBase(value: bigint): '#GP' | undefined {
    const [on, extended] = [isSet(value, APIC_BASE.EN), isSet(value, APIC_BASE.EXTD)];
    const [wasOn, wasExtended] = [this.enabled(), this.#x2()];
    // Vol. 3, "x2APIC State Transitions": no x2APIC from the disabled state, no way back to xAPIC but through it.
    if (extended && (!on || !wasOn)) return '#GP';
    if (wasExtended && on && !extended) return '#GP';
    this.#base = value;
    if (wasOn && !on) {
      this.#resetRegisters();
      this.#id = this.#options.id;
    }
    if (extended && !wasExtended) this.#icr &= 0xffff_ffffn;
    this.#ports.attention();
    return undefined;
  }

  #resetRegisters(): void {
    this.#tpr = 0;
    this.#ldr = 0;
    this.#dfr = 0xffff_ffff;
    this.#sivr = 0xff;
    this.#esr = 0;
    this.#errors = 0;
    this.#icr = 0n;
    this.#lvt.reset();
    this.#isr.clear();
    this.#tmr.clear();
    this.#irr.clear();
    this.#timer.reset();
  }

  /** Every register of the page by offset / 16. What is not here is an illegal register. */
  #describe(): ReadonlyMap<number, Register> {
    const high = () => Number((this.#icr >> 32n) & 0xffff_ffffn);
    const writable = Number(this.#msrs.IA32_X2APIC_SIVR.writable);
    const registers: [number, Register][] = [
      [
        0x02,
        {
          read: () => this.#id << 24,
          write: (value) => {
            this.#id = value >>> 24;
          },
        },
      ],
      [0x03, { read: () => VERSION }],
      [
        0x08,
        {
          read: () => this.#tpr,
          write: (value) => {
            this.#tpr = value & 0xff;
            this.#ports.attention();
          },
        },
      ],
      [0x09, { read: () => 0 }],
      [0x0a, { read: () => this.processorPriority }],
      [0x0b, { write: () => this.#endOfInterrupt() }],
      [0x0c, { read: () => 0 }],
      [
        0x0d,
        {
          read: () => this.#ldr,
          write: (value) => {
            this.#ldr = value & 0xff00_0000;
          },
        },
      ],
      [
        0x0e,
        {
          read: () => this.#dfr,
          write: (value) => {
            this.#dfr = value | 0x0fff_ffff;
          },
        },
      ],
      [0x0f, { read: () => this.#sivr, write: (value) => this.#writeSivr(value & writable) }],
      [
        0x28,
        {
          read: () => this.#esr,
          write: () => {
            this.#esr = this.#errors;
            this.#errors = 0;
          },
        },
      ],
      [
        0x30,
        {
          read: () => Number(this.#icr & 0xffff_ffffn),
          write: (value) => {
            const mask = this.#msrs.IA32_X2APIC_ICR.writable as bigint;
            this.#command(((BigInt(this.#icrHigh()) << 32n) | BigInt(value)) & mask);
          },
        },
      ],
      [
        0x31,
        {
          read: () => high() << 24,
          write: (value) => {
            this.#icr = (this.#icr & 0xffff_ffffn) | (BigInt(value >>> 24) << 32n);
          },
        },
      ],
      [
        0x38,
        {
          read: () => this.#timer.initialCount,
          write: (value) => {
            this.#timer.initialCount = value >>> 0;
            this.#ports.attention();
          },
        },
      ],
      [0x39, { read: () => this.#timer.currentCount }],
      [
        0x3e,
        {
          read: () => this.#timer.divide,
          write: (value) => {
            this.#timer.divide = value;
            this.#ports.attention();
          },
        },
      ],
    ];
    for (let word = 0; word < 8; word++) {
      registers.push([0x10 + word, { read: () => this.#isr.words[word]! }]);
      registers.push([0x18 + word, { read: () => this.#tmr.words[word]! }]);
      registers.push([0x20 + word, { read: () => this.#irr.words[word]! }]);
    }
    for (const [index, entry] of LVT_ENTRIES.entries()) {
      registers.push([
        0x32 + index,
        { read: () => this.#lvt.read(entry), write: (value) => this.#writeLvt(entry, value) },
      ]);
    }
    return new Map(registers);
  }

  #icrHigh(): number {
    return Number((this.#icr >> 32n) & 0xffff_ffffn);
  }

  #writeSivr(value: number): void {
    this.#sivr = value;
    if ((value & ENABLE) === 0) this.#lvt.maskAll();
    this.#ports.attention();
  }

  #writeLvt(entry: LvtEntry, value: number): void {
    this.#lvt.write(entry, value, (this.#sivr & ENABLE) === 0);
    if (entry === 'TIMER')
      this.#timer.mode = Number(extract(BigInt(value >>> 0), TABLE.TIMER_MODE)) & 3;
    if (entry === 'LINT0') this.#levelPin(entry, this.#pins[0]!);
    if (entry === 'LINT1') this.#levelPin(entry, this.#pins[1]!);
    this.#ports.attention();
  }
}
