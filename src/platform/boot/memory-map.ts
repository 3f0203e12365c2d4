import { hex } from '../../bits/hex.ts';
import type { PhysicalMemory } from '../../memory/physical-memory.ts';
import { ImageError } from './image-error.ts';

/** A stretch of the physical address map. Types as in E820: 1 is RAM, 2 reserved. */
export interface MapEntry {
  readonly base: number;
  readonly length: number;
  readonly type: 1 | 2;
}

/** Where the extended BIOS data area begins, and with it the end of base memory. */
export const BASE_MEMORY_END = 0x9_fc00;
/** Where the firmware's tables lie. */
export const FIRMWARE_AREA = 0xf_0000;
export const MIB = 0x10_0000;
/** What the boot protocols leave for the guest: GDT, page tables, boot information, for Linux boot_params and command line. */
const BOOT_AREA = { base: 0x1000, end: 0x2_1000 } as const;

/** Refuses to load anything where it would be overwritten. @throws ImageError */
export function keepClear(start: number, size: number, offset: number): void {
  if (size === 0 || start >= BOOT_AREA.end || start + size <= BOOT_AREA.base) return;
  throw new ImageError(
    'image-bad-header',
    offset,
    `${size} bytes at ${hex(start)} would lie where boot structures go, ${hex(BOOT_AREA.base)} to ${hex(BOOT_AREA.end - 1)}`,
  );
}

/** What the firmware of a PC with so much RAM reports. */
export function memoryMap(ramSize: number): readonly MapEntry[] {
  return [
    { base: 0, length: BASE_MEMORY_END, type: 1 },
    { base: BASE_MEMORY_END, length: 0xa_0000 - BASE_MEMORY_END, type: 2 },
    { base: FIRMWARE_AREA, length: MIB - FIRMWARE_AREA, type: 2 },
    { base: MIB, length: ramSize - MIB, type: 1 },
    { base: 0xfec0_0000, length: 0x1000, type: 2 },
    { base: 0xfed0_0000, length: 0x1000, type: 2 },
    { base: 0xfee0_0000, length: 0x1000, type: 2 },
  ];
}

/** What the BIOS data area tells: where the extended one begins, how much base memory there is, COM1. */
export function writeBiosDataArea(memory: PhysicalMemory): void {
  memory.write(0x400, 2, 0x3f8n);
  memory.write(0x40e, 2, BigInt(BASE_MEMORY_END >> 4));
  memory.write(0x413, 2, BigInt(BASE_MEMORY_END >> 10));
}
