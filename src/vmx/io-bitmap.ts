import type { PhysicalWords } from '../memory/physical-memory.ts';

/**
 * Whether an access to `size` ports from `port` on exits by bitmap A (ports 0–7FFFH) and B (the others).
 * One that wraps around the 16-bit port space always does. Vol. 3, "I/O-Bitmap Addresses".
 */
export function ioExits(
  memory: PhysicalWords,
  bitmapA: number,
  bitmapB: number,
  port: number,
  size: number,
): boolean {
  if (port + size > 0x1_0000) return true;
  for (let p = port; p < port + size; p++) {
    const byte = memory.read((p < 0x8000 ? bitmapA : bitmapB) + ((p & 0x7fff) >>> 3), 1);
    if (((Number(byte) >> (p & 7)) & 1) === 1) return true;
  }
  return false;
}
