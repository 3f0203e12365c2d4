import { describe, expect, it } from 'vitest';
import { STATE } from '../../src/cpu/state/layout.ts';
import { CODE, type Exit, Guest } from './guest.ts';
import type { Fields } from './processor.ts';

const SECONDARY = (bits: number): Fields => ({
  PRIMARY_CONTROLS: 0x8400_6172n,
  SECONDARY_CONTROLS: bits,
});
const PRIMARY = (bits: number): Fields => ({ PRIMARY_CONTROLS: 0x0400_6172 | bits });
const HALT = PRIMARY(1 << 7);

/** Instructions that exit: name, controls, code (registers are 0 unless the code sets them), what the fields say. */
// biome-ignore format: a table
const INSTRUCTIONS: readonly (readonly [name: string, fields: Fields, code: string, exit: Partial<Exit>])[] = [
  ['CPUID always',                      {},                 '0f a2',                   { reason: 10, length: 2 }],
  ['HLT with HLT exiting',              HALT,               'f4',                      { reason: 12, length: 1 }],
  ['INVD always',                       {},                 '0f 08',                   { reason: 13, length: 2 }],
  ['INVLPG with INVLPG exiting',        PRIMARY(1 << 9),    '0f 01 3c 25 34 12 00 00', { reason: 14, length: 8, qualification: 0x1234n }],
  ['RDPMC with RDPMC exiting',          PRIMARY(1 << 11),   '0f 33',                   { reason: 15, length: 2 }],
  ['RDTSC with RDTSC exiting',          PRIMARY(1 << 12),   '0f 31',                   { reason: 16, length: 2 }],
  ['RDTSCP with RDTSC exiting',         { ...SECONDARY(8), PRIMARY_CONTROLS: 0x8400_7172n }, '0f 01 f9', { reason: 51, length: 3 }],
  ['VMCALL always',                     {},                 '0f 01 c1',                { reason: 18, length: 3 }],
  ['VMLAUNCH always',                   {},                 '0f 01 c2',                { reason: 20, length: 3 }],
  ['VMRESUME always',                   {},                 '0f 01 c3',                { reason: 24, length: 3 }],
  ['VMXOFF always',                     {},                 '0f 01 c4',                { reason: 26, length: 3 }],
  ['VMCLEAR [rip+0x10]',                {},                 '66 0f c7 35 10 00 00 00', { reason: 19, length: 8, qualification: BigInt(CODE + 8 + 0x10), information: 0x0841_8100 | (0 << 2) }],
  ['VMPTRLD [rbx+rcx*4-8]',             {},                 '0f c7 74 8b f8',          { reason: 21, length: 5, qualification: 0xffff_ffff_ffff_fff8n, information: (2 << 0) | (2 << 7) | (3 << 15) | (1 << 18) | (3 << 23) }],
  ['VMPTRST [rsp]',                     {},                 '0f c7 3c 24',             { reason: 22, length: 4, qualification: 0n, information: (2 << 7) | (2 << 15) | (1 << 22) | (4 << 23) }],
  ['VMXON [rax]',                       {},                 'f3 0f c7 30',             { reason: 27, length: 4, qualification: 0n, information: (2 << 7) | (3 << 15) | (1 << 22) }],
  ['VMREAD rdx, rcx',                   {},                 '0f 78 ca',                { reason: 23, length: 3, information: (2 << 3) | (2 << 7) | (1 << 10) | (1 << 28) }],
  ['VMREAD [rax+0x7f], r9',             {},                 '44 0f 78 48 7f',          { reason: 23, length: 5, qualification: 0x7fn, information: 0x9000_0000 + ((2 << 7) | (3 << 15) | (1 << 22)) }],
  ['VMWRITE rcx, rdx',                  {},                 '0f 79 ca',                { reason: 25, length: 3, information: (2 << 3) | (2 << 7) | (1 << 10) | (1 << 28) }],
  ['INVEPT rdx, [rax]',                 {},                 '66 0f 38 80 10',          { reason: 50, length: 5, information: (2 << 7) | (3 << 15) | (1 << 22) | (2 << 28) }],
  ['INVVPID rsi, [rax+4]',              {},                 '66 0f 38 81 70 04',       { reason: 53, length: 6, qualification: 4n, information: (2 << 7) | (3 << 15) | (1 << 22) | (6 << 28) }],
  ['XSETBV always',                     { GUEST_CR4: 0x4_2020n }, '0f 01 d1',          { reason: 55, length: 3 }],
  ['WBINVD with WBINVD exiting',        SECONDARY(1 << 6),  '0f 09',                   { reason: 54, length: 2 }],
  ['PAUSE with PAUSE exiting',          PRIMARY(1 << 30),   'f3 90',                   { reason: 40, length: 2 }],
  ['MONITOR with MONITOR exiting',      PRIMARY(1 << 29),   '0f 01 c8',                { reason: 39, length: 3 }],
  ['MWAIT with MWAIT exiting',          PRIMARY(1 << 10),   '0f 01 c9',                { reason: 36, length: 3, qualification: 0n }],
  ['MWAIT of a monitored range with MWAIT exiting', PRIMARY(1 << 10), '0f 01 c8 0f 01 c9', { reason: 36, length: 3, qualification: 1n }],
  ['RDRAND r11w with RDRAND exiting',   SECONDARY(1 << 11), '66 41 0f c7 f3',          { reason: 57, length: 5, information: 11 << 3 }],
  ['RDRAND rax with RDRAND exiting',    SECONDARY(1 << 11), '48 0f c7 f0',             { reason: 57, length: 4, information: 2 << 11 }],
  ['RDSEED ecx with RDSEED exiting',    SECONDARY(1 << 16), '0f c7 f9',                { reason: 61, length: 3, information: (1 << 3) | (1 << 11) }],
  ['INVPCID rcx, [rax] with INVLPG exiting', { ...SECONDARY(1 << 12), PRIMARY_CONTROLS: 0x8400_6372n }, '66 0f 38 82 08', { reason: 58, length: 5, information: (2 << 7) | (3 << 15) | (1 << 22) | (1 << 28) }],

  ['RDMSR without bitmaps',             {},                 'b9 10 00 00 00 0f 32',    { reason: 31, length: 2 }],
  ['WRMSR without bitmaps',             {},                 'b9 10 00 00 00 0f 30',    { reason: 32, length: 2 }],

  ['MOV to CR0 that changes a masked bit', { CR0_GUEST_HOST_MASK: 8n, CR0_READ_SHADOW: 8n }, '0f 22 c1',   { reason: 28, length: 3, qualification: 0x100n }],
  ['MOV to CR3 with CR3-load exiting',  PRIMARY(1 << 15),   '0f 22 d8',                { reason: 28, length: 3, qualification: 3n }],
  ['MOV to CR3 of none of two targets', { ...PRIMARY(1 << 15), CR3_TARGET_COUNT: 2, CR3_TARGET_VALUE_0: 1n, CR3_TARGET_VALUE_1: 2n, CR3_TARGET_VALUE_2: 0n }, '0f 22 d8', { reason: 28, qualification: 3n }],
  ['MOV from CR3 with CR3-store exiting', PRIMARY(1 << 16), '41 0f 20 da',             { reason: 28, length: 4, qualification: 0xa13n }],
  ['MOV to CR4 that changes a masked bit', { CR4_GUEST_HOST_MASK: 0x2000n, CR4_READ_SHADOW: 0x2000n }, '0f 22 e0', { reason: 28, length: 3, qualification: 4n }],
  ['MOV to CR8 with CR8-load exiting',  PRIMARY(1 << 19),   '44 0f 22 c0',             { reason: 28, length: 4, qualification: 8n }],
  ['MOV from CR8 with CR8-store exiting', PRIMARY(1 << 20), '44 0f 20 c3',             { reason: 28, length: 4, qualification: 0x318n }],
  ['CLTS with TS masked and shadowed',  { CR0_GUEST_HOST_MASK: 8n, CR0_READ_SHADOW: 8n }, '0f 06', { reason: 28, length: 2, qualification: 0x20n }],
  ['LMSW ax that sets a masked MP',     { CR0_GUEST_HOST_MASK: 2n }, '66 b8 06 40 0f 01 f0', { reason: 28, length: 3, qualification: 0x4006_0030n }],
  ['LMSW [0x1000] that sets a masked PE', { CR0_GUEST_HOST_MASK: 1n }, 'c6 04 25 00 10 00 00 01 0f 01 34 25 00 10 00 00', { reason: 28, length: 8, qualification: 0x0001_0070n, linear: 0x1000n }],
  ['MOV to DR7 with MOV-DR exiting',    PRIMARY(1 << 23),   '0f 23 f9',                { reason: 29, length: 3, qualification: 0x107n }],
  ['MOV from DR6 with MOV-DR exiting', PRIMARY(1 << 23), '0f 21 f0', { reason: 29, length: 3, qualification: 0x016n }],
  ['MOV from DR4 with MOV-DR exiting, before CR4.DE makes it undefined', { ...PRIMARY(1 << 23), GUEST_CR4: 0x2028n }, '0f 21 e0', { reason: 29, length: 3, qualification: 0x014n }],

  ['IN al, 0x71 with unconditional I/O exiting', PRIMARY(1 << 24), 'e4 71',            { reason: 30, length: 2, qualification: 0x0071_0048n }],
  ['OUT dx, eax with unconditional I/O exiting', PRIMARY(1 << 24), '66 ba f8 03 ef',   { reason: 30, length: 1, qualification: 0x03f8_0003n }],
  ['OUT dx, ax with unconditional I/O exiting',  PRIMARY(1 << 24), '66 ba f8 03 66 ef', { reason: 30, length: 2, qualification: 0x03f8_0001n }],
  ['REP INSB with unconditional I/O exiting', PRIMARY(1 << 24), 'b9 02 00 00 00 bf 00 10 00 00 66 ba 60 00 f3 6c', { reason: 30, length: 2, qualification: 0x0060_0038n, linear: 0x1000n }],
  ['INSB to no canonical address with unconditional I/O exiting', PRIMARY(1 << 24), '48 bf 00 00 00 00 00 80 00 00 66 ba 60 00 6c', { reason: 30, length: 1, qualification: 0x0060_0018n, linear: 0x8000_0000_0000n }],
  ['OUTSW from FS with unconditional I/O exiting', { ...PRIMARY(1 << 24), GUEST_FS_BASE: 0x100n }, 'be 00 10 00 00 66 ba 80 00 64 66 6f', { reason: 30, length: 3, qualification: 0x0080_0011n, linear: 0x1100n }],

  ['SGDT [rax] with descriptor-table exiting',  SECONDARY(4), '0f 01 00',              { reason: 46, length: 3, qualification: 0n }],
  ['LIDT [rax+1] with descriptor-table exiting', SECONDARY(4), '0f 01 58 01',          { reason: 46, length: 4, qualification: 1n }],
  ['SLDT eax with descriptor-table exiting',    SECONDARY(4), '0f 00 c0',              { reason: 47, length: 3 }],
  ['LTR cx with descriptor-table exiting',      SECONDARY(4), '0f 00 d9',              { reason: 47, length: 3 }],
];

