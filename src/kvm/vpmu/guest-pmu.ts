import { bit, extract, isSet, ones } from '../../bits/bitfield.ts';
import { isCanonical, signed } from '../../bits/u64.ts';
import { MsrBus, type ReadOutcome, type WriteOutcome } from '../../msr/bus.ts';
import { pebsMsrs } from '../../msr/pebs.ts';
import { FIXED_CTR, PERFEVTSEL, pmuMsrs } from '../../msr/pmu.ts';
import { indices, type PmuShape } from '../../msr/pmu-shape.ts';

/** Bit of the first fixed counter in the global registers, and the index of its pmc. */
export const FIXED_BASE = 32;

/** A counter of the guest's PMU (kvm_pmc): general-purpose by number, fixed from 32. */
export interface Pmc {
  readonly index: number;
  /** Its bit in the global registers. */
  readonly mask: bigint;
  /** IA32_PERFEVTSELx as the guest wrote it; of a fixed counter the encoding of its event. */
  eventsel: bigint;
}

/** What a design does when the guest touches a counter or what governs it. */
export interface CounterBehaviour {
  read(pmc: Pmc): bigint;
  write(pmc: Pmc, value: bigint): void;
  /** The selector, the fixed control nibble, or the global enable of this counter has changed. */
  changed(pmc: Pmc): void;
  /** GLOBAL_CTRL has a new value. */
  globalCtrlWritten?(value: bigint): void;
  /** GLOBAL_CTRL may be newer than KVM's copy. */
  globalCtrl?(): bigint;
}

/** Events of the fixed counters: instructions, core cycles, reference cycles, slots. */
const FIXED_EVENTSEL = [0x00c0n, 0x003cn, 0x0300n, 0x0400n] as const;

const EVENT_AND_UMASK = PERFEVTSEL.EVENT | PERFEVTSEL.UMASK;
const INSTRUCTIONS = 0x00c0n;
const BRANCHES = 0x00c4n;

/** What a guest PMU needs to resume beside its counters. */
export interface SavedGuestPmu {
  readonly eventsel: readonly bigint[];
  readonly fixedCtrl: bigint;
  readonly globalCtrl: bigint;
  readonly globalStatus: bigint;
  readonly pebsEnable: bigint;
  readonly dsArea: bigint;
}

/**
 * The registers of a guest's PMU and their rules, the same in every design: what exists, what faults, what is
 * stored. What a counter holds and how it comes to count is the design's.
 */
export class GuestPmu {
  readonly shape: PmuShape;
  readonly pmcs: readonly Pmc[];
  /** All ones in the width of a counter. */
  readonly mask: bigint;
  fixedCtrl = 0n;
  globalCtrl = 0n;
  globalStatus = 0n;
  pebsEnable = 0n;
  dsArea = 0n;
  readonly #bus = new MsrBus();
  readonly #byIndex: ReadonlyMap<number, Pmc>;
  readonly #behaviour: CounterBehaviour;

  constructor(shape: PmuShape, behaviour: CounterBehaviour) {
    this.shape = shape;
    this.mask = ones(shape.gpWidth);
    this.#behaviour = behaviour;
    const gp = indices(shape.gp).map((index) => ({ index, mask: bit(index), eventsel: 0n }));
    const fixed = indices(shape.fixed).map((index) => ({
      index: FIXED_BASE + index,
      mask: bit(FIXED_BASE + index),
      eventsel: FIXED_EVENTSEL[index] ?? 0n,
    }));
    this.pmcs = [...gp, ...fixed];
    this.#byIndex = new Map(this.pmcs.map((pmc) => [pmc.index, pmc]));
    this.#attach();
    this.reset();
  }

  get width(): number {
    return this.shape.gpWidth;
  }

  pmc(index: number): Pmc | undefined {
    return this.#byIndex.get(index);
  }

