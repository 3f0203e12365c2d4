import type { PhysicalMemory } from '../../memory/physical-memory.ts';

/** A segment register as the machine is to hold it; rights in VMCS format. */
export interface SegmentState {
  readonly selector: number;
  readonly base: number;
  readonly limit: number;
  readonly rights: number;
}

/** In the order of their numbers. */
export const ENTRY_REGISTERS = ['RAX', 'RCX', 'RDX', 'RBX', 'RSP', 'RBP', 'RSI', 'RDI'] as const;
export type EntryRegister = (typeof ENTRY_REGISTERS)[number];

/** The state in which a boot protocol hands the CPU over. Registers that are not named are 0; interrupts are off. */
export interface EntryState {
  readonly rip: bigint;
  readonly registers: Readonly<Partial<Record<EntryRegister, bigint>>>;
  readonly cr0: bigint;
  readonly cr3: bigint;
  readonly cr4: bigint;
  readonly efer: bigint;
  readonly gdt: { readonly base: number; readonly limit: number };
  readonly code: SegmentState;
  /** DS, ES, SS, FS and GS. */
  readonly data: SegmentState;
}

/** Where boot structures lie in low memory. */
// biome-ignore format: a table
export const BOOT = {
  GDT:         0x1000,
  PAGE_TABLES: 0x2000, // PML4, PDPT, four page directories
  STACK_TOP:   0x80000,
} as const;

const PRESENT_WRITABLE = 0x3n;
const LARGE = 0x80n;
const GIGABYTES = 4;

/** CR0.PE and ET; CR0.PG; CR4.PAE; EFER.LME, LMA. */
const CR0_PROTECTED = 0x11n;
const CR0_PAGING = 1n << 31n;
const CR4_PAE = 0x20n;
const EFER_LONG = 0x500n;

/** Access rights of flat segments: present, accessed; G; L or D/B. */
export const RIGHTS = { CODE_64: 0xa09b, CODE_32: 0xc09b, DATA: 0xc093 } as const;

/** Descriptors with the same content. */
const DESCRIPTOR = {
  CODE_64: 0x00af_9b00_0000_ffffn,
  CODE_32: 0x00cf_9b00_0000_ffffn,
  DATA: 0x00cf_9300_0000_ffffn,
} as const;

/** Maps the first 4 GiB one to one with 2-MiB pages. The physical address of the PML4. */
export function writeIdentityMap(memory: PhysicalMemory): number {
  const table = (index: number) => BOOT.PAGE_TABLES + index * 0x1000;
  const entry = (at: number, value: bigint) => memory.write(at, 8, value);
  memory.clear(table(0), 0x1000 * (2 + GIGABYTES));
  entry(table(0), BigInt(table(1)) | PRESENT_WRITABLE);
  for (let gigabyte = 0; gigabyte < GIGABYTES; gigabyte++) {
    entry(table(1) + 8 * gigabyte, BigInt(table(2 + gigabyte)) | PRESENT_WRITABLE);
    for (let page = 0; page < 512; page++) {
      const physical = BigInt(gigabyte) * 0x4000_0000n + BigInt(page) * 0x20_0000n;
      entry(table(2 + gigabyte) + 8 * page, physical | LARGE | PRESENT_WRITABLE);
    }
  }
  return table(0);
}

/** Writes a GDT with one code segment and one flat data segment behind it. */
function writeGdt(memory: PhysicalMemory, code: 'CODE_64' | 'CODE_32', codeSelector: number) {
  memory.clear(BOOT.GDT, codeSelector + 16);
  memory.write(BOOT.GDT + codeSelector, 8, DESCRIPTOR[code]);
  memory.write(BOOT.GDT + codeSelector + 8, 8, DESCRIPTOR.DATA);
  const flat = { base: 0, limit: 0xffff_ffff };
  return {
    gdt: { base: BOOT.GDT, limit: codeSelector + 15 },
    code: { ...flat, selector: codeSelector, rights: RIGHTS[code] },
    data: { ...flat, selector: codeSelector + 8, rights: RIGHTS.DATA },
  };
}

/** 64-bit mode with the first 4 GiB mapped one to one; the structures behind it are written to memory. */
export function enterLongMode(
  memory: PhysicalMemory,
  rip: number,
  registers: EntryState['registers'],
  codeSelector = 0x08,
): EntryState {
  return {
    rip: BigInt(rip),
    registers,
    cr0: CR0_PROTECTED | CR0_PAGING,
    cr3: BigInt(writeIdentityMap(memory)),
    cr4: CR4_PAE,
    efer: EFER_LONG,
    ...writeGdt(memory, 'CODE_64', codeSelector),
  };
}

/** 32-bit protected mode without paging. */
export function enterProtectedMode(
  memory: PhysicalMemory,
  rip: number,
  registers: EntryState['registers'],
): EntryState {
  return {
    rip: BigInt(rip),
    registers,
    cr0: CR0_PROTECTED,
    cr3: 0n,
    cr4: 0n,
    efer: 0n,
    ...writeGdt(memory, 'CODE_32', 0x08),
  };
}

/** The state in which a plain ELF64 image starts: 64-bit mode, a stack below 512 KiB, RDI = 0. */
export const enterElf64 = (memory: PhysicalMemory, entry: number): EntryState =>
  enterLongMode(memory, entry, { RSP: BigInt(BOOT.STACK_TOP) });
