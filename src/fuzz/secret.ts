import { bit, ones } from '../bits/bitfield.ts';
import type { Processor } from '../machine/processor.ts';
import { placeOf, type RegisterClass } from './registers.ts';

/** Registers in which a host's past shows, and the bits of them that say something and start nothing. */
// biome-ignore format: a table
const TELLING: Readonly<Partial<Record<RegisterClass, bigint>>> = {
  A_PMC:        ones(64),
  PMC:          ones(64),
  FIXED_CTR:    ones(64),
  // Event, umask, USR, OS, edge, INV, CMASK: what was profiled, no longer enabled.
  PERFEVTSEL:   0x0000_0000_ff87_ffffn,
  PERF_METRICS: ones(64),
  // Canonical addresses; of the INFO registers what they have of it.
  LBR:          ones(47),
  OFFCORE_RSP:  ones(64),
  LD_LAT:       ones(64),
  FRONTEND:     ones(64),
  // Less CFG_C.EN and IA32_PEBS_INDEX.EN; a DS area is at a canonical address.
  PEBS:         ones(47) & ~bit(32),
  RELOAD:       ones(64),
};

/** Registers of these classes that arm something, or that writing changes others by. */
const LEFT_ALONE: ReadonlySet<number> = new Set([0x1d9, 0x14ce, 0x14cf, 0x3f1]);

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

/** Registers of one processor that a secret goes to, counters by one of their names, with the mask of their bits. */
export function tellingRegisters(processor: Processor): readonly (readonly [number, bigint])[] {
  const registers = [...processor.msrs.registers()];
  const fullWidth = registers.some(({ address }) => placeOf(address).class === 'A_PMC');
  return registers.flatMap(({ address, row: { writable } }) => {
    const { class: kind } = placeOf(address);
    const mask = TELLING[kind];
    if (mask === undefined || writable === 'none' || LEFT_ALONE.has(address)) return [];
    return kind === 'PMC' && fullWidth ? [] : [[address, mask & writable] as const];
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
