import { describe, expect, it } from 'vitest';
import { CODE, EPT, EPTP, Guest } from './guest.ts';
import type { Fields } from './processor.ts';

const NESTED: Fields = { PRIMARY_CONTROLS: 0x8400_61f2n, SECONDARY_CONTROLS: 2, EPT_POINTER: EPTP };
const FLAGS: Fields = { ...NESTED, EPT_POINTER: EPTP | 0x40n };
const READ = '8b 03 f4'; // MOV EAX, [RBX]
const WRITE = '89 03 f4'; // MOV [RBX], EAX
const JUMP = 'ff e3'; // JMP RBX

/** A nested guest whose RBX is `address`, with the leaf of that page set to `leaf`. */
function guestAt(address: number, leaf: number, code: string, fields: Fields = NESTED): Guest {
  const guest = new Guest(fields).code(code);
  guest.state.gpr[3] = BigInt(address);
  guest.memory.write(EPT.PT + (address >> 12) * 8, 8, BigInt(leaf));
  return guest;
}

const leafOf = (guest: Guest, address: number) =>
  guest.memory.read(EPT.PT + (address >> 12) * 8, 8);

describe('EPT', () => {
  it('translates guest-physical to host-physical addresses', () => {
    const guest = guestAt(0x10_0000, 0x18_0037, WRITE);
    guest.state.gpr[0] = 0x1234_5678n;
    expect(guest.exit().reason).toBe(12);
    expect(guest.memory.read(0x18_0000, 4)).toBe(0x1234_5678n);
    expect(guest.memory.read(0x10_0000, 4)).toBe(0n);
  });

  it('maps 2-MByte and 1-GByte pages', () => {
    const large = new Guest(NESTED).code(READ);
    large.state.gpr[3] = 0x10_2345n;
    large.memory.write(0x10_2345, 4, 0xabcdn);
    large.memory.write(EPT.PD, 8, 0xb7n);
    expect(large.exit().reason).toBe(12);
    expect(large.state.gpr[0]).toBe(0xabcdn);
    const huge = new Guest(NESTED).code(READ);
    huge.state.gpr[3] = 0x10_2345n;
    huge.memory.write(0x10_2345, 4, 0xabcdn);
    huge.memory.write(EPT.PDPT, 8, 0xb7n);
    expect(huge.exit().reason).toBe(12);
    expect(huge.state.gpr[0]).toBe(0xabcdn);
  });

  // Bits 2:0 the access, 5:3 what the entries allow, 7 linear address valid, 8 its translation.
  // biome-ignore format: a table
  it.each([
    ['a read of nothing',                    0x30, READ,  0x181],
    ['a write to nothing',                   0x30, WRITE, 0x182],
    ['a fetch from nothing',                 0x30, JUMP,  0x184],
    ['a write to a read-only page',          0x31, WRITE, 0x18a],
    ['a fetch from a page without execute',  0x33, JUMP,  0x19c],
    ['a read of an execute-only page',       0x34, READ,  0x1a1],
    ['a write to a read-execute page',       0x35, WRITE, 0x1aa],
  ])('%s is an EPT violation', (_name, low, code, qualification) => {
    const guest = guestAt(0x10_0000, 0x10_0000 | low, code);
    guest.state.gpr[3] = 0x10_0123n;
    expect(guest.exit()).toMatchObject({
      reason: 48, qualification: BigInt(qualification), linear: 0x10_0123n, physical: 0x10_0123n, interruption: 0, vectoring: 0,
    });
    expect(guest.get('GUEST_RIP')).toBe(code === JUMP ? 0x10_0123n : BigInt(CODE));
    expect(guest.get('GUEST_RFLAGS')).toBe(0x1_0202n);
  });

  it('takes the rights of every level together', () => {
    const guest = guestAt(0x10_0000, 0x10_0037, WRITE);
    guest.memory.write(EPT.PDPT, 8, BigInt(EPT.PD | 5));
    expect(guest.exit()).toMatchObject({ reason: 48, qualification: 0x1aan });
  });

  it('a violation on a paging-structure entry is no translation of the linear address', () => {
    const guest = new Guest(NESTED).code(READ);
    guest.memory.write(EPT.PT + 3 * 8, 8, 0n); // the guest's PML4 table at 3000H
    expect(guest.exit()).toMatchObject({
      reason: 48,
      qualification: 0x81n,
      linear: BigInt(CODE),
      physical: 0x3000n,
    });
  });

  it('a violation while an event is delivered has IDT-vectoring information', () => {
    const guest = new Guest({
      ...NESTED,
      GUEST_RSP: 0x10_0000n,
      VM_ENTRY_INTERRUPTION_INFORMATION: 0x8000_0041n,
    }).code(READ);
    guest.memory.write(EPT.PT + 0xff * 8, 8, 0n); // the guest's stack
    expect(guest.exit()).toMatchObject({
      reason: 48,
      qualification: 0x182n,
      vectoring: 0x8000_0041,
    });
  });

  // biome-ignore format: a table
  it.each([
    ['write without read',                       EPT.PT,   0x10_0032n],
    ['write and execute without read',           EPT.PT,   0x10_0036n],
    ['memory type 2 on a leaf',                  EPT.PT,   0x10_0017n],
    ['memory type 7 on a leaf',                  EPT.PT,   0x10_003fn],
    ['an address beyond the physical width',     EPT.PT,   0x8000_0000_0037n],
    ['bit 3 of an entry that references a table', EPT.PD,  BigInt(EPT.PT | 0xf)],
    ['bit 6 of an entry that references a table', EPT.PDPT, BigInt(EPT.PD | 0x47)],
    ['bit 7 of a PML4 entry',                    EPT.PML4, BigInt(EPT.PDPT | 0x87)],
    ['an unaligned 2-MByte page',                EPT.PD,   0x10_00b7n],
    ['an unaligned 1-GByte page',                EPT.PDPT, 0x20_00b7n],
  ])('%s is an EPT misconfiguration', (_name, table, entry) => {
    const guest = new Guest(NESTED).code(READ);
    guest.state.gpr[3] = 0x10_0123n;
    const at = table === EPT.PT ? table + 0x100 * 8 : table;
    guest.memory.write(at, 8, entry);
    const exit = guest.exit();
    expect(exit).toMatchObject({ reason: 49, qualification: 0n });
    expect(exit.physical).toBe(table === EPT.PT ? 0x10_0123n : 0x3000n);
  });

  it('execute-only entries and 1-GByte pages are misconfigurations where they do not exist', () => {
    const guest = guestAt(0x10_0000, 0x10_0034, READ);
    expect(guest.exit().reason).toBe(48);
  });

  describe('accessed and dirty flags', () => {
    it('are left alone unless the EPTP enables them', () => {
      const guest = guestAt(0x10_0000, 0x10_0037, WRITE);
      guest.exit();
      expect(leafOf(guest, 0x10_0000)).toBe(0x10_0037n);
    });

    it('accessed is set by a read, dirty by a write', () => {
      const reader = guestAt(0x10_0000, 0x10_0037, READ, FLAGS);
      reader.exit();
      expect(leafOf(reader, 0x10_0000)).toBe(0x10_0137n);
      expect(reader.memory.read(EPT.PML4, 8)).toBe(BigInt(EPT.PDPT | 0x107));
      expect(reader.memory.read(EPT.PD, 8)).toBe(BigInt(EPT.PT | 0x107));
      const writer = guestAt(0x10_0000, 0x10_0037, WRITE, FLAGS);
      writer.exit();
      expect(leafOf(writer, 0x10_0000)).toBe(0x10_0337n);
    });

    it('a page first read and then written becomes dirty', () => {
      const guest = guestAt(0x10_0000, 0x10_0037, `8b 03 ${WRITE}`, FLAGS);
      guest.exit();
      expect(leafOf(guest, 0x10_0000)).toBe(0x10_0337n);
    });

    it('make every access to a guest paging structure a write', () => {
      const guest = new Guest(FLAGS).code(READ);
      guest.exit();
      expect(leafOf(guest, 0x3000)).toBe(0x3337n);
      const readOnly = new Guest(FLAGS).code(READ);
      readOnly.memory.write(EPT.PT + 3 * 8, 8, 0x3035n);
      expect(readOnly.exit()).toMatchObject({
        reason: 48,
        qualification: 0xabn,
        physical: 0x3000n,
      });
    });
  });

  it('a page whose rights were taken away faults again after INVEPT', () => {
    const guest = guestAt(0x10_0000, 0x10_0037, 'eb fe');
    guest.code(`${WRITE.slice(0, 5)} 0f a2 89 03 f4`);
    expect(guest.exit().reason).toBe(10);
    guest.memory.write(EPT.PT + 0x100 * 8, 8, 0x10_0035n);
    expect(guest.vmx.invept(2, 0n)).toBe('VMsucceed');
    guest.set({ GUEST_RIP: BigInt(CODE + 4) });
    expect(guest.exit()).toMatchObject({ reason: 48, qualification: 0x1aan });
  });

  it('PDPTEs of a PAE guest come from their fields, and go back there', () => {
    const pae: Fields = {
      ...NESTED,
      VM_ENTRY_CONTROLS: 0x11fb,
      GUEST_CS_ACCESS_RIGHTS: 0xc09b,
      GUEST_PDPTE0: 0x10_0001n,
      GUEST_PDPTE1: 0n,
      GUEST_PDPTE2: 0n,
      GUEST_PDPTE3: 0n,
    };
    const guest = new Guest(pae).code('0f a2');
    guest.memory.write(0x10_0000, 8, 0x87n); // a page directory with one 2-MByte page
    expect(guest.exit().reason).toBe(10);
    expect(guest.get('GUEST_PDPTE0')).toBe(0x10_0001n);
  });
});