describe('instructions that exit', () => {
  it.each(INSTRUCTIONS)('%s', (_name, fields, code, expected) => {
    const guest = new Guest(fields).code(code);
    const exit = guest.exit();
    expect(exit).toMatchObject(expected);
    expect(exit).toMatchObject({ interruption: 0, vectoring: 0 });
    // RIP is that of the instruction, and nothing of it has been done.
    const length = code.split(' ').length;
    expect(guest.get('GUEST_RIP')).toBe(BigInt(CODE + length - exit.length));
    expect(guest.state.rip).toBe(0xa000n);
  });
});

/** The same instructions where nothing makes them exit: the HLT after them does. */
// biome-ignore format: a table
const PASSING: readonly (readonly [name: string, fields: Fields, code: string])[] = [
  ['INVLPG',                 HALT, '0f 01 3c 25 34 12 00 00'],
  ['RDPMC',                  HALT, '0f 33'],
  ['RDTSC',                  HALT, '0f 31'],
  ['PAUSE',                  HALT, 'f3 90'],
  ['WBINVD',                 HALT, '0f 09'],
  ['RDRAND',                 HALT, '0f c7 f0'],
  ['MOV to and from CR2 with every control of CR3 and CR8', PRIMARY((1 << 7) | (1 << 15) | (1 << 16) | (1 << 19) | (1 << 20)), '0f 20 d0 0f 22 d0'],
  ['MOV to and from CR3 without the controls', HALT, '0f 20 d8 0f 22 d8'],
  ['MOV to CR3 of a target', { ...PRIMARY((1 << 7) | (1 << 15)), CR3_TARGET_COUNT: 2, CR3_TARGET_VALUE_1: 0x3000n }, 'b8 00 30 00 00 0f 22 d8'],
  ['MOV to CR8',             HALT, '44 0f 22 c0'],
  ['MOV DR',                 HALT, '0f 21 f8 0f 23 f8'],
  ['IN and OUT',             HALT, 'e4 71 e6 80'],
  ['SGDT, STR',              HALT, '0f 01 04 25 00 10 00 00 0f 00 c8'],
  ['RDMSR of a bit that is 0', { ...PRIMARY((1 << 7) | (1 << 28)), MSR_BITMAP_ADDRESS: 0x1_3000n }, 'b9 10 00 00 00 0f 32'],
  ['I/O of bits that are 0',  { ...PRIMARY((1 << 7) | (1 << 25) | (1 << 24)), IO_BITMAP_A_ADDRESS: 0x1_4000n, IO_BITMAP_B_ADDRESS: 0x1_5000n }, 'e4 71'],
];

