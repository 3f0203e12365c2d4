import { describe, expect, it } from 'vitest';
import { STATE } from '../../../src/cpu/state/layout.ts';
import { AT, code, SELECTOR, TestMachine } from './machine.ts';

const PAGE = 0x1000;
/** Two pages: the first is present, the second as a test has it. */
const FIRST = 0x5_0000;
const SECOND = FIRST + PAGE;
const entryOf = (page: number) => AT.PT + (page >> 12) * 8;

/** The last page below the hole between canonical halves, and the first one above it. */
const LAST_LOW = 0x7fff_ffff_f000n;
const FIRST_HIGH = 0xffff_8000_0000_0000n;
/** What they lead to: the last page of RAM, and its first. */
const LAST_LOW_PHYSICAL = 0x1f_f000;

const machine = new TestMachine();

/** Begins anew at `rip` with other code, all registers 0 but RSP; halting handlers for the faults that come into question. */
function begin(rip: bigint, physical: number, listing: string): TestMachine {
  machine.long().haltingHandlers(6, 12, 13, 14);
  const { state, memory } = machine;
  memory.write(AT.PML4 + 255 * 8, 8, BigInt(AT.PDPT | 7));
  memory.write(AT.PML4 + 256 * 8, 8, BigInt(AT.PDPT | 7));
  memory.write(AT.PDPT + 511 * 8, 8, BigInt(AT.PD | 7));
  memory.write(AT.PD + 511 * 8, 8, BigInt(AT.PT | 7));
  machine.load(physical, listing);
  state.gpr.fill(0n);
  state.gpr[4] = BigInt(AT.STACK);
  state.rip = rip;
  state.set32(STATE.ACTIVITY, 0);
  state.set(STATE.CR2, 0n);
  machine.cpu.core.engine.flush({});
  return machine;
}

/** What the run ended in: the vector, what was pushed (error code, RIP), CR2, how many instructions retired before. */
function outcome() {
  const before = machine.state.total('instructions');
  machine.run();
  const [error, rip] = machine.stack(2);
  const retired = machine.state.total('instructions') - before - 1n; // without the handler's HLT
  return { vector: machine.handled, error, rip, cr2: machine.state.get(STATE.CR2), retired };
}

describe('an instruction whose last bytes lie on a page that is not there', () => {
  // biome-ignore format: a table
  it.each<[string, string]>([
    ['MOV r64, imm64',                   '48b8 1122334455667788'],
    ['MOV r32, imm32',                   'b8 11223344'],
    ['ADD m64, imm32',                   '488187 00000000 11223344'],
    ['the longest: four prefixes before','2e2e2e2e 488187 00000000 11223344'],
    ['JMP rel32',                        'e9 00000000'],
    ['CALL rel32',                       'e8 00000000'],
    ['JZ rel32',                         '0f84 00000000'],
    ['PUSH imm32',                       '68 11223344'],
    ['ENTER',                            'c8 100000'],
    ['LOCK XADD',                        'f0480fc107'],
    ['REP MOVSB',                        'f3a4'],
    ['CPUID',                            '0fa2'],
    ['FLD1',                             'd9e8'],
    ['MOVAPS',                           '0f28c1'],
    ['PALIGNR',                          '660f3a0fc104'],
    ['MOV CR3',                          '0f22d8'],
    ['JMP FAR m16:64',                   '48ff2c25 00000400'],
  ])('%s: #PF of a fetch at its first byte, nothing done', (_name, listing) => {
    const { length } = code(listing);
    for (let on = 1; on < length; on++) {
      const at = SECOND - on;
      begin(BigInt(at), at, listing).memory.write(entryOf(SECOND), 8, 0n);
      const registers = [...machine.state.gpr];
      expect(outcome(), `${on} bytes on the first page`).toEqual({
        vector: 14, error: 0x10n, rip: BigInt(at), cr2: BigInt(SECOND), retired: 0n,
      });
      expect([...machine.state.gpr].toSpliced(4, 1)).toEqual(registers.toSpliced(4, 1));
    }
  });

  // biome-ignore format: a table
  it.each<[string, string, number]>([
    ['UD2, which ends on the page before',          '0f0b',                          6],
    ['an opcode that no operand makes valid',       '0f04',                          6],
    ['fifteen prefixes, which are too many already', '66666666666666666666666666666666', 13],
  ])('is not asked for by %s', (_name, listing, vector) => {
    const at = SECOND - Math.min(code(listing).length, 15);
    begin(BigInt(at), at, listing).memory.write(entryOf(SECOND), 8, 0n);
    machine.run();
    expect(machine.handled).toBe(vector);
  });

  it('is asked for after the last instruction before it has retired', () => {
    begin(BigInt(SECOND - 2), SECOND - 2, '9090').memory.write(entryOf(SECOND), 8, 0n);
    expect(outcome()).toEqual({
      vector: 14,
      error: 0x10n,
      rip: BigInt(SECOND),
      cr2: BigInt(SECOND),
      retired: 2n,
    });
  });
});

