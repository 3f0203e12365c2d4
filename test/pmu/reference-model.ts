/**
 * A second PMU, written from the manual in another manner: it counts one event after the other, has no totals, no
 * settling and no horizon, and knows its registers by number. It is slow and judges `src/pmu`.
 */

/** What a counter of the model can see happen, one at a time. */
export interface Occurrence {
  readonly instructions: number;
  readonly branches: number;
  readonly loads: number;
  readonly cycles: number;
}

export interface ModelShape {
  readonly version: number;
  /** The counters that exist. */
  readonly gp: readonly number[];
  readonly gpWidth: number;
  readonly fixed: readonly number[];
  readonly fixedWidth: number;
  readonly anyThread: boolean;
  readonly fullWidth: boolean;
  /** PEBS baseline: selectors have the bit of adaptive records. */
  readonly adaptive: boolean;
  readonly metrics: boolean;
  readonly lbr: 'legacy' | 'architectural' | 'none';
  /** Version 6: counters that auto counter reload can reload, and those that can cause it. */
  readonly reloaded: bigint;
  readonly causes: bigint;
}

export type Answer = bigint | '#GP';

const POWERS = Array.from({ length: 65 }, (_, n) => 1n << BigInt(n));
export const BIT = (n: number) => POWERS[n]!;
const BITS = (list: readonly number[]) => list.reduce((all, i) => all | BIT(i), 0n);
const CODES = [0x00c0, 0x00c4, 0x81d0, 0x003c];

export class ReferencePmu {
  readonly shape: ModelShape;
  pmc: bigint[] = Array(32).fill(0n);
  sel: bigint[] = Array(32).fill(0n);
  fix: bigint[] = Array(16).fill(0n);
  /** By bit of the global registers: what reloads a counter, and with what. */
  causedBy = new Map<number, bigint>();
  reload = new Map<number, bigint>();
  fixCtrl = 0n;
  ctrl: bigint;
  status = 0n;
  debugctl = 0n;
  cpl = 0;
  /** PMIs asked for. */
  pmis = 0;

  constructor(shape: ModelShape) {
    this.shape = shape;
    this.ctrl = shape.version >= 2 ? BITS(shape.gp) : 0n;
  }

  powerUp(): void {
    const { pmis, cpl } = this;
    Object.assign(this, new ReferencePmu(this.shape), { pmis, cpl });
  }

  init(): void {
    this.debugctl = 0n;
  }

  /** One instruction retires; then whoever overflowed is noted, and at most one interrupt asked for. */
  retire(what: Occurrence): void {
    let ask = false;
    let over = 0n;
    let wrapped = 0n;
    const count = (counter: number, n: number, bank: bigint[], i: number, width: number) => {
      const sum = bank[i]! + BigInt(n);
      bank[i] = sum % BIT(width);
      const around = sum >= BIT(width);
      if (around) wrapped |= BIT(counter);
      const sampled = n > 0 ? this.sample(counter, around, bank[i]!) : undefined;
      if (sampled !== undefined) ask ||= sampled;
      else if (around) {
        over |= BIT(counter);
        ask ||= this.asks(counter);
      }
    };
    for (const i of this.shape.gp) {
      if (this.gpCounts(i)) {
        count(i, this.gpAmount(this.sel[i]!, what), this.pmc, i, this.shape.gpWidth);
      }
    }
    for (const i of this.shape.fixed) {
      if (this.fixedCounts(i)) {
        count(32 + i, this.fixedAmount(i, what), this.fix, i, this.shape.fixedWidth);
      }
    }
    if ((over & BIT(35)) !== 0n && this.shape.metrics) over |= BIT(48);
    for (const [counter, causes] of this.causedBy) {
      if ((causes & wrapped) !== 0n) this.setCounter(counter, this.reload.get(counter) ?? 0n);
    }
    if (this.shape.version >= 2) this.status |= over;
    if (ask) this.requestInterrupt();
  }

