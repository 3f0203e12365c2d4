import { describe, expect, it } from 'vitest';
import { decode } from '../../../src/cpu/decode/decode.ts';
import { MNEMONICS } from '../../../src/cpu/decode/mnemonics.ts';
import type { Insn } from '../../../src/cpu/insn.ts';

const bytesOf = (hex: string) => Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex'));
const at = (hex: string, codeSize: 2 | 4 | 8 = 8) => decode(bytesOf(hex), 0, codeSize);
const insn = (hex: string, codeSize: 2 | 4 | 8 = 8): Insn => {
  const result = at(hex, codeSize);
  if (typeof result === 'string') throw new Error(`${hex} is ${result}`);
  return result;
};

describe('operands', () => {
  it('an immediate byte is extended to the operand size', () => {
    expect(insn('83 c0 ff')).toMatchObject({
      op: 'ADD',
      size: 4,
      operands: [
        { kind: 'gpr', index: 0 },
        { kind: 'imm', value: 0xffff_ffffn },
      ],
      length: 3,
    });
    expect(insn('48 83 c0 ff').operands[1]).toEqual({ kind: 'imm', value: 0xffff_ffff_ffff_ffffn });
    expect(insn('6a 80')).toMatchObject({
      op: 'PUSH',
      size: 8,
      operands: [{ value: 2n ** 64n - 128n }],
    });
  });

  it('register 4 of a byte is AH, with any REX it is SPL', () => {
    expect(insn('88 e0').operands[1]).toEqual({ kind: 'gpr', index: 0, high: true });
    expect(insn('40 88 e0').operands[1]).toEqual({ kind: 'gpr', index: 4 });
  });

  it.each([
    ['8b 05 10 00 00 00', 8, { segment: 'DS', base: 16, index: -1, disp: 16n }],
    ['8b 05 10 00 00 00', 4, { segment: 'DS', base: -1, index: -1, disp: 16n }],
    ['8b 44 24 f8', 8, { segment: 'SS', base: 4, index: -1, disp: -8n }],
    ['8b 04 25 00 00 00 80', 8, { segment: 'DS', base: -1, index: -1, disp: -0x8000_0000n }],
    ['42 8b 44 a5 00', 8, { segment: 'SS', base: 5, index: 12, scale: 2, disp: 0n }],
    ['41 8b 45 00', 8, { segment: 'DS', base: 13, index: -1, disp: 0n }],
    ['8b 42 10', 2, { segment: 'SS', base: 5, index: 6, disp: 16n }],
    ['64 8b 03', 8, { segment: 'FS', base: 3 }],
    ['2e 8b 03', 8, { segment: 'DS', base: 3 }],
    ['2e 8b 03', 4, { segment: 'CS', base: 3 }],
    ['48 a1 88 77 66 55 44 33 22 11', 8, { base: -1, disp: 0x1122_3344_5566_7788n }],
  ] as const)('%s in %i-byte code addresses memory', (hex, codeSize, expected) => {
    expect(insn(hex, codeSize).operands[1]).toMatchObject({ kind: 'mem', ...expected });
  });

  it('tells two widths apart where an instruction has two', () => {
    expect(insn('48 0f be c1')).toMatchObject({ op: 'MOVSX', size: 8, sourceSize: 1 });
    expect(insn('f2 48 0f 2a c1')).toMatchObject({ op: 'CVTSI2SD', size: 8 });
    expect(insn('66 0f 38 30 01')).toMatchObject({ op: 'PMOVZXBW', size: 16, sourceSize: 8 });
    expect(insn('66 0f 3a 14 01 00')).toMatchObject({ op: 'PEXTRB', size: 1, sourceSize: 16 });
  });
});

describe('prefixes', () => {
  it.each([
    ['66 90', 'NOP'],
    ['f3 90', 'PAUSE'],
    ['49 90', 'XCHG'],
    ['f3 49 90', 'PAUSE'],
    ['66 0f 58 c1', 'ADDPD'],
    ['f3 66 0f 58 c1', 'ADDSS'],
    ['f3 f2 0f 58 c1', 'ADDSD'],
    ['f3 0f 1e fa', 'ENDBR64'],
    ['0f 1e fa', 'NOP'],
    ['f3 0f bc c1', 'TZCNT'],
    ['f2 0f bc c1', 'BSF'],
    ['c4 e2 f8 f3 c8', 'BLSR'],
    ['66 f2 0f 38 f1 c1', 'CRC32'],
  ])('%s is %s', (hex, op) => expect(insn(hex).op).toBe(op));

  it('REX counts only right before the opcode', () => {
    expect(insn('48 66 01 c0')).toMatchObject({ op: 'ADD', size: 2 });
    expect(insn('66 48 01 c0')).toMatchObject({ op: 'ADD', size: 8 });
  });

  it.each([
    ['f0 ff 00', 'INC'],
    ['f0 0f b1 0b', 'CMPXCHG'],
    ['f0 87 03', 'XCHG'],
  ])('LOCK is allowed on %s', (hex, op) => expect(insn(hex)).toMatchObject({ op, lock: true }));

  it.each(['f0 ff c0', 'f0 39 03', 'f0 03 03', 'f0 90', 'f0 0f a3 03'])(
    'LOCK makes %s undefined',
    (hex) => expect(at(hex)).toBe('#UD'),
  );

  it('REP stands on string instructions alone', () => {
    expect(insn('f3 a4').rep).toBe('rep');
    expect(insn('f2 a6').rep).toBe('repne');
    expect(insn('f2 a4').rep).toBe('rep');
    expect(insn('f3 01 c0').rep).toBeUndefined();
  });
});

