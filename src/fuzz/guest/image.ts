import type { GuestImage } from '../../machine/guest-image.ts';
import type { FuzzCase } from '../case.ts';
import { HYPERVISOR } from './hypervisor.ts';
import { APIC, FIELD_SIZE, LAYOUT } from './layout.ts';
import { STUB } from './stub.ts';
import { NO_FIELD, nestedFields } from './vmcs.ts';

type Memory = Parameters<GuestImage['load']>[0];

const CR0 = 0x8000_0011n;
/** Of VMX operation. */
const CR0_NE = 0x20n;
const CR4_PAE = 0x20n;
const CR4_VMXE = 0x2000n;
const CR4_PCE = 0x100n;
const EFER_LONG = 0x500n;
/** IOPL 3: OUT at every privilege level. */
const RFLAGS = 0x3002n;
/** Present, writable, user, accessed, dirty: nothing is left for the processor to set. */
const TABLE = 0x67n;
const LARGE_PAGE = 0xe7n;
const SOFTWARE_INTERRUPT = 0x80;

const CODE_64 = 0x00af_9b00_0000_ffffn;
const DATA = 0x00cf_9300_0000_ffffn;
const TSS_SELECTOR = 0x48;
const GDT_LIMIT = 0x57;

const codeSelector = (cpl: number) => 0x08 + 0x10 * cpl;

/** Where the case is entered: privilege level and CR4.PCE, as a guest or as a guest's guest. */
export interface Mode extends Pick<FuzzCase, 'cpl' | 'pce'> {
  /** Whether the steps are a guest's guest's. */
  readonly nested?: unknown;
}

/** End of what cases write to. */
export const dirtyEnd = (nested: boolean): number =>
  nested ? LAYOUT.NESTED_END : LAYOUT.DIRTY_END;

/** The guest that executes cases, as an image that brings its tables along: it comes up in 64-bit mode at CPL 0. */
export const stubImage = (mode: Mode): GuestImage => ({
  format: 'flat',
  regions: [],
  boot: {},
  load(memory) {
    memory.load(LAYOUT.CODE, STUB.code);
    writeDescriptors(memory);
    writeInterrupts(memory, LAYOUT.IDT, STUB.handlers);
    const tables = LAYOUT.PAGE_TABLES;
    memory.write(tables, 8, BigInt(tables + 0x1000) | TABLE);
    memory.write(tables + 0x1000, 8, BigInt(tables + 0x2000) | TABLE);
    memory.write(tables + 0x2000, 8, LARGE_PAGE);
    memory.write(tables + 0x1000 + 8 * 3, 8, BigInt(tables + 0x3000) | TABLE);
    memory.write(
      tables + 0x3000 + 8 * ((APIC.PAGE >>> 21) & 0x1ff),
      8,
      BigInt(APIC.PAGE) | LARGE_PAGE,
    );
    const cr0 = mode.nested ? CR0 | CR0_NE : CR0;
    const cr3 = BigInt(tables);
    if (mode.nested) writeHypervisor(memory, mode, { cr0, cr3, cr4: CR4_PAE | CR4_VMXE });
    else writeEntry(memory, mode);
    const flat = { base: 0, limit: 0xffff_ffff };
    return {
      rip: BigInt(mode.nested ? HYPERVISOR.boot : LAYOUT.CODE),
      registers: { RSP: BigInt(mode.nested ? LAYOUT.ROOT_STACK : LAYOUT.STACK) },
      cr0,
      cr3,
      cr4: CR4_PAE,
      efer: EFER_LONG,
      gdt: { base: LAYOUT.GDT, limit: GDT_LIMIT },
      code: { ...flat, selector: codeSelector(0), rights: 0xa09b },
      data: { ...flat, selector: codeSelector(0) + 8, rights: 0xc093 },
    };
  },
});