  private requestInterrupt(): void {
    this.pmis += 1;
    this.interrupt();
    // Streamlined freezing shows in the status register, LBRs or not; the legacy kind clears what enables.
    const freezeLbr = (this.debugctl & BIT(11)) !== 0n;
    const freezeCounters = (this.debugctl & BIT(12)) !== 0n;
    if (this.shape.version >= 4 && freezeLbr) this.status |= BIT(58);
    if (this.shape.version >= 4 && freezeCounters) this.status |= BIT(59);
    if (this.shape.version < 4 && freezeCounters) this.ctrl = 0n;
    if (this.shape.version < 4 && freezeLbr) this.debugctl &= ~1n;
  }

  /** Event-based sampling of a counter that has moved: whether it asks for an interrupt; undefined if it does not sample. */
  protected sample(_counter: number, _wrapped: boolean, _value: bigint): boolean | undefined {
    return undefined;
  }

  /** A PMI is asked for. */
  protected interrupt(): void {}

  protected frozen(): boolean {
    return (this.status & BIT(59)) !== 0n;
  }

  private asks(counter: number): boolean {
    if (counter < 32) return (this.sel[counter]! & BIT(20)) !== 0n;
    return (this.fixCtrl & BIT(4 * (counter - 32) + 3)) !== 0n;
  }

  private gpCounts(i: number): boolean {
    const s = this.sel[i]!;
    if ((s & BIT(22)) === 0n) return false;
    if (this.shape.version >= 2 && (this.ctrl & BIT(i)) === 0n) return false;
    if (this.frozen()) return false;
    return (s & (this.cpl === 0 ? BIT(17) : BIT(16))) !== 0n;
  }

  protected fixedCounts(i: number): boolean {
    const nibble = (this.fixCtrl >> BigInt(4 * i)) & 15n;
    if ((this.ctrl & BIT(32 + i)) === 0n || this.frozen()) return false;
    return (nibble & (this.cpl === 0 ? 1n : 2n)) !== 0n;
  }

  /** One step of the model is one tick of the reference clock; no slot is lost but to the back end. */
  private fixedAmount(i: number, what: Occurrence): number {
    return [what.instructions, what.cycles, 1, what.cycles, 0, 0, what.instructions][i]!;
  }

  /** How much selector `s` adds for one retired instruction that took `cycles` cycles and retired in the last. */
  private gpAmount(s: bigint, what: Occurrence): number {
    const code = Number(s & 0xffffn);
    const cmask = Number((s >> 24n) & 0xffn);
    const inv = (s & BIT(23)) !== 0n;
    const edge = (s & BIT(18)) !== 0n;
    const equal = (s & BIT(36)) !== 0n;
    if (!CODES.includes(code) || s >> 40n !== 0n) return 0;
    const happened = [what.instructions, what.branches, what.loads, what.cycles][
      CODES.indexOf(code)
    ]!;
    if (cmask === 0 && !edge) return happened;
    // Cycle by cycle: a cycle event is there in all of them, any other in the last if at all.
    const cycleEvent = code === 0x003c;
    const perCycle = Array.from({ length: what.cycles }, (_, c) =>
      cycleEvent ? 1 : c === what.cycles - 1 ? happened : 0,
    );
    const threshold = cmask === 0 ? 1 : cmask;
    const flip = cmask !== 0 && inv;
    const holds = (n: number) => (equal ? n === threshold : n >= threshold) !== flip;
    if (!edge) return perCycle.filter(holds).length;
    // Every occurrence is a pulse of its own; what holds in every cycle rises only on waking, which the model never does.
    if (cycleEvent || (holds(1) && holds(0))) return 0;
    return holds(1) || holds(0) ? happened : 0;
  }

