import seedrandom from 'seedrandom';

export interface Sample {
  readonly bytes: Uint8Array;
  readonly codeSize: 2 | 4 | 8;
}

const CODE_SIZES = [8, 8, 4, 2] as const;
const PREFIXES = [0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];

/**
 * Random instructions-to-be, 16 bytes each: a few prefixes, an opcode of any map, and noise.
 * A quarter are noise from the first byte on.
 */
export function* byteStrings(seed: string, count: number): Generator<Sample> {
  const random = seedrandom(seed);
  const below = (n: number) => Math.floor(random() * n);
  const pick = <T>(items: readonly T[]) => items[below(items.length)] as T;

  for (let i = 0; i < count; i++) {
    const codeSize = pick(CODE_SIZES);
    const bytes = Uint8Array.from({ length: 16 }, () => below(256));
    if (below(4) > 0) {
      const start: number[] = [];
      while (below(3) === 0) start.push(pick(PREFIXES));
      if (codeSize === 8 && below(3) === 0) start.push(0x40 + below(16));
      // biome-ignore format: a table
      start.push(...pick([[], [], [0x0f], [0x0f], [0x0f], [0x0f, 0x38], [0x0f, 0x3a], [0xc4, pick([0xe2, 0xe3]), below(16) << 3 | below(4)]]));
      bytes.set(start.slice(0, 12));
    }
    yield { bytes, codeSize };
  }
}