const ABSENT = 0n;
const READ_ONLY = BigInt(SECOND) | 5n;

describe('an operand that lies on two pages', () => {
  // biome-ignore format: a table
  it.each<[string, string, number, bigint, bigint]>([
    ['a load of 2, the second page absent',          '668b07',     2,  ABSENT,    0n],
    ['a load of 4, the second page absent',          '8b07',       4,  ABSENT,    0n],
    ['a load of 8, the second page absent',          '488b07',     8,  ABSENT,    0n],
    ['a load of 10, the second page absent',         'db2f',       10, ABSENT,    0n],
    ['a load of 16, the second page absent',         '0f1007',     16, ABSENT,    0n],
    ['a store of 2, the second page absent',         '668907',     2,  ABSENT,    2n],
    ['a store of 4, the second page absent',         '8907',       4,  ABSENT,    2n],
    ['a store of 8, the second page absent',         '488907',     8,  ABSENT,    2n],
    ['a store of 16, the second page absent',        '0f1107',     16, ABSENT,    2n],
    ['a store of 2, the second page read-only',      '668907',     2,  READ_ONLY, 3n],
    ['a store of 8, the second page read-only',      '488907',     8,  READ_ONLY, 3n],
    ['a store of 16, the second page read-only',     '0f1107',     16, READ_ONLY, 3n],
    ['ADD to 4, the second page absent',             '0107',       4,  ABSENT,    2n],
    ['ADD to 8, the second page read-only',          '480107',     8,  READ_ONLY, 3n],
    ['LOCK XADD of 8, the second page read-only',    'f0480fc107', 8,  READ_ONLY, 3n],
    ['CMPXCHG of 8 that will not store, read-only',  '480fb107',   8,  READ_ONLY, 3n],
  ])('%s: #PF at the second page, the first unchanged', (_name, listing, size, entry, error) => {
    for (let on = 1; on < size; on++) {
      begin(BigInt(AT.CODE), AT.CODE, listing);
      machine.memory.write(entryOf(SECOND), 8, entry);
      machine.load(FIRST + PAGE - 16, '000102030405060708090a0b0c0d0e0f');
      machine.state.gpr[7] = BigInt(SECOND - on);
      expect(outcome(), `${on} bytes on the first page`).toEqual({
        vector: 14, error, rip: BigInt(AT.CODE), cr2: BigInt(SECOND), retired: 0n,
      });
      expect(machine.memory.read(SECOND - 8, 8)).toBe(0x0f0e_0d0c_0b0a_0908n);
    }
  });
});

