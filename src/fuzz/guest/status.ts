import type { FuzzCase } from '../case.ts';

/** Overflow bits that stand in GLOBAL_STATUS at the first instruction of a guest with these counters. */
export const statusOf = (
  { status = '0x0' }: Pick<FuzzCase, 'status'>,
  { version, gp, fixed }: { readonly version: number; readonly gp: bigint; readonly fixed: bigint },
): bigint => (version >= 2 ? BigInt(status) & (gp | (fixed << 32n)) : 0n);
