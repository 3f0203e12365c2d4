import { extract, insert, isSet } from '../bits/bitfield.ts';
import type { MsrBus } from '../msr/bus.ts';
import { CFG_C } from '../msr/counter-extensions.ts';
import { architecturalPebsMsrs, PEBS_BASE, PEBS_INDEX } from '../msr/pebs.ts';
import { PERF_GLOBAL } from '../msr/pmu.ts';
import type { PmuShape } from '../msr/pmu-shape.ts';
import { reloadValue } from './counter-extensions.ts';
import type { Lbr } from './lbr.ts';
import type { SampledState, Sampling } from './ports.ts';
import { isDue, quadwords, type Sampler } from './sampler.ts';
import type { Slot } from './slot.ts';

/** Fields of a record's first quadword, whose group bits are those of CFG_C. */
const HEADER = { MODE_64: 1n << 30n, BASIC: CFG_C.EN } as const;

/** SSE state, in the header of the vector registers. */
const XSTATE_SSE = 2n;

export interface SavedArchitecturalPebs {
  readonly base: bigint;
  readonly index: bigint;
}

/**
 * Architectural PEBS: each counter says in its CFG_C whether it samples and what is recorded; records go to a buffer
 * in physical memory, so nobody's page tables have a say.
 */
export class ArchitecturalPebs implements Sampler<SavedArchitecturalPebs> {
  readonly threshold = PERF_GLOBAL.ARCH_PEBS;
  readonly #shape: PmuShape;
  readonly #slots: readonly Slot[];
  readonly #sampling: Sampling;
  readonly #lbr: Lbr | undefined;
  #base = 0n;
  #index = 0n;

  constructor(parts: {
    shape: PmuShape;
    slots: readonly Slot[];
    sampling: Sampling;
    lbr: Lbr | undefined;
  }) {
    this.#shape = parts.shape;
    this.#slots = parts.slots;
    this.#sampling = parts.sampling;
    this.#lbr = parts.lbr;
  }

  attach(bus: MsrBus): void {
    // biome-ignore format: a table
    bus.attach(architecturalPebsMsrs(this.#shape), {
      IA32_PEBS_BASE:  { read: () => this.#base, write: (v) => { this.#base = v; } },
      IA32_PEBS_INDEX: { read: () => this.#index, write: (v) => { this.#index = v; } },
    });
  }

  get enabled(): bigint {
    return this.#slots.reduce(
      (all, { config, mask }) => (isSet(config, CFG_C.EN) ? all | mask : all),
      0n,
    );
  }

  moved(slot: Slot, wrapped: boolean): boolean {
    const precise = isSet(this.#shape.architecturalPebs!.precise, slot.mask);
    if (!isDue(slot, wrapped, precise)) return false;
    const atThreshold = this.#record(slot);
    slot.counter.load(reloadValue(slot));
    return atThreshold;
  }

  /** Nothing is written while the buffer is not enabled, or full; a record that does not fit makes it so. */
  #record(slot: Slot): boolean {
    const { WR, FULL, EN, THRESH } = PEBS_INDEX;
    if (!isSet(this.#index, EN) || isSet(this.#index, FULL)) return false;
    const bytes = quadwords(this.#layout(this.#sampling.state(), slot));
    const from = 16n * extract(this.#index, WR);
    const to = from + BigInt(bytes.length);
    const size = 4096n << extract(this.#base, PEBS_BASE.SIZE);
    const start = (this.#base & PEBS_BASE.ADDRESS) + from;
    if (to > size || !this.#sampling.writePhysical(start, bytes)) {
      this.#index |= FULL;
      return true;
    }
    this.#index = insert(this.#index, WR, to / 16n);
    return to / 16n >= extract(this.#index, THRESH);
  }

  /** Groups in the order of the record: basic, auxiliary, general registers, vector registers, LBRs. */
  #layout(state: SampledState, { config, mask }: Slot): bigint[] {
    const { AUX, GPR, XMM, LBR } = CFG_C;
    const has = (group: bigint) => isSet(config, group);
    const body = [
      ...[state.eventingIp, mask, state.tsc, 0n, 0n, 0n],
      ...(has(AUX) ? [state.dataAddress, 0n, 0n, 0n, 0n, 0n, 0n, 0n] : []),
      ...(has(GPR) ? [state.rflags, state.rip, ...state.gpr, 0n, 0n] : []),
      ...(has(XMM) ? [XSTATE_SSE, 0n, ...state.xmm.flatMap(halves)] : []),
      ...this.#lbrGroup(extract(config, LBR)),
    ];
    const size = BigInt(8 * (2 + body.length));
    const groups = HEADER.BASIC | (config & (AUX | GPR | XMM | LBR));
    return [groups | (state.code64 ? HEADER.MODE_64 : 0n) | size, 0n, ...body];
  }

  /** 1 is eight entries, 2 sixteen, 3 as many as IA32_LBR_DEPTH says, behind a header with CTL and DEPTH. */
  #lbrGroup(wanted: bigint): bigint[] {
    if (wanted === 0n || !this.#lbr) return [];
    const { control, depth } = this.#lbr.save();
    const count = wanted === 3n ? depth : Number(8n * wanted);
    const newest = this.#lbr.newest(count);
    const entries = Array.from({ length: count }, (_, i) => {
      const { from, to, info } = newest[i] ?? { from: 0n, to: 0n, info: 0n };
      return [from, to, info];
    });
    return [0n, control, BigInt(depth), 0n, 0n, 0n, ...entries.flat()];
  }

  reset(): void {
    this.#base = 0n;
    this.#index = 0n;
  }

  save(): SavedArchitecturalPebs {
    return { base: this.#base, index: this.#index };
  }

  restore({ base, index }: SavedArchitecturalPebs): void {
    this.#base = base;
    this.#index = index;
  }
}

const halves = (value: bigint): bigint[] => [value & 0xffff_ffff_ffff_ffffn, value >> 64n];
