import { isSet } from '../bits/bitfield.ts';
import { DEBUGCTL, PERF_GLOBAL } from '../msr/pmu.ts';
import type { PmuShape } from '../msr/pmu-shape.ts';

/** What the global registers need to resume; plain data. */
export interface SavedGlobals {
  readonly control: bigint;
  readonly status: bigint;
  readonly debugctl: bigint;
}

/** IA32_PERF_GLOBAL_CTRL and _STATUS, with the bits of IA32_DEBUGCTL that stop what they started. */
export class GlobalRegisters {
  control = 0n;
  status = 0n;
  debugctl = 0n;
  readonly #shape: PmuShape;

  constructor(shape: PmuShape) {
    this.#shape = shape;
  }

  /** Whether counter `mask` may count: version 1 has no global enables. */
  lets(mask: bigint): boolean {
    const gated = this.#shape.version >= 2 && !isSet(this.control, mask);
    return !gated && !isSet(this.status, PERF_GLOBAL.CTR_FRZ);
  }

  /** Whether MSR_PERF_METRICS may count. */
  get meters(): boolean {
    return isSet(this.control, PERF_GLOBAL.PERF_METRICS);
  }

  /** Whether legacy LBRs are asked for, and whether any may record. */
  get recordsBranches(): boolean {
    return isSet(this.debugctl, DEBUGCTL.LBR);
  }

  get lbrsFrozen(): boolean {
    return isSet(this.status, PERF_GLOBAL.LBR_FRZ);
  }

  /**
   * Before the interrupt of a PMI. Legacy freezing clears the enables; streamlined freezing, from version 4, sets
   * status bits that overrule them. Vol. 3, "Freezing LBR and Performance Counters on PMI".
   * @returns whether anything was frozen
   */
  freeze(): boolean {
    const { CTR_FRZ, LBR_FRZ } = PERF_GLOBAL;
    const counters = isSet(this.debugctl, DEBUGCTL.FREEZE_PERFMON_ON_PMI);
    const lbrs = isSet(this.debugctl, DEBUGCTL.FREEZE_LBRS_ON_PMI);
    if (this.#shape.version >= 4) {
      this.status |= (counters ? CTR_FRZ : 0n) | (lbrs ? LBR_FRZ : 0n);
    } else {
      if (counters) this.control = 0n;
      if (lbrs) this.debugctl &= ~DEBUGCTL.LBR;
    }
    return counters || lbrs;
  }

  save(): SavedGlobals {
    return { control: this.control, status: this.status, debugctl: this.debugctl };
  }

  restore({ control, status, debugctl }: SavedGlobals): void {
    this.control = control;
    this.status = status;
    this.debugctl = debugctl;
  }
}