  rdpmc(ecx: number): Answer {
    const kind = ecx >>> 16;
    const i = ecx & 0xffff;
    const hidden = (control: bigint) => this.cpl === 3 && control !== 0n;
    if (kind === 0 && this.shape.gp.includes(i)) {
      return hidden(this.sel[i]! & BIT(37)) ? 0n : this.pmc[i]!;
    }
    if (kind === 0x4000 && this.shape.fixed.includes(i)) {
      return hidden(this.fixCtrl & BIT(33 + 4 * i)) ? 0n : this.fix[i]!;
    }
    return '#GP';
  }

  /** The counter that a register is, by its bit of the global registers; and whether it is the oldest name. */
  protected counterAt(a: number): number | undefined {
    const { version: v, gp, fixed, fullWidth } = this.shape;
    const one = (list: readonly number[], i: number) => (list.includes(i) ? i : undefined);
    if (a >= 0xc1 && a < 0xe1) return one(gp, a - 0xc1);
    if (fullWidth && a >= 0x4c1 && a < 0x4e1) return one(gp, a - 0x4c1);
    if (a >= 0x309 && a < 0x319 && fixed.includes(a - 0x309)) return 32 + a - 0x309;
    if (v < 6 || a < 0x1900 || a >= 0x19c0 || a % 4 !== 0) return undefined;
    if (a < 0x1980) return one(gp, (a - 0x1900) / 4);
    return fixed.includes((a - 0x1980) / 4) ? 32 + (a - 0x1980) / 4 : undefined;
  }

  private selectorAt(a: number): number | undefined {
    const { version: v, gp } = this.shape;
    const i = a >= 0x186 && a < 0x1a6 ? a - 0x186 : v >= 6 && a % 4 === 1 ? (a - 0x1901) / 4 : -1;
    return gp.includes(i) ? i : undefined;
  }

  /** What auto counter reload keeps of a counter: CFG_B, or CFG_C and its other name. */
  private extensionAt(a: number): [counter: number, what: 'causes' | 'reload'] | undefined {
    const { reloaded } = this.shape;
    const may = (counter: number, what: 'causes' | 'reload') =>
      (reloaded & BIT(counter)) === 0n
        ? undefined
        : ([counter, what] as [number, 'causes' | 'reload']);
    if (a >= 0x14c1 && a < 0x14e1) return may(a - 0x14c1, 'reload');
    if (a >= 0x1309 && a < 0x1319) return may(32 + a - 0x1309, 'reload');
    if (a < 0x1900 || a >= 0x19c0 || a % 4 < 2) return undefined;
    const what = a % 4 === 2 ? 'causes' : 'reload';
    return may(a < 0x1980 ? (a - 0x1900) >> 2 : 32 + ((a - 0x1980) >> 2), what);
  }

  protected setCounter(counter: number, value: bigint): void {
    const { gpWidth, fixedWidth } = this.shape;
    if (counter < 32) this.pmc[counter] = value & (BIT(gpWidth) - 1n);
    else this.fix[counter - 32] = value & (BIT(fixedWidth) - 1n);
  }

  rdmsr(a: number): Answer {
    const v = this.shape.version;
    const counter = this.counterAt(a);
    if (counter !== undefined) return counter < 32 ? this.pmc[counter]! : this.fix[counter - 32]!;
    const selector = this.selectorAt(a);
    if (selector !== undefined) return this.sel[selector]!;
    const extension = this.extensionAt(a);
    if (extension?.[1] === 'causes') return this.causedBy.get(extension[0]) ?? 0n;
    if (extension) return (this.reload.get(extension[0]) ?? 0n) & 0xffff_ffffn;
    if (a === 0x1d9) return this.debugctl;
    if (v < 2) return '#GP';
    if (a === 0x38d) return this.fixCtrl;
    if (a === 0x38e) return this.status;
    if (a === 0x38f) return this.ctrl;
    if (a === 0x390) return 0n;
    if (v >= 4 && a === 0x391) return 0n;
    if (v >= 4 && a === 0x392) return this.inUse();
    return '#GP';
  }