describe('page-modification logging', () => {
  const LOG = 0x3_0000;
  const LOGGING: Fields = {
    ...FLAGS,
    SECONDARY_CONTROLS: 0x2_0002,
    PML_ADDRESS: BigInt(LOG),
    PML_INDEX: 511,
  };
  /** Pages that the guest's paging structures lie in are dirty already, so that only the data page is logged. */
  function logging(fields: Fields, code: string): Guest {
    const guest = guestAt(0x10_0000, 0x10_0037, code, fields);
    for (const page of [0x3000, 0x2_a000]) {
      guest.memory.write(EPT.PT + (page >> 12) * 8, 8, BigInt(page | 0x337));
    }
    guest.state.gpr[3] = 0x10_0123n;
    return guest;
  }

  it('writes the page’s address before its dirty flag is set, and counts the index down', () => {
    const guest = logging(LOGGING, '89 03 89 03 f4');
    expect(guest.exit().reason).toBe(12);
    expect(guest.memory.read(LOG + 511 * 8, 8)).toBe(0x10_0000n);
    expect(guest.get('PML_INDEX')).toBe(510n);
    expect(leafOf(guest, 0x10_0000)).toBe(0x10_0337n);
  });

  it('does not log reads, nor without dirty flags', () => {
    const reader = logging(LOGGING, READ);
    reader.exit();
    expect(reader.get('PML_INDEX')).toBe(511n);
    const plain = logging({ ...LOGGING, EPT_POINTER: EPTP }, WRITE);
    plain.exit();
    expect(plain.get('PML_INDEX')).toBe(511n);
  });

  it('exits with reason 62 when the log is full, nothing of the access done', () => {
    const guest = logging({ ...LOGGING, PML_INDEX: 0xffff }, WRITE);
    expect(guest.exit()).toMatchObject({ reason: 62, qualification: 0n, vectoring: 0 });
    expect(guest.get('GUEST_RIP')).toBe(BigInt(CODE));
    expect(leafOf(guest, 0x10_0000) & 0x200n).toBe(0n);
    guest.set({ PML_INDEX: 0 });
    expect(guest.exit().reason).toBe(12);
    expect(guest.memory.read(LOG, 8)).toBe(0x10_0000n);
    expect(guest.get('PML_INDEX')).toBe(0xffffn);
  });
});

