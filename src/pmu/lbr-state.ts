import { maskOf } from '../bits/bitfield.ts';
import { LBR_CTL, LBR_INFO } from '../msr/lbr.ts';
import type { Lbr } from './lbr.ts';

/** Quadwords of the component: five registers, then FROM, TO and INFO of every entry. */
const REGISTERS = 5;
const ENTRY = 3;
const ENTRIES = 32;

const CTL = maskOf(...Object.values(LBR_CTL));
const INFO = maskOf(...Object.values(LBR_INFO));

/**
 * Architectural LBRs as XSAVES and XRSTORS see them: IA32_LBR_CTL, IA32_LBR_DEPTH, three quadwords for last event
 * records, which are not modelled, and the entries, the newest first. Vol. 3, "Architectural Last Branch Records".
 */
export class LbrState {
  readonly #lbr: Lbr;
  readonly #change: (effect: () => void) => void;

  /** @param change runs an effect that may start or stop the recording. */
  constructor(lbr: Lbr, change: (effect: () => void) => void) {
    this.#lbr = lbr;
    this.#change = change;
  }

  /** The quadwords; undefined in the initial configuration: nothing is recorded and nothing records, at any depth. */
  save(): bigint[] | undefined {
    const { control, depth } = this.#lbr.save();
    const entries = this.#lbr.newest(depth).flatMap(({ from, to, info }) => [from, to, info]);
    if (control === 0n && entries.every((value) => value === 0n)) return undefined;
    const absent = Array<bigint>(ENTRY * ENTRIES - entries.length).fill(0n);
    return [control, BigInt(depth), 0n, 0n, 0n, ...entries, ...absent];
  }

  /** Loads what `save` gave, depth and all; or the initial configuration, which leaves the depth. */
  restore(quadwords: readonly bigint[] | undefined): '#GP' | undefined {
    const now = this.#lbr.save();
    const [control, depth] = quadwords ?? [0n, BigInt(now.depth)];
    if ((control! & ~CTL) !== 0n || !this.#lbr.supports(depth!)) return '#GP';
    const entries = Array.from({ length: Number(depth) }, (_, i) => {
      const at = REGISTERS + ENTRY * i;
      const [from = 0n, to = 0n, info = 0n] = quadwords?.slice(at, at + ENTRY) ?? [];
      return { from, to, info };
    });
    if (entries.some(({ info }) => (info & ~INFO) !== 0n)) return '#GP';
    this.#change(() =>
      this.#lbr.restore({
        ...now,
        control: control!,
        depth: entries.length,
        // The newest is where `top` points, older ones before it.
        entries: entries.reverse(),
        top: entries.length - 1,
        lastCycles: undefined,
      }),
    );
    return undefined;
  }
}
