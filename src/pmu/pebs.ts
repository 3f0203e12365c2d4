import { extract, isSet } from '../bits/bitfield.ts';
import { isCanonical } from '../bits/u64.ts';
import type { MsrBus } from '../msr/bus.ts';
import { PEBS_DATA_CFG, pebsMsrs, sampledCounters } from '../msr/pebs.ts';
import { PERF_GLOBAL } from '../msr/pmu.ts';
import type { PebsShape, PmuShape } from '../msr/pmu-shape.ts';
import type { Lbr } from './lbr.ts';
import type { SampledState, Sampling } from './ports.ts';
import { isDue, quadwords, type Sampler } from './sampler.ts';
import type { Slot } from './slot.ts';

/** Offsets in the DS buffer management area. Vol. 3, "DS Save Area and IA-32e Mode Operation". */
// biome-ignore format: a table
const DS = {
  PEBS_INDEX: 0x28n,  PEBS_ABSOLUTE_MAXIMUM: 0x30n,  PEBS_INTERRUPT_THRESHOLD: 0x38n,
  GP_RESET: 0x40n,    FIXED_RESET: 0x80n,
} as const;

/** Register numbers in the order in which the fixed layouts (RAX, RBX, …) and the adaptive GPR group have them. */
const FIXED_ORDER = [0, 3, 1, 2, 6, 7, 5, 4, 8, 9, 10, 11, 12, 13, 14, 15];
const ADAPTIVE_ORDER = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/** What PEBS needs to resume; plain data. */
export interface SavedPebs {
  readonly enable: bigint;
  readonly dataConfig: bigint;
  readonly dsArea: bigint;
}

/** What happened to a record: written, written past the threshold, or dropped because it did not fit. */
export type RecordOutcome = 'written' | 'threshold' | 'dropped';

/** Processor event-based sampling into the DS area. Vol. 3, "Processor Event Based Sampling (PEBS)". */
export class Pebs implements Sampler<SavedPebs> {
  readonly threshold = PERF_GLOBAL.OVF_BUFFER;
  readonly #shape: PmuShape;
  readonly #pebs: PebsShape;
  readonly #sampling: Sampling;
  readonly #lbr: Lbr | undefined;
  readonly #change: (effect: () => void) => void;
  /** Those that can sample. */
  readonly #sampled: bigint;
  #enable = 0n;
  #dataConfig = 0n;
  #dsArea = 0n;

  constructor(parts: {
    shape: PmuShape;
    pebs: PebsShape;
    sampling: Sampling;
    lbr: Lbr | undefined;
    change: (effect: () => void) => void;
  }) {
    this.#shape = parts.shape;
    this.#pebs = parts.pebs;
    this.#sampled = sampledCounters(parts.shape);
    this.#sampling = parts.sampling;
    this.#lbr = parts.lbr;
    this.#change = parts.change;
  }