describe('INVEPT and INVVPID', () => {
  // biome-ignore format: a table
  it.each([
    ['single-context',           1, EPTP,            true],
    ['all-context',              2, 0n,              true],
    ['a type that does not exist', 0, EPTP,          false],
    ['type 3',                   3, EPTP,            false],
    ['an EPTP of no memory type', 1, 0x2_0019n,      false],
    ['an EPTP beyond the width', 1, EPTP | 1n << 46n, false],
  ])('INVEPT %s', (_name, type, eptp, works) => {
    expect(new Guest().vmx.invept(type, eptp)).toEqual(works ? 'VMsucceed' : { VMfailValid: 28 });
  });

  // biome-ignore format: a table
  it.each([
    ['individual address',           0, 1n,        0x1000n,                true],
    ['an address not canonical',     0, 1n,        0x8000_0000_0000n,      false],
    ['single context',               1, 0xffffn,   0n,                     true],
    ['VPID 0',                       1, 0n,        0n,                     false],
    ['all contexts',                 2, 0n,        0n,                     true],
    ['retaining globals',            3, 1n,        0n,                     true],
    ['a reserved bit',               1, 0x1_0001n, 0n,                     false],
    ['type 4',                       4, 1n,        0n,                     false],
  ])('INVVPID %s', (_name, type, vpid, linear, works) => {
    expect(new Guest().vmx.invvpid(type, vpid, linear)).toEqual(works ? 'VMsucceed' : { VMfailValid: 28 });
  });
});