/** A code and a data segment for each privilege level, and a TSS whose only use is the stack of CPL 0. */
function writeDescriptors(memory: Memory): void {
  for (let cpl = 0; cpl < 4; cpl++) {
    const dpl = BigInt(cpl) << 45n;
    memory.write(LAYOUT.GDT + codeSelector(cpl), 8, CODE_64 | dpl);
    memory.write(LAYOUT.GDT + codeSelector(cpl) + 8, 8, DATA | dpl);
  }
  const base = BigInt(LAYOUT.TSS);
  const low = 0x67n | ((base & 0xff_ffffn) << 16n) | (0x89n << 40n) | ((base >> 24n) << 56n);
  memory.write(LAYOUT.GDT + TSS_SELECTOR, 8, low);
  memory.write(LAYOUT.TSS + 4, 8, BigInt(LAYOUT.STACK));
  memory.write(LAYOUT.GDTR, 2, BigInt(GDT_LIMIT));
  memory.write(LAYOUT.GDTR + 2, 8, BigInt(LAYOUT.GDT));
  memory.write(LAYOUT.IDTR, 2, 0xfffn);
  memory.write(LAYOUT.IDTR + 2, 8, BigInt(LAYOUT.IDT));
}

function writeInterrupts(memory: Memory, table: number, handlers: readonly number[]): void {
  const gate = (vector: number, target: number, dpl: number) => {
    const offset = BigInt(target);
    const rights = BigInt(0x8e00 | (dpl << 13));
    const low =
      (offset & 0xffffn) |
      (BigInt(codeSelector(0)) << 16n) |
      (rights << 32n) |
      ((offset >> 16n) << 48n);
    memory.write(table + 16 * vector, 8, low);
  };
  for (const [vector, target] of handlers.entries()) gate(vector, target, 0);
  gate(SOFTWARE_INTERRUPT, STUB.endHandler, 3);
}

/** What the guest comes up to: bits of CR4, then what IRETQ pops, last first. */
function writeEntry(memory: Memory, { cpl, pce }: Mode): void {
  const entry = [
    pce ? CR4_PCE : 0n,
    BigInt((codeSelector(cpl) + 8) | cpl),
    BigInt(LAYOUT.USER_STACK),
    RFLAGS,
    BigInt(codeSelector(cpl) | cpl),
    BigInt(STUB.start),
  ];
  for (const [at, value] of entry.entries()) memory.write(LAYOUT.ENTRY + 8 * at, 8, value);
}

/** A guest that is a hypervisor: its code, its own IDT, and the VMCS fields of the guest it runs. */
function writeHypervisor(
  memory: Memory,
  mode: Mode,
  root: { readonly cr0: bigint; readonly cr3: bigint; readonly cr4: bigint },
): void {
  memory.load(LAYOUT.HYPERVISOR, HYPERVISOR.code);
  const { generalProtection, otherException } = HYPERVISOR;
  const handlers = STUB.handlers.map((handler, vector) => {
    if (vector === NMI) return handler;
    return vector === GENERAL_PROTECTION ? generalProtection : otherException;
  });
  writeInterrupts(memory, LAYOUT.ROOT_IDT, handlers);
  memory.write(LAYOUT.IDTR + 2, 8, BigInt(LAYOUT.ROOT_IDT));
  memory.write(LAYOUT.ENTRY, 8, CR4_VMXE);
  memory.write(LAYOUT.VMXON_POINTER, 8, BigInt(LAYOUT.VMXON));
  memory.write(LAYOUT.VMCS_POINTER, 8, BigInt(LAYOUT.VMCS));
  memory.write(LAYOUT.EXITS_END, 4, BigInt(LAYOUT.EXITS));
  const fields = nestedFields(mode, {
    root: { ...root, rip: HYPERVISOR.exit },
    begin: STUB.begin,
    rflags: RFLAGS,
    codeSelector,
    tss: TSS_SELECTOR,
    gdtLimit: GDT_LIMIT,
  });
  for (const [at, [field, value]] of [...fields, [NO_FIELD, 0n] as const].entries()) {
    memory.write(LAYOUT.FIELDS + FIELD_SIZE * at, 4, BigInt(field));
    memory.write(LAYOUT.FIELDS + FIELD_SIZE * at + 8, 8, value);
  }
}

const NMI = 2;
const GENERAL_PROTECTION = 13;
