import { bit, isSet } from '../bits/bitfield.ts';
import { FIXED_CTR, PERF_GLOBAL, PERFEVTSEL } from '../msr/pmu.ts';
import { fixedCounters, hasGp, indices, type PmuShape } from '../msr/pmu-shape.ts';
import { Counter } from './counter.ts';
import type { Totals } from './ports.ts';
import { OFF, type Selection } from './select.ts';

/** A counter in its place: which bit stands for it in the global registers, and what it was told to do. */
export class Slot {
  readonly index: number;
  readonly fixed: boolean;
  readonly mask: bigint;
  readonly counter: Counter;
  selection: Selection = OFF;
  /** IA32_PERFEVTSELx, or the counter's part of IA32_FIXED_CTR_CTRL. */
  control = 0n;
  /** IA32_PMC_x_CFG_B: the counters whose overflow reloads this one; and _CFG_C. */
  causes = 0n;
  config = 0n;
  /** PEBS: it has overflowed, and the next event is recorded. */
  recordsNext = false;

  constructor(parts: { index: number; fixed: boolean; width: number; totals: Totals }) {
    this.index = parts.index;
    this.fixed = parts.fixed;
    this.mask = parts.fixed ? PERF_GLOBAL.FIXED_0 << BigInt(parts.index) : bit(parts.index);
    this.counter = new Counter(parts.width, parts.totals);
  }

  /** Whether PEBS records of this counter have the groups of MSR_PEBS_DATA_CFG. */
  get adaptive(): boolean {
    return isSet(this.control, this.fixed ? FIXED_CTR.ADAPTIVE : PERFEVTSEL.ADAPTIVE);
  }

  /** Whether RDPMC at CPL 3 reads 0. */
  get userDisabled(): boolean {
    return isSet(this.control, this.fixed ? FIXED_CTR.USER_DISABLE : PERFEVTSEL.USER_DISABLE);
  }

  /** Whether IA32_PERF_GLOBAL_INUSE shows it. */
  get inUse(): boolean {
    return this.fixed ? this.selection.enabled : isSet(this.control, PERFEVTSEL.EVENT);
  }

  /** Whether it asks for a PMI on overflow, be its event known or not. */
  get asksForPmi(): boolean {
    return isSet(this.control, this.fixed ? FIXED_CTR.PMI : PERFEVTSEL.INT);
  }
}

/** The counters of a shape: general-purpose ones, fixed ones, by index. */
export function slots(shape: PmuShape, totals: Totals) {
  const gp = new Map<number, Slot>();
  const fixed = new Map<number, Slot>();
  for (const index of indices(shape.gp)) {
    if (hasGp(shape, index)) {
      gp.set(index, new Slot({ index, fixed: false, width: shape.gpWidth, totals }));
    }
  }
  for (const index of indices(fixedCounters(shape))) {
    fixed.set(index, new Slot({ index, fixed: true, width: shape.fixedWidth, totals }));
  }
  return { gp, fixed };
}
