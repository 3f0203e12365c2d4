import type { Assist } from '../assist.ts';
import { CRYPTO } from './crypto.ts';
import { INTEGER_ASSISTS } from './integer.ts';
import { PACKED_INTEGER } from './packed-integer.ts';
import { PACKED_SHUFFLE } from './packed-shuffle.ts';
import { vectorAssist } from './vector.ts';

const VECTOR_ASSISTS = Object.fromEntries(
  Object.entries({ ...PACKED_INTEGER, ...PACKED_SHUFFLE, ...CRYPTO }).map(([name, compute]) => [
    name,
    vectorAssist(compute),
  ]),
);

/** Every assist, by the name that semantics use. */
export const ASSISTS: Readonly<Record<string, Assist>> = { ...INTEGER_ASSISTS, ...VECTOR_ASSISTS };