describe('modes', () => {
  it.each([
    ['06', 'PUSHSEG'],
    ['27', 'DAA'],
    ['60', 'PUSHA'],
    ['9a 00 00 00 00 00 00', 'CALLF'],
    ['c4 03 00 00 00', 'LES'],
    ['62 03', 'BOUND'],
    ['d4 0a', 'AAM'],
  ])('%s is %s outside 64-bit mode and undefined in it', (hex, op) => {
    expect(insn(hex, 4).op).toBe(op);
    expect(at(hex, 8)).toBe('#UD');
  });

  it.each(['0f 05', '0f 07', '0f 01 f8', 'f3 0f ae c0'])(
    '%s is undefined outside 64-bit mode',
    (hex) => {
      expect(at(hex, 4)).toBe('#UD');
      expect(typeof at(hex, 8)).toBe('object');
    },
  );

  it('near branches and the stack are 64 bits wide in 64-bit mode', () => {
    expect(insn('e8 00 00 00 00').size).toBe(8);
    expect(insn('66 e9 00 00 00 00')).toMatchObject({ size: 8, length: 6 });
    expect(insn('50').size).toBe(8);
    expect(insn('66 50').size).toBe(2);
    expect(insn('cf').size).toBe(4);
    expect(insn('48 cf').size).toBe(8);
    expect(insn('66 e9 00 00', 4)).toMatchObject({ size: 2, length: 4 });
  });

  it('63H is MOVSXD or ARPL, C5H a VEX prefix or LDS', () => {
    expect(insn('48 63 c1')).toMatchObject({ op: 'MOVSXD', size: 8, sourceSize: 4 });
    expect(insn('63 c1', 4).op).toBe('ARPL');
    expect(insn('c5 03', 4).op).toBe('LDS');
    expect(at('c5 f8 77', 8)).toBe('#UD'); // VZEROUPPER: no AVX
    expect(at('66 c4 e2 f8 f3 c8', 8)).toBe('#UD');
  });
});

describe('what is no instruction', () => {
  it.each(['0f 04', '0f aa', 'ff f8', '8e c8', '0f 20 c8'])('%s is undefined', (hex) =>
    expect(at(hex)).toBe('#UD'),
  );

  it('15 bytes are an instruction, 16 are #GP', () => {
    const prefixed = (n: number) => at(`${'66'.repeat(n)} 05 34 12`);
    expect(prefixed(12)).toMatchObject({ length: 15 });
    expect(prefixed(13)).toBe('#GP');
    expect(at('66'.repeat(15))).toBe('#GP');
  });

  it('bytes that end too early are short', () => {
    expect(at('48 b8 00 00')).toBe('short');
    expect(at('0f')).toBe('short');
    expect(decode(bytesOf('90 05 00 00 00 00'), 1, 8, 4)).toBe('short');
    expect(decode(bytesOf('90 05 00 00 00 00'), 1, 8, 5)).toMatchObject({ op: 'ADD', length: 5 });
  });

  it('a CPU without a feature does not have its instructions', () => {
    const without = (hex: string, ...features: string[]) =>
      decode(bytesOf(hex), 0, 8, 15, new Set(features));
    expect(without('0f c7 f0')).toBe('#UD');
    expect(without('0f c7 f0', 'RDRAND')).toMatchObject({ op: 'RDRAND' });
    expect(without('f3 0f bc c1')).toMatchObject({ op: 'BSF' });
    expect(without('f3 0f bc c1', 'BMI1')).toMatchObject({ op: 'TZCNT' });
    expect(without('48 0f c7 0b')).toBe('#UD');
    expect(without('0f c7 0b')).toMatchObject({ op: 'CMPXCHG8B' });
  });
});

it('lists each mnemonic once', () => {
  expect(new Set(MNEMONICS).size).toBe(MNEMONICS.length);
  expect(MNEMONICS).toEqual(
    expect.arrayContaining(['ADD', 'VMLAUNCH', 'FYL2XP1', 'RORX', 'XSAVES64']),
  );
});
