import type { Assist } from '../assist.ts';
import { CRYPTO } from './crypto.ts';
import { INTEGER_ASSISTS } from './integer.ts';
import { PACKED_INTEGER } from './packed-integer.ts';
import { PACKED_SHUFFLE } from './packed-shuffle.ts';
import { SIMD_APPROXIMATE } from './simd-approximate.ts';
import { SIMD_ARITHMETIC } from './simd-arithmetic.ts';
import { SIMD_CONVERT } from './simd-convert.ts';
import { simdAssist } from './simd-float.ts';
import { STRING_COMPARE } from './string-compare.ts';
import { vectorAssist } from './vector.ts';

const each = <F>(table: Readonly<Record<string, F>>, assist: (of: F) => Assist) =>
  Object.fromEntries(Object.entries(table).map(([name, of]) => [name, assist(of)]));

/** Every assist, by the name that semantics use. */
export const ASSISTS: Readonly<Record<string, Assist>> = {
  ...INTEGER_ASSISTS,
  ...STRING_COMPARE,
  ...each({ ...PACKED_INTEGER, ...PACKED_SHUFFLE, ...CRYPTO }, vectorAssist),
  ...each({ ...SIMD_ARITHMETIC, ...SIMD_APPROXIMATE, ...SIMD_CONVERT }, simdAssist),
};