  /** Power-up values: GLOBAL_CTRL enables the general-purpose counters. */
  reset(): void {
    for (const pmc of this.pmcs) if (pmc.index < FIXED_BASE) pmc.eventsel = 0n;
    this.fixedCtrl = 0n;
    this.globalStatus = 0n;
    this.globalCtrl = this.shape.version >= 2 ? this.shape.gp : 0n;
    this.pebsEnable = 0n;
    this.dsArea = 0n;
  }

  rdmsr(address: number): ReadOutcome {
    return this.#bus.rdmsr(address);
  }

  wrmsr(address: number, value: bigint): WriteOutcome {
    return this.#bus.wrmsr(address, value);
  }

  /** Whether a register could hold a value, as VM entry asks before it loads one. */
  accepts(address: number, value: bigint): boolean {
    return this.#bus.accepts(address, value);
  }

  /** The pmc that RDPMC with this ECX reads, if there is one. Bits 31 and 29 are no types of ours. */
  rdpmcTarget(ecx: number): Pmc | undefined {
    const type = (ecx >>> 16) & 0xffff;
    const index = ecx & 0xffff;
    if (type === 0) return index < FIXED_BASE ? this.pmc(index) : undefined;
    return type === 0x4000 ? this.pmc(FIXED_BASE + index) : undefined;
  }

  /** RDPMC at a privilege level where it is allowed. */
  rdpmc(ecx: number): bigint | '#GP' {
    if (this.shape.version === 0) return '#GP';
    const pmc = this.rdpmcTarget(ecx);
    return pmc ? this.#behaviour.read(pmc) & this.mask : '#GP';
  }

  /** pmc_is_globally_enabled: always, on a PMU without global registers. */
  isGloballyEnabled({ mask }: Pmc): boolean {
    return this.shape.version < 2 || isSet(this.globalCtrl, mask);
  }

  /** Whether the guest asks for records of this counter. */
  samples({ mask }: Pmc): boolean {
    return isSet(this.pebsEnable, mask);
  }

  /** Which privilege levels a counter is locally enabled for, and whether it interrupts. */
  localControl(pmc: Pmc): { os: boolean; user: boolean; interrupt: boolean; enabled: boolean } {
    if (pmc.index >= FIXED_BASE) {
      const nibble = (this.fixedCtrl >> BigInt(4 * (pmc.index - FIXED_BASE))) & 0xfn;
      const os = isSet(nibble, FIXED_CTR.OS);
      const user = isSet(nibble, FIXED_CTR.USR);
      return { os, user, interrupt: isSet(nibble, FIXED_CTR.PMI), enabled: os || user };
    }
    return {
      os: isSet(pmc.eventsel, PERFEVTSEL.OS),
      user: isSet(pmc.eventsel, PERFEVTSEL.USR),
      interrupt: isSet(pmc.eventsel, PERFEVTSEL.INT),
      enabled: isSet(pmc.eventsel, PERFEVTSEL.EN),
    };
  }

  /** Whether an emulated instruction is one of this counter's events: edge, inversion and mask are ignored. */
  countsRetired(pmc: Pmc, { branch, cpl }: { branch: boolean; cpl: number }): boolean {
    const event = pmc.eventsel & EVENT_AND_UMASK;
    if (event !== INSTRUCTIONS && !(branch && event === BRANCHES)) return false;
    if (!this.isGloballyEnabled(pmc)) return false;
    const { os, user, enabled } = this.localControl(pmc);
    return enabled && (cpl === 0 ? os : user);
  }

  save(): SavedGuestPmu {
    const { fixedCtrl, globalCtrl, globalStatus, pebsEnable, dsArea } = this;
    const eventsel = this.pmcs.map((pmc) => pmc.eventsel);
    return { eventsel, fixedCtrl, globalCtrl, globalStatus, pebsEnable, dsArea };
  }

