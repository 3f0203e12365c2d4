import { describe, expect, it } from 'vitest';
import { STATE } from '../../../src/cpu/state/layout.ts';
import { FlatMachine } from '../flat-machine.ts';

const CR4_SSE = 0x600n; // OSFXSR OSXMMEXCPT

/** A machine that may use SSE. */
function machine(): FlatMachine {
  const it = new FlatMachine();
  it.state.set(STATE.CR4, CR4_SSE);
  it.state.set32(STATE.MXCSR, 0x1f80);
  return it;
}

const set = ({ state }: FlatMachine, register: number, value: bigint) => {
  state.set(STATE.XMM + 32 * register, value & 0xffff_ffff_ffff_ffffn);
  state.set(STATE.XMM + 32 * register + 8, value >> 64n);
};
const get = ({ state }: FlatMachine, register: number) =>
  state.get(STATE.XMM + 32 * register) | (state.get(STATE.XMM + 32 * register + 8) << 64n);

/** Bytes as they stand in memory, lowest first. */
const bytes = (hex: string) => BigInt(`0x${hex.match(/../g)!.reverse().join('')}`);

/** XMM0 after one instruction on XMM0, XMM1 and XMM2. */
function result(code: string, ...values: readonly bigint[]): bigint {
  const it = machine().code(code);
  for (const [i, value] of values.entries()) set(it, i, value);
  expect(it.oracle.step()).toBeUndefined();
  return get(it, 0);
}

describe('AES', () => {
  // FIPS 197, appendix B: the first round of the example.
  it('AESENC is one round of the cipher', () => {
    const state = bytes('193de3bea0f4e22b9ac68d2ae9f84808');
    const key = bytes('a0fafe1788542cb123a339392a6c7605');
    expect(result('66 0f 38 dc c1', state, key)).toBe(bytes('a49c7ff2689f352b6b5bea43026a5049'));
  });

  it('AESDECLAST undoes AESENCLAST', () => {
    const state = 0x0011_2233_4455_6677_8899_aabb_ccdd_eeffn;
    const there = result('66 0f 38 dd c1', state, 0n);
    expect(result('66 0f 38 df c1', there, 0n)).toBe(state);
  });

  it('AESKEYGENASSIST with round constant 1 makes the second key of FIPS 197', () => {
    const key = bytes('2b7e151628aed2a6abf7158809cf4f3c');
    const assist = result('66 0f 3a df c1 01', 0n, key);
    // RotWord(SubWord(w3)) XOR Rcon stands in the top doubleword.
    expect(assist >> 96n).toBe(0x01eb_848bn);
  });
});

describe('PCLMULQDQ', () => {
  it('multiplies without carries', () => {
    expect(result('66 0f 3a 44 c1 00', 3n, 3n)).toBe(5n);
    expect(result('66 0f 3a 44 c1 11', 1n << 127n, 1n << 127n)).toBe(1n << 126n);
  });
});

describe('SHA', () => {
  it('SHA256RNDS2 makes two rounds', () => {
    // The initial hash value of FIPS 180 and the first two words of "abc", constants added.
    const [a, b, c, d] = [0x6a09e667n, 0xbb67ae85n, 0x3c6ef372n, 0xa54ff53an];
    const [e, f, g, h] = [0x510e527fn, 0x9b05688cn, 0x1f83d9abn, 0x5be0cd19n];
    const quad = (x: bigint, y: bigint, z: bigint, w: bigint) =>
      (x << 96n) | (y << 64n) | (z << 32n) | w;
    const k = ((0x71374491n + 0n) << 32n) | ((0x428a2f98n + 0x61626380n) & 0xffff_ffffn);
    const it = machine().code('0f 38 cb d1'); // XMM2 := f(XMM2, XMM1, XMM0)
    set(it, 0, k);
    set(it, 1, quad(a!, b!, e!, f!));
    set(it, 2, quad(c!, d!, g!, h!));
    it.oracle.step();
    // A, B, E, F after round 1 (0-based) of the example in FIPS 180-2.
    expect(get(it, 2)).toBe(quad(0x5a6ad9adn, 0x5d6aebcdn, 0x78ce7989n, 0xfa2a4622n));
  });
});

