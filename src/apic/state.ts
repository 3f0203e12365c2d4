import { isSet } from '../bits/bitfield.ts';
import { APIC_BASE, apicMsrs, SIVR } from '../msr/apic.ts';
import { LocalVectorTable, type LvtEntry } from './lvt.ts';
import { type ApicClock, ApicTimer, type SavedTimer } from './timer.ts';
import { VectorSet } from './vector-set.ts';

export interface LocalApicOptions {
  readonly id: number;
  readonly bootstrap: boolean;
  readonly physicalAddressBits: number;
  /** Ticks in one period of the timer's undivided clock, 1 unless told. */
  readonly ticksPerTimerCount?: number;
}

export interface SavedLocalApic {
  registers: ApicRegisters;
  lvt: number[];
  isr: number[];
  tmr: number[];
  irr: number[];
  pins: boolean[];
  timer: SavedTimer;
}

const DEFAULT_BASE = 0xfee0_0000n;

/** What a local APIC holds beside its vector sets, its vector table and its timer. */
interface ApicRegisters {
  base: bigint;
  /** The ID of xAPIC mode, which software may change. */
  id: number;
  tpr: number;
  ldr: number;
  dfr: number;
  sivr: number;
  /** What software reads, and what has happened since it last wrote the register. */
  esr: number;
  errors: number;
  /** In the layout of x2APIC mode. */
  icr: bigint;
  nmi: boolean;
  init: boolean;
  /** Vector of a SIPI that waits to be taken, -1 for none. */
  sipi: number;
  /** Between INIT (or power-up of an application processor) and SIPI. */
  waiting: boolean;
}

/** Registers that INIT sets like power-up. Vol. 3, "Local APIC State After Power-Up or Reset". */
const POWER_UP = {
  tpr: 0,
  ldr: 0,
  dfr: 0xffff_ffff,
  sivr: 0xff,
  esr: 0,
  errors: 0,
  icr: 0n,
} as const;

/** The registers of one local APIC, and what follows from them alone. */
export class ApicState {
  readonly options: LocalApicOptions;
  readonly msrs: ReturnType<typeof apicMsrs>;
  readonly registers: ApicRegisters;
  readonly lvt: LocalVectorTable;
  readonly timer: ApicTimer;
  readonly isr = new VectorSet();
  readonly tmr = new VectorSet();
  readonly irr = new VectorSet();
  /** Whether LINT0 and LINT1 are asserted. */
  readonly pins = [false, false];

  constructor(options: LocalApicOptions, clock: ApicClock) {
    this.options = options;
    this.msrs = apicMsrs(options.physicalAddressBits);
    this.registers = this.#atPowerUp();
    const writable = (entry: LvtEntry) => Number(this.msrs[`IA32_X2APIC_LVT_${entry}`].writable);
    this.lvt = new LocalVectorTable({
      TIMER: writable('TIMER'),
      THERMAL: writable('THERMAL'),
      PMI: writable('PMI'),
      LINT0: writable('LINT0'),
      LINT1: writable('LINT1'),
      ERROR: writable('ERROR'),
    });
    this.timer = new ApicTimer(clock, options.ticksPerTimerCount);
  }

  /** Whether IA32_APIC_BASE has the APIC on. */
  get enabled(): boolean {
    return isSet(this.registers.base, APIC_BASE.EN);
  }

  /** Whether it is in x2APIC mode. */
  get extended(): boolean {
    return isSet(this.registers.base, APIC_BASE.EXTD);
  }

  /** Whether it takes fixed interrupts: on, and enabled by software. */
  get takesInterrupts(): boolean {
    return this.enabled && (this.registers.sivr & Number(SIVR.ENABLE)) !== 0;
  }

  /** The ID that messages name: 8 bits in xAPIC mode, the whole of it in x2APIC mode. */
  get id(): number {
    return this.extended ? this.options.id : this.registers.id;
  }

  /** Cluster and bit that follow from the ID. Vol. 3, "Deriving Logical x2APIC ID from the Local x2APIC ID". */
  get logicalId(): number {
    const { id } = this.options;
    return ((id >>> 4) << 16) | (1 << (id & 15));
  }

  /** TPR, or the class in service where that is higher. Vol. 3, "Task and Processor Priorities". */
  get processorPriority(): number {
    const { tpr } = this.registers;
    const inService = Math.max(0, this.isr.highest());
    return tpr >> 4 >= inService >> 4 ? tpr : inService & 0xf0;
  }

  /** The highest requested vector if it outranks the processor priority, else -1. */
  get deliverable(): number {
    const vector = this.irr.highest();
    if (vector < 0 || !this.takesInterrupts) return -1;
    return vector >> 4 > this.processorPriority >> 4 ? vector : -1;
  }

  /** INIT: everything but the ID, the base and what is pending beside interrupts. */
  resetRegisters(): void {
    Object.assign(this.registers, POWER_UP);
    this.lvt.reset();
    this.isr.clear();
    this.tmr.clear();
    this.irr.clear();
    this.timer.reset();
  }

  /** RESET. */
  reset(): void {
    this.resetRegisters();
    Object.assign(this.registers, this.#atPowerUp());
  }

  save(): SavedLocalApic {
    return {
      registers: { ...this.registers },
      lvt: [...this.lvt.values],
      isr: [...this.isr.words],
      tmr: [...this.tmr.words],
      irr: [...this.irr.words],
      pins: [...this.pins],
      timer: this.timer.save(),
    };
  }

  restore(saved: SavedLocalApic): void {
    Object.assign(this.registers, saved.registers);
    this.lvt.values.set(saved.lvt);
    this.isr.words.set(saved.isr);
    this.tmr.words.set(saved.tmr);
    this.irr.words.set(saved.irr);
    this.pins.splice(0, 2, ...saved.pins);
    this.timer.restore(saved.timer);
  }

  #atPowerUp(): ApicRegisters {
    const { id, bootstrap } = this.options;
    const base = DEFAULT_BASE | APIC_BASE.EN | (bootstrap ? APIC_BASE.BSP : 0n);
    return { ...POWER_UP, id, base, nmi: false, init: false, sipi: -1, waiting: !bootstrap };
  }
}