  restore(saved: SavedGuestPmu): void {
    this.pmcs.forEach((pmc, at) => {
      pmc.eventsel = saved.eventsel[at]!;
    });
    this.fixedCtrl = saved.fixedCtrl;
    this.globalCtrl = saved.globalCtrl;
    this.globalStatus = saved.globalStatus;
    this.pebsEnable = saved.pebsEnable;
    this.dsArea = saved.dsArea;
  }

  #attach(): void {
    // IA32_DEBUGCTL is a VMCS field, not a register of the guest's PMU.
    const { IA32_DEBUGCTL: _, ...rows } = pmuMsrs(this.shape);
    const gp = (i: number) => this.pmc(i)!;
    const fixed = (i: number) => this.pmc(FIXED_BASE + i)!;
    const { read, write } = this.#behaviour;
    const value = (pmc: Pmc) => read(pmc) & this.mask;

    // biome-ignore format: a table
    this.#bus.attach(rows, {
      IA32_PMC:                  { read: (i) => value(gp(i)), write: (v, i) => write(gp(i), signed(32, v) & this.mask) },
      IA32_A_PMC:                { read: (i) => value(gp(i)), write: (v, i) => write(gp(i), v) },
      IA32_FIXED_CTR:            { read: (i) => value(fixed(i)), write: (v, i) => write(fixed(i), v) },
      IA32_PERFEVTSEL:           { read: (i) => gp(i).eventsel, write: (v, i) => this.#select(gp(i), v) },
      IA32_FIXED_CTR_CTRL:       { read: () => this.fixedCtrl, write: (v) => this.#controlFixed(v) },
      IA32_PERF_GLOBAL_CTRL:     { read: () => this.#currentGlobalCtrl(), write: (v) => this.#controlGlobal(v) },
      IA32_PERF_GLOBAL_STATUS:   { read: () => this.globalStatus },
      IA32_PERF_GLOBAL_OVF_CTRL: { read: () => 0n, write: (v) => { this.globalStatus &= ~v; } },
    });
    this.#bus.attach(pebsMsrs(this.shape), {
      IA32_PEBS_ENABLE: { read: () => this.pebsEnable, write: (v) => this.#enablePebs(v) },
      IA32_DS_AREA: { read: () => this.dsArea, write: (v) => this.#placeDsArea(v) },
    });
  }

  #currentGlobalCtrl(): bigint {
    const { globalCtrl } = this.#behaviour;
    if (globalCtrl) this.globalCtrl = globalCtrl();
    return this.globalCtrl;
  }

  #enablePebs(value: bigint): void {
    const difference = this.pebsEnable ^ value;
    this.pebsEnable = value;
    for (const pmc of this.pmcs) {
      if (isSet(difference, pmc.mask)) this.#behaviour.changed(pmc);
    }
  }

  #placeDsArea(value: bigint): '#GP' | undefined {
    if (!isCanonical(value)) return '#GP';
    this.dsArea = value;
    return undefined;
  }

  #select(pmc: Pmc, value: bigint): void {
    if (pmc.eventsel === value) return;
    pmc.eventsel = value;
    this.#behaviour.changed(pmc);
  }

  #controlFixed(value: bigint): void {
    const difference = this.fixedCtrl ^ value;
    this.fixedCtrl = value;
    for (const pmc of this.pmcs) {
      if (pmc.index < FIXED_BASE) continue;
      const nibble = 0xfn << BigInt(4 * (pmc.index - FIXED_BASE));
      if (extract(difference, nibble) !== 0n) this.#behaviour.changed(pmc);
    }
  }

  #controlGlobal(value: bigint): void {
    const difference = this.#currentGlobalCtrl() ^ value;
    this.globalCtrl = value;
    if (difference === 0n) return;
    this.#behaviour.globalCtrlWritten?.(value);
    for (const pmc of this.pmcs) {
      if (isSet(difference, pmc.mask)) this.#behaviour.changed(pmc);
    }
  }
}
