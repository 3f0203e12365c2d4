import { ones } from '../bits/bitfield.ts';
import type { Draw } from './draw.ts';
import type { Shape } from './oracles/shapes.ts';
import { ADDRESSES, placeOf, type RegisterClass } from './registers.ts';

/** Events that every one of our machines counts exactly. */
export const EXACT_EVENTS = [0x00c0n, 0x00c4n] as const;
export const EVENTS = [
  ...EXACT_EVENTS,
  0x00c0n,
  0x003cn,
  0x013cn,
  0x412en,
  0x00c5n,
  0x01c2n,
] as const;
export const SELECT = { USR: 1n << 16n, OS: 1n << 17n, INT: 1n << 20n, EN: 1n << 22n } as const;

/** Registers that mean something to the PMU, more often than the ends of their banks. */
// biome-ignore format: a table
export const FAVOURITES = [
  0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc8, 0x4c1, 0x4c2, 0x4c5, 0x4c8, 0x186, 0x187, 0x188, 0x18a, 0x18d,
  0x309, 0x30a, 0x30b, 0x30c, 0x38d, 0x38e, 0x38f, 0x390, 0x345,
] as const;

/** Registers that a guest may reach with no harm to the machine it is in: they hold something and start nothing. */
const HARMLESS: ReadonlySet<RegisterClass> = new Set([
  ...([
    'PMC',
    'A_PMC',
    'FIXED_CTR',
    'PERF_METRICS',
    'GLOBAL_STATUS',
    'INUSE',
    'PERF_CAPABILITIES',
  ] as const),
  ...(['OFFCORE_RSP', 'LD_LAT', 'FRONTEND', 'RELOAD'] as const),
]);
export const OPENED = ADDRESSES.filter((address) => HARMLESS.has(placeOf(address).class));

/** What VM entry does not load. */
export const UNLOADABLE = [
  0x800, 0x834, 0x8ff, 0xc000_0100, 0xc000_0101, 0x1_0000_00c1, 0x9b, 0x38e, 0x2000,
] as const;

/** Where an access goes. */
export const address = (draw: Draw): number =>
  draw.weighted<() => number>([
    [14, () => draw.of(FAVOURITES)],
    [5, () => draw.of(ADDRESSES)],
    [1, () => draw.below(0x2000)],
    [0.5, () => 0xc000_0000 + draw.below(0x2000)],
    [0.5, () => Number(draw.bits64() & 0xffff_ffffn)],
  ])();

/** Most often a few events from overflow. */
export function counterValue(draw: Draw, width: number): bigint {
  const most = ones(width);
  return draw.weighted<() => bigint>([
    [4, () => most - BigInt(draw.below(60))],
    [2, () => BigInt(draw.below(1000))],
    [1, () => draw.bits64() & most],
    [1, () => 0n],
  ])();
}

/** Values that a register takes, values that differ from those in one bit, and noise. */
export function value(draw: Draw, register: number, { width }: Shape): bigint {
  const sensible = (): bigint => {
    switch (placeOf(register).class) {
      case 'PERFEVTSEL':
        return draw.of(EVENTS) | SELECT.EN | (BigInt(draw.below(0x40)) << 16n);
      case 'PMC':
      case 'A_PMC':
      case 'FIXED_CTR':
        return counterValue(draw, width);
      case 'FIXED_CTR_CTRL':
        return BigInt(draw.below(0x1_0000));
      case 'GLOBAL_CTRL':
      case 'OVF_CTRL':
      case 'STATUS_SET':
        return BigInt(draw.below(0x100)) | (BigInt(draw.below(0x10)) << 32n);
      default:
        return BigInt(draw.below(0x100));
    }
  };
  return draw.weighted<() => bigint>([
    [6, sensible],
    [2, () => sensible() ^ (1n << BigInt(draw.below(64)))],
    [1, () => draw.bits64()],
    [1, () => 0xffff_ffff_ffff_ffffn],
    [1, () => 0n],
  ])();
}
