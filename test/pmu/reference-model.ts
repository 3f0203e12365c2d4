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
  readonly gp: number;
  readonly gpWidth: number;
  readonly fixed: number;
  readonly fixedWidth: number;
  readonly anyThread: boolean;
  readonly fullWidth: boolean;
}

type Answer = bigint | '#GP';

const BIT = (n: number) => 1n << BigInt(n);

export class ReferencePmu {
  readonly shape: ModelShape;
  pmc: bigint[];
  sel: bigint[];
  fix: bigint[];
  fixCtrl = 0n;
  ctrl: bigint;
  status = 0n;
  debugctl = 0n;
  cpl = 0;
  halted = false;
  /** PMIs asked for. */
  pmis = 0;

  constructor(shape: ModelShape) {
    this.shape = shape;
    this.pmc = Array(shape.gp).fill(0n);
    this.sel = Array(shape.gp).fill(0n);
    this.fix = Array(shape.fixed).fill(0n);
    this.ctrl = shape.version >= 2 ? BIT(shape.gp) - 1n : 0n;
  }

  powerUp(): void {
    const { pmis, cpl, halted } = this;
    Object.assign(this, new ReferencePmu(this.shape), { pmis, cpl, halted });
  }

  init(): void {
    this.debugctl = 0n;
  }

  /** One instruction retires; then whoever overflowed is noted, and at most one interrupt asked for. */
  retire(what: Occurrence): void {
    let ask = false;
    let over = 0n;
    for (let i = 0; i < this.shape.gp; i++) {
      if (!this.gpCounts(i)) continue;
      const n = this.gpAmount(this.sel[i]!, what);
      const sum = this.pmc[i]! + BigInt(n);
      this.pmc[i] = sum % BIT(this.shape.gpWidth);
      if (sum >= BIT(this.shape.gpWidth)) {
        over |= BIT(i);
        if ((this.sel[i]! & BIT(20)) !== 0n) ask = true;
      }
    }
    for (let i = 0; i < this.shape.fixed; i++) {
      if (!this.fixedCounts(i)) continue;
      // One step of the model is one tick of the reference clock.
      const n = i === 0 ? what.instructions : i === 2 ? 1 : what.cycles;
      const sum = this.fix[i]! + BigInt(n);
      this.fix[i] = sum % BIT(this.shape.fixedWidth);
      if (sum >= BIT(this.shape.fixedWidth)) {
        over |= BIT(32 + i);
        if ((this.fixCtrl & BIT(4 * i + 3)) !== 0n) ask = true;
      }
    }
    if (this.shape.version >= 2) this.status |= over;
    if (!ask) return;
    this.pmis += 1;
    // Streamlined freezing shows in the status register, LBRs or not; the legacy kind clears what enables.
    const freezeLbr = (this.debugctl & BIT(11)) !== 0n;
    const freezeCounters = (this.debugctl & BIT(12)) !== 0n;
    if (this.shape.version >= 4 && freezeLbr) this.status |= BIT(58);
    if (this.shape.version >= 4 && freezeCounters) this.status |= BIT(59);
    if (this.shape.version < 4 && freezeCounters) this.ctrl = 0n;
  }

  private frozen(): boolean {
    return (this.status & BIT(59)) !== 0n;
  }

  private gpCounts(i: number): boolean {
    const s = this.sel[i]!;
    if ((s & BIT(22)) === 0n) return false;
    if (this.shape.version >= 2 && (this.ctrl & BIT(i)) === 0n) return false;
    if (this.frozen()) return false;
    return (s & (this.cpl === 0 ? BIT(17) : BIT(16))) !== 0n;
  }

  private fixedCounts(i: number): boolean {
    const nibble = (this.fixCtrl >> BigInt(4 * i)) & 15n;
    if ((this.ctrl & BIT(32 + i)) === 0n || this.frozen()) return false;
    return (nibble & (this.cpl === 0 ? 1n : 2n)) !== 0n;
  }

  /** How much selector `s` adds for one retired instruction that took `cycles` cycles and retired in the last. */
  private gpAmount(s: bigint, what: Occurrence): number {
    const code = Number(s & 0xffffn);
    const cmask = Number((s >> 24n) & 0xffn);
    const inv = (s & BIT(23)) !== 0n;
    const edge = (s & BIT(18)) !== 0n;
    const happened =
      code === 0x00c0
        ? what.instructions
        : code === 0x00c4
          ? what.branches
          : code === 0x81d0
            ? what.loads
            : code === 0x003c
              ? what.cycles
              : 0;
    if (cmask === 0 && !edge) return happened;
    // Cycle by cycle: a cycle event is there in all of them, any other in the last if at all.
    const perCycle = Array.from({ length: what.cycles }, (_, c) =>
      code === 0x003c ? 1 : c === what.cycles - 1 ? happened : 0,
    );
    if (![0x00c0, 0x00c4, 0x81d0, 0x003c].includes(code)) return 0;
    const threshold = cmask === 0 ? 1 : cmask;
    const flip = cmask !== 0 && inv;
    const holds = perCycle.map((n) => n >= threshold !== flip);
    if (!edge) return holds.filter(Boolean).length;
    // Every occurrence is a pulse of its own; what holds in every cycle rises only on waking, which the model never does.
    const always = 1 >= threshold !== flip && 0 >= threshold !== flip;
    const cycleEvent = code === 0x003c;
    if (always || cycleEvent) return 0;
    const pulses = 1 >= threshold !== flip || 0 >= threshold !== flip;
    return pulses ? happened : 0;
  }