describe('EPTP switching', () => {
  const SWITCHING: Fields = {
    ...NESTED,
    SECONDARY_CONTROLS: 0x2002,
    VM_FUNCTION_CONTROLS: 1n,
    EPTP_LIST_ADDRESS: 0x3_0000n,
  };
  const VMFUNC = '31 c0 b9 01 00 00 00 0f 01 d4 8b 13 f4'; // leaf 0, index 1; then MOV EDX, [RBX]

  /** A second EPT that maps 100000H elsewhere. */
  function switching(fields: Fields = SWITCHING): Guest {
    const guest = guestAt(0x10_0000, 0x10_0037, VMFUNC, fields);
    for (const [from, to] of [
      [EPT.PML4, 0x4_0000],
      [EPT.PDPT, 0x4_1000],
      [EPT.PD, 0x4_2000],
      [EPT.PT, 0x4_3000],
    ] as const) {
      guest.memory.load(to, guest.memory.slice(from, 4096));
    }
    guest.memory.write(0x4_0000, 8, 0x4_1007n);
    guest.memory.write(0x4_1000, 8, 0x4_2007n);
    guest.memory.write(0x4_2000, 8, 0x4_3007n);
    guest.memory.write(0x4_3000 + 0x100 * 8, 8, 0x18_0037n);
    guest.memory.write(0x18_0000, 4, 0x77n);
    guest.memory.write(0x3_0008, 8, 0x4_001en);
    return guest;
  }

  it('changes the EPT pointer without an exit', () => {
    const guest = switching();
    expect(guest.exit().reason).toBe(12);
    expect(guest.state.gpr[2]).toBe(0x77n);
    expect(guest.get('EPT_POINTER')).toBe(0x4_001en);
  });

  // biome-ignore format: a table
  it.each([
    ['an index beyond the list',  'b9 00 02 00 00 0f 01 d4',       {}],
    ['an invalid EPTP',           'b9 02 00 00 00 0f 01 d4',       {}],
    ['a function that is off',    'b9 01 00 00 00 0f 01 d4',       { VM_FUNCTION_CONTROLS: 0n }],
    ['a function beyond 0',       'b0 01 0f 01 d4',                {}],
  ])('exits with reason 59 on %s', (_name, code, fields) => {
    const guest = switching({ ...SWITCHING, ...fields }).code(code);
    expect(guest.exit()).toMatchObject({ reason: 59, length: 3, qualification: 0n });
    expect(guest.get('EPT_POINTER')).toBe(EPTP);
  });
});
