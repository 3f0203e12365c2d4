import { describe, expect, it } from 'vitest';
import { Interpreter } from '../../src/cpu/engines/wasm/interpreter.ts';
import { STATE } from '../../src/cpu/state/layout.ts';
import { CODE, EPT, EPTP, Guest } from './guest.ts';
import type { Fields } from './processor.ts';

/** A linear page of the guest with a page table of its own, and two pages of memory to map there, which hold 11H and 22H. */
const LINEAR = 0x4000_0000n;
const PAGE_TABLE = 0x3_2000;
const FIRST = 0x4_0000;
const SECOND = 0x4_1000;
const PRESENT = 0x67;
const GLOBAL = 0x100;

const VPID = {
  PRIMARY_CONTROLS: 0x8400_6172n,
  SECONDARY_CONTROLS: 0x20,
  VIRTUAL_PROCESSOR_IDENTIFIER: 1,
};
const VPID_AND_EPT = { ...VPID, SECONDARY_CONTROLS: 0x22, EPT_POINTER: EPTP };
const PCIDS = { GUEST_CR4: 0x2_2020n };
const INVPCID_ENABLED = { SECONDARY_CONTROLS: 0x1020 };

const [NEW, OLD] = [0x22n, 0x11n];

/** A guest on the interpreter, whose `LINEAR` is `FIRST`. Its code reads a byte there and exits, again and again. */
function guest(fields: Fields, code = '8a 03 0f a2 eb fa'): Guest {
  const made = new Guest(fields, undefined, (core) => new Interpreter(core)).code(code);
  const { memory, state } = made;
  memory.write(0x2_a000 + 8, 8, 0x3_1027n); // below the PML4 table of guest and host alike
  memory.write(0x2_9000 + 8, 8, 0x3_1027n);
  memory.write(0x3_1000, 8, BigInt(PAGE_TABLE | 0x27));
  memory.write(PAGE_TABLE, 8, BigInt(FIRST | PRESENT));
  memory.write(FIRST, 1, OLD);
  memory.write(SECOND, 1, NEW);
  state.gpr[3] = LINEAR;
  return made;
}

const remap = ({ memory }: Guest) => memory.write(PAGE_TABLE, 8, BigInt(SECOND | PRESENT));

/** What the guest reads until its next exit. */
function reads(made: Guest): bigint {
  made.state.gpr[0] = 0n;
  made.set({ GUEST_RIP: CODE });
  expect(made.exit().reason).toBe(10);
  return made.state.gpr[0]! & 0xffn;
}

/** What it reads after its page was mapped elsewhere and `invalidate` was done. */
function afterwards(fields: Fields, invalidate: (made: Guest) => unknown): bigint {
  const made = guest(fields);
  expect(reads(made)).toBe(OLD);
  remap(made);
  invalidate(made);
  return reads(made);
}

describe('with VPIDs, translations outlive VM exits and VM entries, until', () => {
  const nothing = () => undefined;

  it('nothing is done: they are kept', () => {
    expect(afterwards(VPID, nothing)).toBe(OLD);
    expect(afterwards(VPID_AND_EPT, nothing)).toBe(OLD);
  });

  it('there are no VPIDs: then each transition forgets them', () => {
    expect(afterwards({}, nothing)).toBe(NEW);
  });

  // biome-ignore format: a table
  it.each([
    ['INVVPID of the address',                             0, 1n, LINEAR,             NEW],
    ['INVVPID of another address',                         0, 1n, LINEAR + 0x20_0000n, OLD],
    ['INVVPID of the address for another VPID',            0, 2n, LINEAR,             OLD],
    ['INVVPID of the VPID',                                1, 1n, 0n,                 NEW],
    ['INVVPID of another VPID',                            1, 2n, 0n,                 OLD],
    ['INVVPID of all VPIDs',                               2, 0n, 0n,                 NEW],
    ['INVVPID of the VPID but for its global translations', 3, 1n, 0n,                 NEW],
  ])('%s', (_what, type, vpid, linear, expected) => {
    expect(afterwards(VPID, ({ vmx }) => expect(vmx.invvpid(type, vpid, linear)).toBe('VMsucceed'))).toBe(expected);
  });

  it('the guest runs under another VPID', () => {
    expect(afterwards(VPID, (made) => made.set({ VIRTUAL_PROCESSOR_IDENTIFIER: 2 }))).toBe(NEW);
  });

  it('it runs under its own again: then they are still there', () => {
    const made = guest(VPID);
    reads(made);
    remap(made);
    made.set({ VIRTUAL_PROCESSOR_IDENTIFIER: 2 });
    expect(reads(made)).toBe(NEW);
    made.set({ VIRTUAL_PROCESSOR_IDENTIFIER: 1 });
    expect(reads(made)).toBe(OLD);
  });

  it('nothing is done, but rights are worked out from the control registers of the moment', () => {
    const write = guest(
      { ...VPID, EXCEPTION_BITMAP: 1 << 14, GUEST_CR0: 0x8000_0031n },
      '88 03 0f a2',
    );
    write.memory.write(PAGE_TABLE, 8, BigInt(FIRST | 0x65)); // read-only, which CR0.WP = 0 lets pass
    expect(write.exit().reason).toBe(10);
    write.set({ GUEST_RIP: CODE, GUEST_CR0: 0x8001_0031n });
    expect(write.exit()).toMatchObject({ reason: 0, qualification: LINEAR, error: 3 });
  });
});

