import { SIZE_MASK } from '../bits/u64.ts';
import { RFLAGS, STATUS_FLAGS } from './control-registers.ts';
import type { FlagKind, IntegerSize } from './emit.ts';
import { STATE } from './state/layout.ts';
import type { State } from './state/state.ts';

/**
 * Status flags are kept lazily: FLAG_KIND says what set them, FLAG_X and FLAG_Y are its values.
 * A kind is its number here · 4 + log2 of the size, and `FLAG_CARRY` for a carry that came in or was kept.
 */
// biome-ignore format: a table
export const FLAG_KINDS: Readonly<Record<FlagKind, number>> = { ADD: 0, SUB: 1, LOGIC: 2, INC: 3, DEC: 4, RESULT: 5, RAW: 6 };

/** In FLAG_KIND: the carry or borrow that came in (ADD, SUB), the CF that INC and DEC keep. */
export const FLAG_CARRY = 0x100;

const LOG2: Readonly<Record<IntegerSize, number>> = { 1: 0, 2: 1, 4: 2, 8: 3 };

/** FLAG_KIND without a carry. */
export const flagKind = (kind: FlagKind, size: IntegerSize): number =>
  FLAG_KINDS[kind] * 4 + LOG2[size];

const { CF, PF, AF, ZF, SF, OF } = RFLAGS;
const KINDS = Object.keys(FLAG_KINDS) as FlagKind[];

/** Even parity of the low byte, as the bit PF. */
function parity(x: bigint): bigint {
  let byte = Number(x & 0xffn);
  byte ^= byte >> 4;
  return ((0x6996 >> (byte & 15)) & 1) === 0 ? PF : 0n;
}

/** The six status flags of a lazy state. Vol. 1, "Status Flags". */
export function statusFlags(kind: number, x: bigint, y: bigint): bigint {
  const name = KINDS[(kind >> 2) & 7]!;
  if (name === 'RAW') return x & STATUS_FLAGS;
  const size = 1 << (kind & 3);
  const mask = SIZE_MASK[size]!;
  const sign = (mask >> 1n) + 1n;
  const carry = (kind & FLAG_CARRY) !== 0 ? 1n : 0n;
  const add = name === 'ADD';
  const full = add ? x + y + carry : name === 'SUB' ? x - y - carry : x;
  const result = full & mask;
  const common = parity(result) | (result === 0n ? ZF : 0n) | ((result & sign) === 0n ? 0n : SF);
  switch (name) {
    case 'ADD':
    case 'SUB': {
      const overflow = (x ^ result) & (add ? y ^ result : x ^ y) & sign;
      return (
        common | (full === result ? 0n : CF) | ((x ^ y ^ result) & AF) | (overflow === 0n ? 0n : OF)
      );
    }
    case 'LOGIC':
      return common;
    case 'INC':
      return common | carry | ((x & 15n) === 0n ? AF : 0n) | (x === sign ? OF : 0n);
    case 'DEC':
      return common | carry | ((x & 15n) === 15n ? AF : 0n) | (x === sign - 1n ? OF : 0n);
    case 'RESULT':
      return common | (y & (CF | AF | OF));
  }
}

/** The flag that each pair of condition codes asks for. Vol. 1, "Condition Codes". */
const CONDITIONS: readonly ((flags: bigint) => boolean)[] = [
  (flags) => (flags & OF) !== 0n,
  (flags) => (flags & CF) !== 0n,
  (flags) => (flags & ZF) !== 0n,
  (flags) => (flags & (CF | ZF)) !== 0n,
  (flags) => (flags & SF) !== 0n,
  (flags) => (flags & PF) !== 0n,
  (flags) => ((flags & SF) === 0n) !== ((flags & OF) === 0n),
  (flags) => (flags & ZF) !== 0n || ((flags & SF) === 0n) !== ((flags & OF) === 0n),
];

/** Whether a condition code (0–15) holds on status flags. */
export const holds = (code: number, flags: bigint): boolean =>
  CONDITIONS[code >> 1]!(flags) !== ((code & 1) === 1);

/** The six status flags, in their RFLAGS positions. */
export const readStatusFlags = (state: State): bigint =>
  statusFlags(state.get32(STATE.FLAG_KIND), state.get(STATE.FLAG_X), state.get(STATE.FLAG_Y));

/** Sets the six status flags from their RFLAGS positions; other bits are ignored. */
export function writeStatusFlags(state: State, flags: bigint): void {
  state.set32(STATE.FLAG_KIND, flagKind('RAW', 4));
  state.set(STATE.FLAG_X, flags & STATUS_FLAGS);
  state.set(STATE.FLAG_Y, 0n);
}
