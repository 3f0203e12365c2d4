import seedrandom from 'seedrandom';

/** 64 random bits at a time, the same for a seed for ever. */
export function randomSource(seed: string): () => bigint {
  const random = seedrandom(seed);
  return () => (BigInt(random.int32() >>> 0) << 32n) | BigInt(random.int32() >>> 0);
}
