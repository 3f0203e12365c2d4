import { isCanonical } from '../../../bits/u64.ts';
import { CR4 } from '../../control-registers.ts';
import type { GeneratedObserver } from '../../observer.ts';
import { INTERPRETER, SEGMENT, STATE } from '../../state/layout.ts';
import { SEGMENT_INDEX, type State } from '../../state/state.ts';
import { codeSize, isRealLike, isVirtual8086, stackSize } from '../../system/mode.ts';
import { CODE_RIGHTS, isCode, RIGHTS } from '../../system/rights.ts';
import { SEGMENT_LIMITS } from './segment-limits.ts';

/** What handlers are specialised on besides an instruction's form. */
export interface HandlerMode {
  readonly codeSize: 2 | 4 | 8;
  readonly stackSize: 2 | 4 | 8;
  readonly virtual8086: boolean;
  /**
   * Outside 64-bit mode: bit n says that segment n has base 0, limit 4 GiB and may be read and written;
   * of CS, that base is 0.
   */
  readonly flat: number;
  /** Bits of a canonical linear address: 48 or 57. */
  readonly linearWidth: 48 | 57;
  /** Whether handlers keep the dynamic totals (armed-totals.ts). */
  readonly armed: boolean;
  /** The observer that handlers report to. */
  readonly observed: GeneratedObserver | undefined;
}

/** What decoded code is specialised on: its handlers' mode, who fetches it, and where its segment lies. */
export interface CodeContext {
  /** Below 4095; stands for all of it in the code TLB. */
  readonly number: number;
  readonly mode: HandlerMode;
  /** Base of CS; 0 in 64-bit mode. */
  readonly base: bigint;
  /** Real-address or virtual-8086 mode, where VEX-encoded instructions are undefined. */
  readonly realLike: boolean;
  /** Whether an instruction pointer may go there. */
  isTarget(ip: bigint): boolean;
}

const LA57 = Number(CR4.LA57);
const NAMES = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS'] as const;
const CS = SEGMENT_INDEX.CS;
const MAX_CONTEXTS = 4095;

/** Finds the context of the code that a state is about to run; the same object for the same context. */
export class Contexts {
  readonly #state: State;
  readonly #modes = new Map<number, HandlerMode>();
  readonly #contexts = new Map<string, CodeContext>();
  /** Contexts in 64-bit mode by what is armed, linear width and whether CPL is 3: the only ones looked up often. */
  readonly #long: (CodeContext | undefined)[] = [];
  /** The last one in any other mode, as long as segments and mode stay what they were: loops on ports ask often. */
  #last: CodeContext | undefined;
  #lastMode = 0;
  readonly #segments: Int32Array;
  readonly #lastSegments: Int32Array;
  /** Called when numbers are about to be given out anew. */
  readonly #exhausted: () => void;

  /** Whether dynamic totals are armed, and who observes. */
  armed = false;
  observed: GeneratedObserver | undefined;

  constructor(state: State, exhausted: () => void) {
    this.#state = state;
    this.#exhausted = exhausted;
    const { view, base } = state;
    const words = (NAMES.length * SEGMENT.SIZE) / 4;
    this.#segments = new Int32Array(view.buffer, base + STATE.SEGMENT, words);
    this.#lastSegments = new Int32Array(words);
  }

