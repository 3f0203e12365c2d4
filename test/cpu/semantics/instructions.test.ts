import { describe, expect, it } from 'vitest';
import { readStatusFlags, writeStatusFlags } from '../../../src/cpu/flags.ts';
import { FlatMachine } from '../flat-machine.ts';

const C = 0x001;
const P = 0x004;
const A = 0x010;
const Z = 0x040;
const S = 0x080;
const O = 0x800;

/** rAX, rBX, rCX, rDX and the status flags. What is left out is 0 before, and unchanged after. */
interface Registers {
  readonly a?: bigint;
  readonly b?: bigint;
  readonly c?: bigint;
  readonly d?: bigint;
  readonly flags?: number;
}

const MAX = 0xffff_ffff_ffff_ffffn;

type Row = readonly [
  what: string,
  hex: string,
  before: Registers,
  after: Registers,
  undefinedFlags?: number,
];

// biome-ignore format: a table
const IN_64_BIT_CODE: readonly Row[] = [
  ['ADD AL,BL carries out of both digits',           '00 d8',             { a: 0x19cn, b: 0x64n },               { a: 0x100n, flags: C | P | A | Z }],
  ['ADD EAX,EBX clears the upper half',              '01 d8',             { a: MAX, b: 1n },                     { a: 0n, flags: C | P | A | Z }],
  ['ADC RAX,RBX adds the carry',                     '48 11 d8',          { a: MAX, b: MAX, flags: C },          { a: MAX, flags: C | P | A | S }],
  ['SBB EAX,EBX with a borrow from both',            '19 d8',             { b: 0xffff_ffffn, flags: C },         { a: 0n, flags: C | P | A | Z }],
  ['INC AH keeps CF',                                'fe c4',             { a: 0x7fffn, flags: C },              { a: 0x80ffn, flags: C | A | S | O }],
  ['NEG of the least number overflows',              '48 f7 d8',          { a: 1n << 63n },                      { a: 1n << 63n, flags: C | P | S | O }],
  ['MUL RBX fills RDX',                              '48 f7 e3',          { a: MAX, b: MAX },                    { a: 1n, d: MAX - 1n, flags: C | O }, S | Z | A | P],
  ['IMUL BL that fits its byte',                     'f6 eb',             { a: 0xfen, b: 3n },                   { a: 0xfffan, flags: 0 }, S | Z | A | P],
  ['IMUL EAX,EBX,−2 that does not fit',              '6b c3 fe',          { b: 0x7fff_ffffn },                   { a: 2n, flags: C | O }, S | Z | A | P],
  ['DIV RBX of 128 bits',                            '48 f7 f3',          { a: 5n, d: 1n, b: 0x10n },            { a: 0x1000_0000_0000_0000n, d: 5n }, C | P | A | Z | S | O],
  ['IDIV EBX rounds towards zero',                   'f7 fb',             { a: 0xffff_fff9n, d: 0xffff_ffffn, b: 2n }, { a: 0xffff_fffdn, d: 0xffff_ffffn }, C | P | A | Z | S | O],
  ['XADD RAX,RBX exchanges and adds',                '48 0f c1 d8',       { a: 3n, b: 4n },                      { a: 7n, b: 3n, flags: 0 }],
  ['CMPXCHG RBX,RCX that finds RAX',                 '48 0f b1 cb',       { a: 5n, b: 5n, c: 9n },               { b: 9n, flags: P | Z }],
  ['CMPXCHG EBX,ECX that does not: RBX is left',     '0f b1 cb',          { a: MAX, b: MAX - 1n, c: 9n },        { a: 0xffff_fffen, flags: 0 }],
  ['SHL EAX,1 into the sign',                        'd1 e0',             { a: 0x4000_0000n },                   { a: 0x8000_0000n, flags: S | P | O }, A],
  ['SHR RAX,CL by 0 leaves the flags',               '48 d3 e8',          { a: 5n, c: 0x40n, flags: C | O },     { flags: C | O }],
  ['SAR AL,CL by more than there is',                'd2 f8',             { a: 0x80n, c: 31n },                  { a: 0xffn, flags: C | P | S }, A | O],
  ['ROL AX,4 brings CF round',                       '66 c1 c0 04',       { a: 0x1234_9000n, flags: Z },         { a: 0x1234_0009n, flags: C | Z }, O],
  ['RCR EAX,1 takes CF in',                          'd1 d8',             { a: 1n, flags: C },                   { a: 0x8000_0000n, flags: C | O }],
  ['RCL AL,CL by 9 is a whole turn',                 'd2 d0',             { a: 0x5an, c: 9n, flags: C },         { flags: C }, O],
  ['SHLD RAX,RBX,8 fills from RBX',                  '48 0f a4 d8 08',    { a: 1n, b: 0xab00_0000_0000_0000n },  { a: 0x1abn, flags: 0 }, A | O],
  ['SHRD EAX,EBX,CL fills from EBX',                 '0f ad d8',          { a: 0x1fn, b: 5n, c: 4n },            { a: 0x5000_0001n, flags: C }, A | O],
  ['BT RAX,RBX takes the bit number modulo 64',      '48 0f a3 d8',       { a: 2n, b: 65n, flags: Z },           { flags: C | Z }, P | A | S | O],
  ['BSF RAX,RBX of nothing',                         '48 0f bc c3',       { a: 7n },                             { flags: Z }, C | P | A | S | O],
  ['BSR EAX,EBX finds the highest',                  '0f bd c3',          { a: MAX, b: 0x8001n },                { a: 15n, flags: 0 }, C | P | A | S | O],
  ['TZCNT RAX,RBX of nothing is the width',          'f3 48 0f bc c3',    {},                                    { a: 64n, flags: C }, P | A | S | O],
  ['LZCNT AX,BX of a full word is 0',                '66 f3 0f bd c3',    { a: 0xffffn, b: 0x8000n },            { a: 0n, flags: Z }, P | A | S | O],
  ['POPCNT RAX,RBX clears the other flags',          'f3 48 0f b8 c3',    { b: 0xf0f0n, flags: C | P | A | S | O }, { a: 8n, flags: 0 }],
  ['BEXTR takes start and length from RCX',          'c4 e2 f0 f7 c3',    { b: 0xabcdn, c: 0x0804n },            { a: 0xbcn, flags: 0 }, P | A | S],
  ['BZHI of no bit number clears nothing',           'c4 e2 f0 f5 c3',    { b: MAX, c: 64n },                    { a: MAX, flags: C | S }, P | A],
  ['BLSI keeps the lowest bit',                      'c4 e2 f8 f3 db',    { a: 0n, b: 0x28n },                   { b: 0x28n, a: 8n, flags: C }, P | A],
  ['ANDN RAX,RBX,RCX inverts RBX',                   'c4 e2 e0 f2 c1',    { b: 0xf0n, c: 0xffn },                { a: 0x0fn, flags: 0 }, P | A],
  ['MULX RAX,RBX,RCX leaves the flags',              'c4 e2 e3 f6 c1',    { c: 1n << 63n, d: 6n, flags: C },     { a: 3n, b: 0n, flags: C }],
  ['PDEP spreads bits over a mask',                  'c4 e2 e3 f5 c1',    { b: 0b1011n, c: 0xf0f0n },            { a: 0x00b0n }],
  ['PEXT gathers them again',                        'c4 e2 e2 f5 c1',    { b: 0x5ab7n, c: 0xf0f0n },            { a: 0x5bn }],
  ['RORX RAX,RBX,4',                                 'c4 e3 fb f0 c3 04', { b: 0x12n, flags: C },                { a: 0x2000_0000_0000_0001n, flags: C }],
  ['SARX RAX,RBX,RCX masks the count',               'c4 e2 f2 f7 c3',    { b: 0xfn << 60n, c: 0x44n },          { a: 0xffn << 56n }],
  ['ADCX carries through CF alone',                  '66 48 0f 38 f6 c3', { a: MAX, flags: C | O | Z },          { a: 0n, flags: C | O | Z }],
  ['ADOX carries through OF alone',                  'f3 48 0f 38 f6 c3', { a: MAX, b: 1n, flags: C },           { a: 0n, flags: C | O }],
  ['CRC32 of one byte',                              'f2 0f 38 f0 c3',    { a: 0xffff_ffffn, b: 0x61n },         { a: 0x3e2f_bccfn }],
  ['MOVSXD RAX,EBX',                                 '48 63 c3',          { b: 0x8000_0000n },                   { a: 0xffff_ffff_8000_0000n }],
  ['MOVZX EAX,BH',                                   '0f b6 c7',          { a: MAX, b: 0x1234n },                { a: 0x12n }],
  ['MOV AH,BL keeps the rest of RAX',                '88 dc',             { a: MAX, b: 0n },                     { a: MAX - 0xff00n }],
  ['BSWAP RAX',                                      '48 0f c8',          { a: 0x0102_0304_0506_0708n },         { a: 0x0807_0605_0403_0201n }],
  ['CBW',                                            '66 98',             { a: 0x1_0080n },                      { a: 0x1_ff80n }],
  ['CQO',                                            '48 99',             { a: 1n << 63n },                      { d: MAX }],
  ['LAHF shows bit 1 set',                           '9f',                { flags: C | Z | O },                  { a: 0x4300n }],
  ['SAHF leaves OF',                                 '9e',                { a: 0x8100n, flags: O | Z },          { flags: C | S | O }],
  ['CMOVC EAX,EBX clears the upper half anyway',     '0f 42 c3',          { a: MAX, b: 1n },                     { a: 0xffff_ffffn }],
  ['SETG AL after a greater',                        '0f 9f c0',          { flags: S | O },                      { a: 1n }],
  ['LEA AX,[RBX+RCX*4−1] truncates',                 '66 8d 44 8b ff',    { a: 0xaaaa_0000n, b: 0x1_0000n, c: 4n }, { a: 0xaaaa_000fn }],
  ['XCHG AL,AH',                                     '86 c4',             { a: 0x1234n },                        { a: 0x3412n }],
];