describe('the hole between the canonical halves', () => {
  // biome-ignore format: a table
  it.each<[string, string, bigint, number]>([
    ['a load at its first byte',                '488b07',   0x8000_0000_0000n,          13],
    ['a load that ends in it',                  '488b07',   0x7fff_ffff_fff9n,          13],
    ['a load that begins in it',                '488b07',   0xffff_7fff_ffff_fff8n,     13],
    ['a load in its midst',                     '488b07',   0x1234_5678_9abc_def0n,     13],
    ['a store that ends in it',                 '488907',   0x7fff_ffff_fffdn,          13],
    ['a byte at its end',                       '8a07',     0xffff_7fff_ffff_ffffn,     13],
    ['16 bytes that end in it',                 '0f1007',   0x7fff_ffff_fff1n,          13],
    ['the stack, by PUSH',                      '4889fc 50', 0x8000_0000_0008n,         12],
    ['the stack, by POP that ends in it',       '4889fc 58', 0x7fff_ffff_fff9n,         12],
    ['the stack, by an address based on RSP',   '4889fc 8b0424', 0x8000_0000_0000n,     12],
    ['the stack, by an address based on RBP',   '4889fd 8b4500', 0x8000_0000_0000n,     12],
    ['a jump into it',                          'ffe7',     0x8000_0000_0000n,          13],
    ['a call into it',                          'ffd7',     0xffff_7fff_ffff_ffffn,     13],
    ['MOVS from it',                            '4889fe a4', 0x8000_0000_0000n,         13],
    ['STOS to it',                              'aa',       0x8000_0000_0000n,          13],
    ['LGDT from it',                            '0f0117',   0x8000_0000_0000n,          13],
    ['FXSAVE to it',                            '0fae07',   0x8000_0000_0000n,          13],
    ['CLFLUSH of it',                           '0fae3f',   0x8000_0000_0000n,          13],
  ])('%s is #GP(0) or, of the stack, #SS(0); CR2 stays', (_name, listing, address, vector) => {
    begin(BigInt(AT.CODE), AT.CODE, `${listing} f4`).state.gpr[7] = address;
    // The stack of handlers is another one.
    machine.gate(vector, AT.HANDLER + vector * 16, { ist: 1 });
    machine.run();
    expect(machine.handled).toBe(vector);
    expect(machine.stack(1)).toEqual([0n]);
    expect(machine.state.get(STATE.CR2)).toBe(0n);
  });

  // biome-ignore format: a table
  it.each<[string, string, bigint]>([
    ['a load that ends before it',       '488b07', 0x7fff_ffff_fff8n],
    ['a load that begins behind it',     '488b07', FIRST_HIGH],
    ['16 bytes that end before it',      '0f1007', 0x7fff_ffff_fff0n],
    ['a load across the top of memory',  '90',     0xffff_ffff_ffff_fffcn],
    ['PREFETCH of it, which never faults','0f180f', 0x8000_0000_0000n],
    ['LEA, which addresses nothing',     '488d07', 0x8000_0000_0000n],
    ['INVLPG, which forgets nothing',    '0f013f', 0x8000_0000_0000n],
  ])('%s is no fault', (_name, listing, address) => {
    begin(BigInt(AT.CODE), AT.CODE, `${listing} f4`).state.gpr[7] = address;
    machine.run();
    expect(machine.handled).toBeUndefined();
  });

  it('is not run into: the instruction that would is not there, #GP(0) with RIP behind the last one', () => {
    const end = LAST_LOW + 0xfffn;
    begin(end, LAST_LOW_PHYSICAL + 0xfff, '90');
    expect(outcome()).toMatchObject({ vector: 13, error: 0n, rip: 0x8000_0000_0000n, retired: 1n });
  });

  it.each([1, 2, 3, 4])('an instruction of five bytes with %i before it is #GP(0)', (on) => {
    const at = LAST_LOW + BigInt(PAGE - on);
    begin(at, LAST_LOW_PHYSICAL + PAGE - on, 'b8112233'.slice(0, 2 * on));
    expect(outcome()).toMatchObject({ vector: 13, error: 0n, rip: at, retired: 0n });
  });

  it('is crossed by a relative jump as by any other: #GP(0) at the jump', () => {
    const at = LAST_LOW + BigInt(PAGE - 5);
    begin(at, LAST_LOW_PHYSICAL + PAGE - 5, 'e9 00000000');
    expect(outcome()).toMatchObject({ vector: 13, error: 0n, rip: at, retired: 0n });
  });
});

describe('stores to page tables', () => {
  it('hold for the next access through them after INVLPG', () => {
    begin(
      BigInt(AT.CODE),
      AT.CODE,
      `
      488b0425 00000500 ; mov rax, [50000H]
      48c70425 80720000 07100500 ; mov qword [7280H], 51007H: its entry leads to 51000H
      0f013c25 00000500 ; invlpg [50000H]
      488b1c25 00000500 ; mov rbx, [50000H]
      f4`,
    );
    machine.memory.write(FIRST, 8, 1n);
    machine.memory.write(SECOND, 8, 2n);
    machine.run();
    expect(machine.state.gpr[0]).toBe(1n);
    expect(machine.state.gpr[3]).toBe(2n);
  });

  it('hold at once where the page had no translation to remember', () => {
    begin(
      BigInt(AT.CODE),
      AT.CODE,
      `
      48c70425 80720000 07100500 ; mov qword [7280H], 51007H
      488b1c25 00000500 ; mov rbx, [50000H]
      f4`,
    );
    machine.memory.write(entryOf(FIRST), 8, 0n);
    machine.memory.write(SECOND, 8, 3n);
    machine.run();
    expect(machine.state.gpr[3]).toBe(3n);
  });

  it('by the walk itself set the accessed and dirty flags of what a store to them used', () => {
    begin(BigInt(AT.CODE), AT.CODE, '48c70425 80720000 00000000 f4 ; mov qword [7280H], 0');
    machine.memory.write(entryOf(AT.PT), 8, BigInt(AT.PT) | 7n);
    machine.run();
    expect(machine.memory.read(entryOf(AT.PT), 1)).toBe(0x67n);
  });
});

it('code of a page that another one continues runs on into it', () => {
  begin(BigInt(SECOND - 3), SECOND - 3, 'b8 7856 3412 f4');
  machine.memory.write(entryOf(SECOND), 8, BigInt(FIRST + 2 * PAGE) | 7n);
  machine.load(FIRST + 2 * PAGE, 'cdab f4');
  machine.run();
  expect(machine.state.gpr[0]).toBe(0xabcd_5678n);
  expect(machine.state.segment('CS').selector).toBe(SELECTOR.CODE64);
});
