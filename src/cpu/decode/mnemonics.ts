import type { MnemonicOf, OpcodeMap } from './grammar.ts';
import { ONE_BYTE } from './maps/one-byte.ts';
import { THREE_BYTE_3A, THREE_BYTE_38 } from './maps/three-byte.ts';
import { TWO_BYTE } from './maps/two-byte.ts';
import { VEX_3A, VEX_38 } from './maps/vex.ts';

/** Every mnemonic that decoding can give; a table keyed by it is complete or does not compile. */
export type Mnemonic = MnemonicOf<
  | typeof ONE_BYTE
  | typeof TWO_BYTE
  | typeof THREE_BYTE_38
  | typeof THREE_BYTE_3A
  | typeof VEX_38
  | typeof VEX_3A
>;

const MAPS: readonly OpcodeMap[] = [
  ONE_BYTE,
  TWO_BYTE,
  THREE_BYTE_38,
  THREE_BYTE_3A,
  VEX_38,
  VEX_3A,
];

const rowsOf = (entry: unknown): string[] =>
  typeof entry === 'string' ? [entry] : Object.values(entry as object).flatMap(rowsOf);

/** The same as a list, in alphabetical order. */
export const MNEMONICS = [...new Set(MAPS.flatMap(rowsOf).map((row) => row.split(' ')[0]))]
  .filter((mnemonic) => mnemonic !== '')
  .sort() as readonly Mnemonic[];