// biome-ignore format: a table
const IN_32_BIT_CODE: readonly Row[] = [
  ['DAA of 79H + 35H',           '27',     { a: 0xaen },                    { a: 0x14n, flags: C | P | A }, O],
  ['DAS of 35H − 47H',           '2f',     { a: 0xeen, flags: C | A | S },  { a: 0x88n, flags: C | P | A | S }, O],
  ['AAA carries into AH',        '37',     { a: 0x000fn },                  { a: 0x0105n, flags: C | A }, O | S | Z | P],
  ['AAS borrows from AH',        '3f',     { a: 0x02ffn },                  { a: 0x0109n, flags: C | A }, O | S | Z | P],
  ['AAM splits AL',              'd4 0a',  { a: 0x4fn },                    { a: 0x0709n, flags: P }, C | A | O],
  ['AAD joins AH and AL',        'd5 0a',  { a: 0x0709n },                  { a: 0x4fn, flags: 0 }, C | A | O],
];

function check(codeSize: 4 | 8, [, hex, before, after, undefinedFlags = 0]: Row): void {
  const { oracle, state } = new FlatMachine(codeSize).code(hex);
  const start = [before.a, before.c, before.d, before.b].map((value) => value ?? 0n);
  for (const [i, value] of start.entries()) state.gpr[i] = value;
  writeStatusFlags(state, BigInt(before.flags ?? 0));
  expect(oracle.run(1)).toEqual({ reason: 'slice' });
  const end = [after.a, after.c, after.d, after.b].map((value, i) => value ?? start[i]);
  expect([...state.gpr.slice(0, 4)]).toEqual(end);
  const flags = after.flags ?? before.flags ?? 0;
  expect(Number(readStatusFlags(state)) & ~undefinedFlags).toBe(flags & ~undefinedFlags);
}

const named = (rows: readonly Row[]) => rows.map((row) => ({ what: row[0], row }));

describe('an instruction', () => {
  it.each(named(IN_64_BIT_CODE))('$what', ({ row }) => check(8, row));
  it.each(named(IN_32_BIT_CODE))('$what', ({ row }) => check(4, row));
});