  wrmsr(a: number, value: bigint): 'done' | '#GP' {
    const { version: v, gp, gpWidth, fixed, fixedWidth, causes } = this.shape;
    const only = (mask: bigint) => (value & ~mask) === 0n;
    const counter = this.counterAt(a);
    if (counter !== undefined) {
      if (a < 0x100) this.setCounter(counter, signExtended(value));
      else if (value >= BIT(counter < 32 ? gpWidth : fixedWidth)) return '#GP';
      else this.setCounter(counter, value);
      return 'done';
    }
    const selector = this.selectorAt(a);
    if (selector !== undefined) {
      if (!only(this.selectorBits())) return '#GP';
      this.sel[selector] = value & ~BIT(19);
      return 'done';
    }
    const extension = this.extensionAt(a);
    if (extension?.[1] === 'causes') {
      if (!only(causes)) return '#GP';
      this.causedBy.set(extension[0], value);
      return 'done';
    }
    if (extension) {
      if (!only(0xffff_ffffn)) return '#GP';
      this.reload.set(extension[0], signExtended(value));
      return 'done';
    }
    if (a === 0x1d9) {
      const { lbr } = this.shape;
      const recording = lbr === 'none' ? 0n : 1n;
      if (!only((v >= 2 ? BIT(1) | BIT(11) | BIT(12) : BIT(1)) | recording)) return '#GP';
      this.debugctl = lbr === 'architectural' ? value & ~1n : value;
      return 'done';
    }
    if (v < 2) return '#GP';
    if (a === 0x38d) {
      if (!only(this.fixedControlBits())) return '#GP';
      this.fixCtrl = value;
      return 'done';
    }
    const counters = BITS(gp) | (BITS(fixed) << 32n) | (this.shape.metrics ? BIT(48) : 0n);
    if (a === 0x38f) {
      if (!only(counters)) return '#GP';
      this.ctrl = value;
      return 'done';
    }
    const overflowBits = counters | BIT(62) | (v >= 3 ? BIT(61) : 0n);
    const all = overflowBits | (v >= 4 ? BIT(58) | BIT(59) | BIT(60) : 0n);
    if (a === 0x390) {
      if (!only(all | BIT(63))) return '#GP';
      this.status &= ~value;
      return 'done';
    }
    if (v >= 4 && a === 0x391) {
      if (!only(all)) return '#GP';
      this.status |= value;
      return 'done';
    }
    return '#GP';
  }

  private selectorBits(): bigint {
    const { version, anyThread, adaptive } = this.shape;
    const v6 = version >= 6 ? BIT(36) | BIT(37) | (0xffn << 40n) : 0n;
    return (0xffff_ffffn & ~(anyThread ? 0n : BIT(21))) | (adaptive ? BIT(34) : 0n) | v6;
  }

  private fixedControlBits(): bigint {
    const { version, fixed, anyThread, adaptive } = this.shape;
    const high = (adaptive ? BIT(32) : 0n) | (version >= 6 ? BIT(33) : 0n);
    const each = (anyThread ? 15n : 11n) | high;
    return fixed.reduce((all, i) => all | (each << BigInt(4 * i)), 0n);
  }

  protected inUse(): bigint {
    let used = 0n;
    for (const i of this.shape.gp) {
      if ((this.sel[i]! & 0xffn) !== 0n) used |= BIT(i);
      if (this.asks(i)) used |= BIT(63);
    }
    for (const i of this.shape.fixed) {
      if (((this.fixCtrl >> BigInt(4 * i)) & 3n) !== 0n) used |= BIT(32 + i);
      if (this.asks(32 + i)) used |= BIT(63);
    }
    return used;
  }
}

const signExtended = (value: bigint): bigint => {
  const low = value & 0xffff_ffffn;
  return low < BIT(31) ? low : low | ~0xffff_ffffn;
};
