import type { PhysicalWords } from '../memory/physical-memory.ts';

const RANGE = 0x2000;
const HIGH_BASE = 0xc000_0000;
const QUARTER = 0x400;

/**
 * Whether RDMSR or WRMSR of `msr` exits by the four bitmaps in the page at `bitmaps`.
 * Vol. 3, "MSR-Bitmap Address".
 */
export function msrExits(
  memory: PhysicalWords,
  bitmaps: number,
  msr: number,
  access: 'read' | 'write',
): boolean {
  const high = msr >= HIGH_BASE;
  const index = high ? msr - HIGH_BASE : msr;
  if (index >= RANGE) return true;
  const quarter = (access === 'write' ? 2 : 0) + (high ? 1 : 0);
  const byte = memory.read(bitmaps + quarter * QUARTER + (index >>> 3), 1);
  return ((Number(byte) >> (index & 7)) & 1) === 1;
}
