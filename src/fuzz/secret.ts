import type { Processor } from '../machine/processor.ts';
import { placeOf, type RegisterClass } from './registers.ts';

/** Registers in which a host's past shows, and the bits of them that say something. */
// biome-ignore format: a table
const TELLING: Readonly<Partial<Record<RegisterClass, bigint>>> = {
  A_PMC:        0x0000_ffff_ffff_ffffn,
  FIXED_CTR:    0x0000_ffff_ffff_ffffn,
  // Event, umask, USR, OS, edge, INV, CMASK: what was profiled, no longer enabled.
  PERFEVTSEL:   0x0000_0000_ff87_ffffn,
  PERF_METRICS: 0xffff_ffff_ffff_ffffn,
  LBR:          0x0000_7fff_ffff_ffffn,
  PEBS:         0x0000_0000_0000_0007n,
};

/** Registers of these classes that arm something, or that hold no data of their own. */
const LEFT_ALONE: ReadonlySet<number> = new Set([
  0x1c8, 0x1c9, 0x1d9, 0x14ce, 0x14cf, 0x3f1, 0x600,
]);

const STATUS_SET = 0x391;

/** The secret that differs from this one in every bit of every register. */
export const opposite = (secret: number): number => ~secret;

/** A number of 64 bits that a secret and an address determine: SplitMix64. */
export function secretValue(secret: number, address: number): bigint {
  if (secret < 0) return secretValue(~secret, address) ^ 0xffff_ffff_ffff_ffffn;
  const mask = 0xffff_ffff_ffff_ffffn;
  let z =
    (BigInt(secret) * 0x9e37_79b9_7f4a_7c15n + BigInt(address) * 0xd1b5_4a32_d192_ed03n) & mask;
  z = ((z ^ (z >> 30n)) * 0xbf58_476d_1ce4_e5b9n) & mask;
  z = ((z ^ (z >> 27n)) * 0x94d0_49bb_1331_11ebn) & mask;
  return z ^ (z >> 31n);
}

/** Registers of one processor that a secret goes to, with the mask of its bits. */
export function tellingRegisters(processor: Processor): readonly (readonly [number, bigint])[] {
  return [...processor.msrs.registers()].flatMap(({ address }) => {
    const mask = TELLING[placeOf(address).class];
    if (mask === undefined || LEFT_ALONE.has(address) || placeOf(address).version6) return [];
    return [[address, mask] as const];
  });
}

/** Leaves a processor's PMU as a host leaves it that has used it for things that concern nobody else. */
export function leaveSecrets(
  processor: Processor,
  registers: readonly (readonly [number, bigint])[],
  secret: number,
): void {
  const { msrs } = processor;
  for (const [address, mask] of registers) msrs.wrmsr(address, secretValue(secret, address) & mask);
  // Overflow bits of whatever counters there are; what does not exist is #GP and stays clear.
  for (const bit of [0n, 3n, 7n, 32n, 35n]) {
    if ((secretValue(secret, STATUS_SET) >> bit) & 1n) msrs.wrmsr(STATUS_SET, 1n << bit);
  }
}
