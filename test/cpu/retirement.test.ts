import { describe, expect, it } from 'vitest';
import { decode } from '../../src/cpu/decode/decode.ts';
import { retirement } from '../../src/cpu/retirement.ts';
import { semanticsOf } from '../../src/cpu/semantics/semantics.ts';
import { FlatMachine } from './flat-machine.ts';
import { formSamples } from './form-samples.ts';

const bytes = (hex: string) => Uint8Array.from(hex.split(' '), (byte) => Number.parseInt(byte, 16));

describe('retirement', () => {
  // biome-ignore format: a table
  it.each([
    ['JNZ',              '75 00',                ['branches', 'conditionalBranches']],
    ['LOOP',             'e2 00',                ['branches', 'conditionalBranches']],
    ['JRCXZ',            'e3 00',                ['branches', 'conditionalBranches']],
    ['JMP',              'eb 00',                ['branches', 'nearTaken']],
    ['JMP RAX',          'ff e0',                ['branches', 'nearTaken', 'indirectBranches']],
    ['CALL',             'e8 00 00 00 00',       ['branches', 'nearTaken', 'nearCalls']],
    ['CALL RAX',         'ff d0',                ['branches', 'nearTaken', 'nearCalls', 'indirectBranches', 'nearIndirectCalls']],
    ['RET',              'c3',                   ['branches', 'nearReturns', 'nearTaken']],
    ['RET 8',            'c2 08 00',             ['branches', 'nearReturns', 'nearTaken']],
    ['SYSCALL',          '0f 05',                ['branches', 'farBranches']],
    ['NOP',              '90',                   ['nops']],
    ['a long NOP',       '66 0f 1f 44 00 00',    ['nops']],
    ['PAUSE',            'f3 90',                ['pauses']],
    ['LOCK INC',         'f0 ff 00',             ['lockedLoads']],
    ['XCHG with memory', '87 03',                ['lockedLoads']],
    ['XCHG',             '87 c3',                []],
    ['ADD',              '01 d8',                []],
    ['FADD',             'd8 c1',                ['x87']],
    ['FADD from memory', 'd8 00',                ['x87', 'loads']],
    ['FISTP',            'db 18',                ['x87', 'stores']],
    ['FNSTSW to memory', 'dd 38',                ['x87', 'stores']],
    ['FXSAVE',           '0f ae 00',             ['stores']],
    ['XRSTOR',           '0f ae 28',             ['loads']],
    ['DPPS',             '66 0f 3a 40 c1 ff',    ['packedSingle128', 'packedSingle128']],
  ] as const)('of %s adds to its classes of events', (_name, hex, totals) => {
    const insn = decode(bytes(hex), 0, 8);
    if (typeof insn === 'string') throw new Error(insn);
    expect([...retirement(insn)].sort()).toEqual([...totals].sort());
  });

  it.each([2, 4, 8] as const)(
    'leaves accesses to the engine where it sees them, in code of %i bytes',
    (codeSize) => {
      const twice = formSamples(codeSize)
        .filter(({ insn }) => semanticsOf(insn))
        // Prefetches count as loads and access nothing.
        .filter(({ insn }) => !insn.op.startsWith('PREFETCH'))
        .filter(({ insn }) => insn.op !== 'MOVSEG' || insn.operands[0]?.kind !== 'seg')
        .filter(({ insn }) =>
          retirement(insn).some((total) => total === 'loads' || total === 'stores'),
        );
      expect(twice.map(({ key }) => key)).toEqual([]);
    },
  );

  // biome-ignore format: a table
  it.each([
    ['MOV RAX,[RBX]',       '48 8b 03',       1n, 0n],
    ['MOV [RBX],RAX',       '48 89 03',       0n, 1n],
    ['ADD [RBX],RAX',       '48 01 03',       1n, 1n],
    ['PUSH [RBX]',          'ff 33',          1n, 1n],
    ['MOV [RBX],DS',        '8c 1b',          0n, 1n],
    ['PUSH FS',             '0f a0',          0n, 1n],
    ['MOVSQ',               '48 a5',          1n, 1n],
    ['CMPSB',               'a6',             1n, 0n],
    ['REP STOSB of three',  'f3 aa',          0n, 1n],
    ['LEA RAX,[RBX]',       '48 8d 03',       0n, 0n],
    ['PREFETCHT0 [RBX]',    '0f 18 0b',       1n, 0n],
  ] as const)('of %s counts a load and a store at most once', (_name, hex, loads, stores) => {
    const { oracle, state } = new FlatMachine().code(hex);
    for (const register of [3, 6, 7]) state.gpr[register] = 0x2000n;
    state.gpr[1] = 3n;
    oracle.run(hex === 'f3 aa' ? 3 : 1);
    expect(state.total('instructions')).toBe(1n);
    expect(state.total('loads')).toBe(loads);
    expect(state.total('stores')).toBe(stores);
  });
});