describe('packed integers', () => {
  it.each([
    ['PADDSB saturates', '66 0f ec c1', 0x7f80n, 0x0180n, 0x7f80n],
    ['PADDUSB saturates', '66 0f dc c1', 0xffn, 0x02n, 0xffn],
    ['PMULHW keeps the high half', '66 0f e5 c1', 0x8000n, 0x8000n, 0x4000n],
    ['PMADDWD adds products', '66 0f f5 c1', 0x0002_0003n, 0x0004_0005n, 23n],
    ['PSADBW sums differences', '66 0f f6 c1', 0x05ffn, 0x0a00n, 0x104n],
    [
      'PSHUFB with the top bit set clears',
      '66 0f 38 00 c1',
      0xaabbn,
      0x8000_0001n,
      0xbbbb_bbbb_bbbb_bbbb_bbbb_bbbb_00bb_bbaan,
    ],
    ['PSRAW by more than 15 leaves signs', '66 0f e1 c1', 0x8000_7fffn, 99n, 0xffff_0000n],
    ['PSLLDQ moves bytes', '66 0f 73 f8 03', 0x11n, 0n, 0x1100_0000n],
  ])('%s', (_name, code, a, b, expected) => expect(result(code, a, b)).toBe(expected));
});

describe('floating point', () => {
  const one = 0x3f80_0000n;

  it.each([
    ['1 + 2^-24 is inexact', 'f3 0f 58 c1', one, 0x3380_0000n, one, 0x1fa0],
    ['1 / 0 divides by zero', 'f3 0f 5e c1', one, 0n, 0x7f80_0000n, 0x1f84],
    ['0 / 0 is invalid', 'f3 0f 5e c1', 0n, 0n, 0xffc0_0000n, 0x1f81],
    ['a signaling NaN becomes quiet', 'f3 0f 58 c1', 0x7f80_0001n, one, 0x7fc0_0001n, 0x1f81],
    ['a denormal is noticed', 'f3 0f 59 c1', one, 1n, 1n, 0x1f82],
    ['MINSS of a NaN is its source', 'f3 0f 5d c1', 0x7fc0_0000n, one, one, 0x1f81],
    ['RCPSS has twelve good bits', 'f3 0f 53 c1', 0n, 0x4040_0000n, 0x3eaa_a000n, 0x1f80],
    ['-0.5 rounds to -0', '66 0f 3a 0a c1 00', 0n, 0xbf00_0000n, 0x8000_0000n, 0x1fa0],
  ])('%s', (_name, code, a, b, result, mxcsr) => {
    const it = machine().code(code);
    set(it, 0, a);
    set(it, 1, b);
    expect(it.oracle.step()).toBeUndefined();
    expect(get(it, 0) & 0xffff_ffffn).toBe(result);
    expect(it.state.get32(STATE.MXCSR)).toBe(mxcsr);
  });

  it('an unmasked exception leaves the destination and sets its flag', () => {
    const it = machine().code('f3 0f 5e c1');
    it.state.set32(STATE.MXCSR, 0x1d80); // ZM clear
    set(it, 0, one);
    expect(it.oracle.step()).toMatchObject({ reason: 'fault', fault: { exception: '#XM' } });
    expect(get(it, 0)).toBe(one);
    expect(it.state.get32(STATE.MXCSR)).toBe(0x1d84);
  });

  it.each([
    ['CR0.EM', STATE.CR0, 0x15n, '#UD'],
    ['CR0.TS', STATE.CR0, 0x19n, '#NM'],
    ['no CR4.OSFXSR', STATE.CR4, 0n, '#UD'],
  ] as const)('%s makes SSE fault with %s', (_name, field, value, exception) => {
    const it = machine().code('0f 58 c1');
    it.state.set(field, value);
    expect(it.oracle.step()).toMatchObject({ fault: { exception } });
  });
});

describe('string comparison', () => {
  const text = (s: string) => bytes(Buffer.from(s.padEnd(16, '\0')).toString('hex'));

  it('PCMPISTRI finds the first of a set', () => {
    const it = machine().code('66 0f 3a 63 c1 00'); // equal any, least significant index
    set(it, 0, text('xyz'));
    set(it, 1, text('abcyz'));
    it.oracle.step();
    expect(it.state.gpr[1]).toBe(3n);
    expect(it.core.rflags & 0x8d5n).toBe(0xc1n); // CF: found; ZF, SF: both end before 16
  });

  it('PCMPISTRI finds a substring', () => {
    const it = machine().code('66 0f 3a 63 c1 0c'); // equal ordered
    set(it, 0, text('needle'));
    set(it, 1, text('hayneedlestack'));
    it.oracle.step();
    expect(it.state.gpr[1]).toBe(3n);
  });
});

it('an MMX instruction makes all x87 registers valid, EMMS empty', () => {
  const it = machine().code('0f fc c1 0f 77');
  it.state.view.setUint16(it.state.base + STATE.FSW, 0x3800, true);
  it.oracle.step();
  expect(it.state.get32(STATE.FTW) & 0xff).toBe(0xff);
  expect(it.state.get32(STATE.FCW) >>> 16).toBe(0);
  it.oracle.step();
  expect(it.state.get32(STATE.FTW) & 0xffff).toBe(0);
});
