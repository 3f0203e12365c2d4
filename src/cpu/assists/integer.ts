import { type Assist, slot } from '../assist.ts';

/** CRC-32C, reflected. Vol. 2, "CRC32—Accumulate CRC32 Value". */
const CASTAGNOLI = 0x82f63b78;

const crc32: Assist = (state) => {
  let crc = state.get32(slot(0));
  const bytes = state.get32(slot(2));
  for (let i = 0; i < bytes; i++) {
    crc ^= state.view.getUint8(state.base + slot(1) + i);
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (CASTAGNOLI & -(crc & 1));
  }
  state.set(slot(0), BigInt(crc >>> 0));
};

/** Bits of the source to the places the mask has, lowest first. */
const deposit: Assist = (state) => {
  let source = state.get(slot(0));
  const mask = state.get(slot(1));
  let result = 0n;
  for (let rest = mask; rest !== 0n; rest &= rest - 1n) {
    if ((source & 1n) === 1n) result |= rest & -rest;
    source >>= 1n;
  }
  state.set(slot(0), result);
};

/** Bits of the source at the places the mask has, packed together. */
const extract: Assist = (state) => {
  const source = state.get(slot(0));
  const mask = state.get(slot(1));
  let result = 0n;
  let place = 1n;
  for (let rest = mask; rest !== 0n; rest &= rest - 1n) {
    if ((source & rest & -rest) !== 0n) result |= place;
    place <<= 1n;
  }
  state.set(slot(0), result);
};

/** Integer functions too long for the emitter: (crc, source, bytes), (source, mask), (source, mask). */
export const INTEGER_ASSISTS = { CRC32: crc32, PDEP: deposit, PEXT: extract } as const;