describe('EPT: combined mappings outlive VM exits and VM entries, until', () => {
  const moved = (made: Guest, invalidate: (made: Guest) => unknown) => {
    expect(reads(made)).toBe(OLD);
    made.memory.write(EPT.PT + (FIRST >> 12) * 8, 8, BigInt(SECOND | 0x37));
    invalidate(made);
    return reads(made);
  };

  // biome-ignore format: a table
  it.each([
    ['INVEPT of the EPTP',     1, EPTP,               NEW],
    ['INVEPT of another EPTP', 1, EPTP + 0x1_0000n,   OLD],
    ['INVEPT of all',          2, 0n,                 NEW],
  ])('%s', (_what, type, eptp, expected) => {
    expect(moved(guest(VPID_AND_EPT), ({ vmx }) => expect(vmx.invept(type, eptp)).toBe('VMsucceed'))).toBe(expected);
  });

  it('INVVPID of their VPID', () => {
    expect(moved(guest(VPID_AND_EPT), ({ vmx }) => vmx.invvpid(1, 1n, 0n))).toBe(NEW);
  });

  it('the guest runs under another EPTP, and are back with the old one', () => {
    const made = guest(VPID_AND_EPT);
    const other = 0x2_4000;
    made.memory.write(other, 8, BigInt(EPT.PDPT | 7));
    expect(moved(made, () => made.set({ EPT_POINTER: BigInt(other | 0x1e) }))).toBe(NEW);
    made.set({ EPT_POINTER: EPTP });
    expect(reads(made)).toBe(OLD);
  });

  it('an EPT violation at the address, so that copying on write needs no INVEPT', () => {
    // mov al,[rbx]; mov [rbx],al; vmcall
    const made = guest(VPID_AND_EPT, '8a 03 88 03 0f 01 c1');
    const entry = EPT.PT + (FIRST >> 12) * 8;
    made.memory.write(entry, 8, BigInt(FIRST | 0x35)); // read and execute
    expect(made.exit()).toMatchObject({ reason: 48, linear: LINEAR });
    made.memory.write(entry, 8, BigInt(SECOND | 0x37));
    made.set({ GUEST_RIP: CODE }); // the read first, lest the write put the new page into the TLB
    expect(made.exit().reason).toBe(18);
    expect(made.state.gpr[0]! & 0xffn).toBe(NEW);
  });
});