describe('instructions that do not exit', () => {
  it.each(PASSING)('%s', (_name, fields, code) => {
    const guest = new Guest(fields).code(`${code} f4`);
    expect(guest.exit().reason).toBe(12);
    expect(guest.get('GUEST_RIP')).toBe(BigInt(CODE + code.split(' ').length));
  });
});

describe('XSAVES and XRSTORS', () => {
  const LBR = 1n << 15n;
  const fields: Fields = { ...SECONDARY(1 << 20), GUEST_CR4: 0x4_2020n, XSS_EXITING_BITMAP: LBR };

  it.each([
    ['XSAVES', '0f c7 68 08', 63],
    ['XRSTORS', '0f c7 58 08', 64],
  ])(
    '%s exits where it asks for a component of IA32_XSS that the bitmap has',
    (_name, code, reason) => {
      const guest = new Guest(fields).code(code);
      guest.state.set(STATE.XSS, LBR);
      guest.state.gpr[0] = LBR;
      expect(guest.exit()).toMatchObject({ reason, length: 4, qualification: 8n });
    },
  );

  it('do not exit for components that IA32_XSS has not', () => {
    const guest = new Guest({ ...fields, PRIMARY_CONTROLS: 0x8400_61f2n }).code(
      'b8 00 80 00 00 48 b9 00 10 00 00 00 00 00 00 0f c7 29 f4',
    );
    expect(guest.exit().reason).toBe(12);
  });
});

describe('instructions that a secondary control enables', () => {
  // biome-ignore format: a table
  it.each([
    ['RDTSCP',  '0f 01 f9',       8],
    ['INVPCID', '66 0f 38 82 08', 1 << 12],
    ['VMFUNC',  '0f 01 d4',       1 << 13],
    ['XSAVES',  '0f c7 28',       1 << 20],
    ['XRSTORS', '0f c7 18',       1 << 20],
  ])('%s is #UD without it', (_name, code, control) => {
    const xsave = { GUEST_CR4: 0x4_2020n };
    const without = new Guest({ ...xsave, EXCEPTION_BITMAP: 1 << 6 }).code(code).exit();
    expect(without).toMatchObject({ reason: 0, interruption: 0x8000_0306 });
    const fields = { ...xsave, ...SECONDARY(control), EXCEPTION_BITMAP: 1 << 6, ...(control === 1 << 13 ? {} : HALT), PRIMARY_CONTROLS: 0x8400_61f2n };
    expect(new Guest(fields).code(`${code} f4`).exit().reason).not.toBe(0);
  });
});