  rdpmc(ecx: number): Answer {
    const kind = ecx >>> 16;
    const i = ecx & 0xffff;
    if (kind === 0 && i < this.shape.gp) return this.pmc[i]!;
    if (kind === 0x4000 && i < this.shape.fixed) return this.fix[i]!;
    return '#GP';
  }

  rdmsr(a: number): Answer {
    const { version: v, gp, fixed, fullWidth } = this.shape;
    if (a >= 0xc1 && a < 0xc1 + gp) return this.pmc[a - 0xc1]!;
    if (fullWidth && a >= 0x4c1 && a < 0x4c1 + gp) return this.pmc[a - 0x4c1]!;
    if (a >= 0x186 && a < 0x186 + gp) return this.sel[a - 0x186]!;
    if (a === 0x1d9) return this.debugctl;
    if (v < 2) return '#GP';
    if (a >= 0x309 && a < 0x309 + fixed) return this.fix[a - 0x309]!;
    if (a === 0x38d) return this.fixCtrl;
    if (a === 0x38e) return this.status;
    if (a === 0x38f) return this.ctrl;
    if (a === 0x390) return 0n;
    if (v >= 4 && a === 0x391) return 0n;
    if (v >= 4 && a === 0x392) return this.inUse();
    return '#GP';
  }

  wrmsr(a: number, value: bigint): 'done' | '#GP' {
    const { version: v, gp, gpWidth, fixed, fixedWidth, anyThread, fullWidth } = this.shape;
    const only = (mask: bigint) => (value & ~mask) === 0n;
    const gpBits = BIT(gp) - 1n;
    const counterBits = gpBits | ((BIT(fixed) - 1n) << 32n);
    if (a >= 0xc1 && a < 0xc1 + gp) {
      const low = value & 0xffff_ffffn;
      this.pmc[a - 0xc1] = low < BIT(31) ? low : low + BIT(gpWidth) - BIT(32);
      return 'done';
    }
    if (fullWidth && a >= 0x4c1 && a < 0x4c1 + gp) {
      if (value >= BIT(gpWidth)) return '#GP';
      this.pmc[a - 0x4c1] = value;
      return 'done';
    }
    if (a >= 0x186 && a < 0x186 + gp) {
      const reserved = anyThread ? 0n : BIT(21);
      if (value >= BIT(32) || (value & reserved) !== 0n) return '#GP';
      this.sel[a - 0x186] = value & ~BIT(19);
      return 'done';
    }
    if (a === 0x1d9) {
      if (!only(v >= 2 ? BIT(1) | BIT(11) | BIT(12) : BIT(1))) return '#GP';
      this.debugctl = value;
      return 'done';
    }
    if (v < 2) return '#GP';
    if (a >= 0x309 && a < 0x309 + fixed) {
      if (value >= BIT(fixedWidth)) return '#GP';
      this.fix[a - 0x309] = value;
      return 'done';
    }
    if (a === 0x38d) {
      let legal = 0n;
      for (let i = 0; i < fixed; i++) legal |= (anyThread ? 15n : 11n) << BigInt(4 * i);
      if (!only(legal)) return '#GP';
      this.fixCtrl = value;
      return 'done';
    }
    if (a === 0x38f) {
      if (!only(counterBits)) return '#GP';
      this.ctrl = value;
      return 'done';
    }
    const overflowBits = counterBits | BIT(62) | (v >= 3 ? BIT(61) : 0n);
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

  private inUse(): bigint {
    let used = 0n;
    this.sel.forEach((s, i) => {
      if ((s & 0xffn) !== 0n) used |= BIT(i);
      if ((s & BIT(20)) !== 0n) used |= BIT(63);
    });
    this.fix.forEach((_, i) => {
      const nibble = (this.fixCtrl >> BigInt(4 * i)) & 15n;
      if ((nibble & 3n) !== 0n) used |= BIT(32 + i);
      if ((nibble & 8n) !== 0n) used |= BIT(63);
    });
    return used;
  }
}