describe('in a guest, translations last until', () => {
  /** Reads, writes the second page's entry into the page table, executes `code`, reads again. */
  const around = (code: string, fields: Fields = {}, entry = SECOND | PRESENT) => {
    const made = guest(
      { ...VPID, ...fields },
      // mov al,[rbx]; mov [rsi],rdi; <code>; mov al,[rbx]; vmcall
      `8a 03 48 89 3e ${code} 8a 03 0f 01 c1`,
    );
    const { state, memory } = made;
    state.gpr[6] = BigInt(PAGE_TABLE);
    state.gpr[7] = BigInt(entry);
    state.gpr[2] = 1n << 63n;
    memory.write(0x4_2000, 8, 0n); // descriptors of INVPCID: PCID, address
    memory.write(0x4_2008, 8, LINEAR);
    state.gpr[9] = 0x4_2000n;
    expect(made.exit().reason).toBe(18);
    return state.gpr[0]! & 0xffn;
  };
  const INVPCID = '66 41 0f 38 82 01'; // invpcid rax,[r9]
  const typed = (type: number) => `b8 0${type} 00 00 00 ${INVPCID}`;

  // biome-ignore format: a table
  it.each([
    ['nothing',                                   '90',                           {},    OLD],
    ['INVLPG of the address',                     '0f 01 3b',                     {},    NEW],
    ['INVLPG of another address',                 '0f 01 bb 00 00 20 00',         {},    OLD],
    ['MOV to CR3',                                '0f 20 d8 0f 22 d8',            {},    NEW],
    ['MOV to CR3 with PCIDs',                     '0f 20 d8 0f 22 d8',            PCIDS, NEW],
    ['MOV to CR3 with bit 63',                    '0f 20 d8 48 09 d0 0f 22 d8',   PCIDS, OLD],
    ['MOV to CR3 of another PCID and back with bit 63', '0f 20 d8 48 ff c0 0f 22 d8 48 ff c8 48 09 d0 0f 22 d8', PCIDS, OLD],
    ['MOV to CR3 of another PCID',                '0f 20 d8 48 ff c0 0f 22 d8',   PCIDS, NEW],
    ['INVPCID of the address',                    typed(0),    { ...PCIDS, ...INVPCID_ENABLED }, NEW],
    ['INVPCID of the PCID',                       typed(1),    { ...PCIDS, ...INVPCID_ENABLED }, NEW],
    ['INVPCID of all',                            typed(2),    { ...PCIDS, ...INVPCID_ENABLED }, NEW],
    ['INVPCID of all but global translations',    typed(3),    { ...PCIDS, ...INVPCID_ENABLED }, NEW],
    ['CR4.PGE changes',                           '0f 20 e0 34 80 0f 22 e0',      {},    NEW],
  ])('%s', (_what, code, fields, expected) => {
    expect(around(code, fields)).toBe(expected);
  });

  it('INVLPG, which forgets a global translation whatever the PCID it was made under', () => {
    // another PCID, its read, the first PCID (bit 63), INVLPG, the other PCID again (bit 63)
    const code = '0f 20 d8 48 ff c0 0f 22 d8 8a 03 0f 20 d8 48 ff c8 48 09 d0 0f 22 d8 0f 01 3b';
    const made = guest(
      { ...VPID, ...PCIDS },
      `${code} 48 89 3e 0f 01 3b 0f 20 d8 48 ff c0 48 09 d0 0f 22 d8 8a 03 0f 01 c1`,
    );
    made.memory.write(PAGE_TABLE, 8, BigInt(FIRST | PRESENT | GLOBAL));
    made.state.gpr[6] = BigInt(PAGE_TABLE);
    made.state.gpr[7] = BigInt(SECOND | PRESENT | GLOBAL);
    made.state.gpr[2] = 1n << 63n;
    expect(made.exit().reason).toBe(18);
    expect(made.state.gpr[0]! & 0xffn).toBe(NEW);
  });

  it('a page fault at the address', () => {
    // mov al,[rbx]; mov [rbx],al: the page is read-only
    const made = guest(
      { ...VPID, GUEST_CR0: 0x8001_0031n, EXCEPTION_BITMAP: 1 << 14 },
      '8a 03 88 03',
    );
    made.memory.write(PAGE_TABLE, 8, BigInt(FIRST | 0x65));
    expect(made.exit()).toMatchObject({ reason: 0, qualification: LINEAR });
    remap(made);
    made.code('8a 03 0f a2');
    expect(reads(made)).toBe(NEW);
  });
});

describe('breakpoints', () => {
  it('of the guest hold after VM entry, those of the host do not', () => {
    const made = guest({ ...VPID, EXCEPTION_BITMAP: 1 << 1, VM_ENTRY_CONTROLS: 0x13ff });
    expect(reads(made)).toBe(OLD);
    made.state.set(STATE.DR, LINEAR);
    made.set({ GUEST_DR7: 0x3_0401n, GUEST_RIP: CODE }); // reads and writes of a byte
    expect(made.exit()).toMatchObject({ reason: 0, qualification: 1n });
    made.set({ GUEST_DR7: 0x400n, GUEST_PENDING_DEBUG_EXCEPTIONS: 0n });
    expect(reads(made)).toBe(OLD);
  });
});