  current(): CodeContext {
    const state = this.#state;
    const user = state.cpl === 3;
    const size = codeSize(state);
    const wide = (state.get32(STATE.CR4) & LA57) !== 0;
    if (size === 8) {
      const slot = (this.observed ? 8 : 0) + (this.armed ? 4 : 0) + (wide ? 2 : 0) + (user ? 1 : 0);
      this.#long[slot] ??= this.#long64(wide ? 57 : 48, user);
      return this.#long[slot];
    }
    const stack = stackSize(state);
    const virtual8086 = isVirtual8086(state);
    const realLike = isRealLike(state);
    const now =
      size |
      (stack << 4) |
      (virtual8086 ? 0x100 : 0) |
      (realLike ? 0x200 : 0) |
      (user ? 0x400 : 0) |
      (this.armed ? 0x800 : 0) |
      (this.observed ? 0x1000 : 0);
    if (this.#last && now === this.#lastMode && this.#sameSegments()) return this.#last;
    const flat = this.#limits();
    const { base, limit } = state.segment('CS');
    const mode = this.#mode(size, stack, virtual8086, flat, 48);
    const context = this.#context(`${this.#key(mode)} ${user} ${realLike} ${base} ${limit}`, {
      mode,
      base,
      realLike,
      isTarget: (ip) => ip <= BigInt(limit),
    });
    this.#last = context;
    this.#lastMode = now;
    this.#lastSegments.set(this.#segments);
    return context;
  }

  #sameSegments(): boolean {
    for (let i = 0; i < this.#lastSegments.length; i++) {
      if (this.#segments[i] !== this.#lastSegments[i]) return false;
    }
    return true;
  }

  #long64(width: 48 | 57, user: boolean): CodeContext {
    const mode = this.#mode(8, 8, false, 0, width);
    return this.#context(`${this.#key(mode)} ${user}`, {
      mode,
      base: 0n,
      realLike: false,
      isTarget: (ip) => isCanonical(ip, width),
    });
  }

  #context(key: string, parts: Omit<CodeContext, 'number'>): CodeContext {
    let context = this.#contexts.get(key);
    if (!context) {
      if (this.#contexts.size === MAX_CONTEXTS) {
        this.#contexts.clear();
        this.#long.length = 0;
        this.#last = undefined;
        this.#exhausted();
      }
      context = { ...parts, number: this.#contexts.size };
      this.#contexts.set(key, context);
    }
    return context;
  }

  #mode(
    size: 2 | 4 | 8,
    stack: 2 | 4 | 8,
    virtual8086: boolean,
    flat: number,
    linearWidth: 48 | 57,
  ): HandlerMode {
    const mode: HandlerMode = {
      codeSize: size,
      stackSize: stack,
      virtual8086,
      flat,
      linearWidth,
      armed: this.armed,
      observed: this.observed,
    };
    const key = this.#key(mode);
    const known = this.#modes.get(key);
    if (!known) this.#modes.set(key, mode);
    return known ?? mode;
  }

  #key(mode: HandlerMode): number {
    const { codeSize: size, stackSize: stack, virtual8086, flat, linearWidth } = mode;
    const bits = size | (stack << 4) | (virtual8086 ? 0x100 : 0) | (linearWidth << 9);
    return bits | (flat << 16) | (mode.armed ? 1 << 22 : 0) | (mode.observed ? 1 << 23 : 0);
  }

  /** Works out what the segments allow; returns which are flat. */
  #limits(): number {
    const { view, base } = this.#state;
    const real = isRealLike(this.#state);
    let flat = 0;
    for (const [i, name] of NAMES.entries()) {
      const segment = this.#state.segment(name);
      const { rights, limit } = segment;
      const code = isCode(rights);
      const usable = real || (rights & RIGHTS.UNUSABLE) === 0;
      const readable = usable && (real || !code || (rights & CODE_RIGHTS.READABLE) !== 0);
      const writable = usable && (real || (!code && (rights & RIGHTS.WRITABLE) !== 0));
      const down = (rights & (RIGHTS.CODE | RIGHTS.EXPAND_DOWN)) === RIGHTS.EXPAND_DOWN;
      const top = (rights & RIGHTS.DB) !== 0 ? 0xffff_ffff : 0xffff;
      const empty = down && limit >= top;
      const low = empty ? 1 : down ? limit + 1 : 0;
      // Nothing is beyond a limit of 4 GiB: accesses wrap around.
      const high = empty ? 0 : down ? top : limit === 0xffff_ffff ? 2 ** 33 : limit;
      const at = base + INTERPRETER.SEGMENTS + i * SEGMENT_LIMITS.SIZE;
      view.setUint32(at + SEGMENT_LIMITS.BASE, Number(segment.base & 0xffff_ffffn), true);
      view.setUint32(at + SEGMENT_LIMITS.READ_LOW, readable ? low : 1, true);
      view.setBigUint64(at + SEGMENT_LIMITS.READ_HIGH, readable ? BigInt(high) : 0n, true);
      view.setUint32(at + SEGMENT_LIMITS.WRITE_LOW, writable ? low : 1, true);
      view.setBigUint64(at + SEGMENT_LIMITS.WRITE_HIGH, writable ? BigInt(high) : 0n, true);
      const whole = readable && writable && low === 0 && high === 2 ** 33;
      if (segment.base === 0n && (whole || i === CS)) flat |= 1 << i;
    }
    return flat;
  }
}

/** Offset of CS.BASE in the state block. */
export const CS_BASE = STATE.SEGMENT + CS * SEGMENT.SIZE + SEGMENT.BASE;