  attach(bus: MsrBus): void {
    // biome-ignore format: a table
    bus.attach(pebsMsrs(this.#shape), {
      IA32_PEBS_ENABLE:  { read: () => this.#enable, write: (v) => this.#change(() => { this.#enable = v; }) },
      MSR_PEBS_DATA_CFG: { read: () => this.#dataConfig, write: (v) => { this.#dataConfig = v; } },
      IA32_DS_AREA:      { read: () => this.#dsArea, write: (v) => this.#setDsArea(v) },
    });
  }

  /** The counters that sample, by their bits of the global registers. */
  get enabled(): bigint {
    return this.#enable & this.#sampled;
  }

  /** Whether the counter of this bit records the overflowing event itself rather than the next one. */
  precise(mask: bigint): boolean {
    return isSet(this.#pebs.precise, mask);
  }

  /**
   * A sampling counter has moved: writes the record that is due, reloads the counter.
   * @returns whether the DS buffer has reached its threshold
   */
  moved(slot: Slot, wrapped: boolean): boolean {
    if (!isDue(slot, wrapped, this.precise(slot.mask))) return false;
    const outcome = this.record(slot.mask, slot.adaptive);
    const reset = this.resetValue(slot.index, slot.fixed);
    if (reset !== undefined) slot.counter.load(reset);
    return outcome === 'threshold';
  }

  /** The value that a counter gets after its record; undefined where the DS area cannot be read. */
  resetValue(index: number, fixed: boolean): bigint | undefined {
    const base = fixed ? DS.FIXED_RESET : DS.GP_RESET;
    return this.#sampling.read(this.#dsArea + base + BigInt(8 * index));
  }

  /**
   * Writes one record for the counters in `applicable` and advances the index.
   * @param adaptive whether the counter asked for the groups of MSR_PEBS_DATA_CFG.
   */
  record(applicable: bigint, adaptive: boolean): RecordOutcome {
    const sampling = this.#sampling;
    const at = (offset: bigint) => sampling.read(this.#dsArea + offset);
    const index = at(DS.PEBS_INDEX);
    const maximum = at(DS.PEBS_ABSOLUTE_MAXIMUM);
    const threshold = at(DS.PEBS_INTERRUPT_THRESHOLD);
    if (index === undefined || maximum === undefined || threshold === undefined) return 'dropped';

    const bytes = quadwords(this.#layout(sampling.state(), applicable, adaptive));
    const end = index + BigInt(bytes.length);
    if (end > maximum || !sampling.write(index, bytes)) return 'dropped';
    sampling.write(this.#dsArea + DS.PEBS_INDEX, quadwords([end]));
    return end >= threshold ? 'threshold' : 'written';
  }

  reset(): void {
    this.#enable = 0n;
    this.#dataConfig = 0n;
    this.#dsArea = 0n;
  }

  save(): SavedPebs {
    return { enable: this.#enable, dataConfig: this.#dataConfig, dsArea: this.#dsArea };
  }

  restore({ enable, dataConfig, dsArea }: SavedPebs): void {
    this.#enable = enable;
    this.#dataConfig = dataConfig;
    this.#dsArea = dsArea;
  }

  #setDsArea(value: bigint): '#GP' | undefined {
    if (!isCanonical(value)) return '#GP';
    this.#dsArea = value;
    return undefined;
  }

  #layout(state: SampledState, applicable: bigint, adaptive: boolean): bigint[] {
    if (this.#pebs.format < 4) return formatThree(state, applicable);
    const groups = adaptive ? this.#dataConfig : 0n;
    const has = (group: bigint) => isSet(groups, group);
    const { MEMORY, GPRS, XMMS, LBRS, LBR_ENTRIES } = PEBS_DATA_CFG;
    const entries = Number(extract(groups, LBR_ENTRIES)) + 1;
    const body = [
      ...(has(MEMORY) ? [state.dataAddress, 0n, 0n, 0n] : []),
      ...(has(GPRS) ? [state.rflags, state.rip, ...ADAPTIVE_ORDER.map((r) => state.gpr[r]!)] : []),
      ...(has(XMMS) ? state.xmm.flatMap((v) => [v & 0xffff_ffff_ffff_ffffn, v >> 64n]) : []),
      ...(has(LBRS) ? lbrGroup(this.#lbr, entries) : []),
    ];
    const size = BigInt(8 * (4 + body.length));
    const format = groups & (MEMORY | GPRS | XMMS | LBRS);
    return [format | (size << 48n), state.eventingIp, applicable, state.tsc, ...body];
  }
}

/** The 200-byte record. Data source, latency and transaction fields read 0: they are not modelled. */
const formatThree = (state: SampledState, applicable: bigint): bigint[] => [
  state.rflags,
  state.rip,
  ...FIXED_ORDER.map((register) => state.gpr[register]!),
  applicable,
  state.dataAddress,
  0n,
  0n,
  state.eventingIp,
  0n,
  state.tsc,
];

/** FROM, TO and INFO of the newest entries; entries beyond the stack's depth are 0. */
function lbrGroup(lbr: Lbr | undefined, entries: number): bigint[] {
  const newest = lbr?.newest(entries) ?? [];
  return Array.from({ length: entries }, (_, i) => {
    const { from, to, info } = newest[i] ?? { from: 0n, to: 0n, info: 0n };
    return [from, to, info];
  }).flat();
}
