import { CC, type Emit, type IntegerSize, RDX } from '../emit.ts';
import { gpr, read, readForWrite, type Semantics, sourceWidth, width, write } from './operand.ts';

const andNot: Semantics = (e, insn) => {
  const n = width(insn);
  const inverted = e.bin('xor', n, read(e, insn, 1), e.const(n, -1));
  const result = e.bin('and', n, inverted, read(e, insn, 2));
  write(e, insn, 0, result);
  e.flags('LOGIC', n, result);
};

/** BLSR, BLSMSK, BLSI: about the lowest set bit. CF says whether there is none; of BLSI, whether there is one. */
const lowestBit =
  (result: <V, C>(e: Emit<V, C>, n: IntegerSize, a: V) => V, carryIfZero: boolean): Semantics =>
  (e, insn) => {
    const n = width(insn);
    const a = read(e, insn, 1);
    const none = e.isZero(n, a);
    const r = result(e, n, a);
    write(e, insn, 0, r);
    e.flags('RESULT', n, r, e.truth(carryIfZero ? none : e.not(none)));
  };

const decrement = <V, C>(e: Emit<V, C>, n: IntegerSize, a: V): V =>
  e.bin('sub', n, a, e.const(n, 1));

/** The low `count` bits of `a`; all of them where `count` is no bit number. */
function lowBits<V, C>(e: Emit<V, C>, n: IntegerSize, a: V, count: V): { bits: V; some: C } {
  const some = e.below(1, count, e.const(1, n * 8));
  const place = e.select(1, some, count, e.const(1, 0));
  const mask = decrement(e, n, e.shift('shl', n, e.const(n, 1), place));
  return { bits: e.select(n, some, e.bin('and', n, a, mask), a), some };
}

/** Bits from `start` on, `length` of them. */
const extractBits: Semantics = (e, insn) => {
  const n = width(insn);
  const control = read(e, insn, 2);
  const start = e.low(1, control);
  const length = e.low(1, e.shift('shr', n, control, e.const(1, 8)));
  const inside = e.below(1, start, e.const(1, n * 8));
  const shifted = e.shift('shr', n, read(e, insn, 1), e.select(1, inside, start, e.const(1, 0)));
  const result = lowBits(e, n, e.select(n, inside, shifted, e.const(n, 0)), length).bits;
  write(e, insn, 0, result);
  e.flags('LOGIC', n, result);
};

/** CF says that the count was too large to clear anything. */
const zeroHighBits: Semantics = (e, insn) => {
  const n = width(insn);
  const { bits, some } = lowBits(e, n, read(e, insn, 1), e.low(1, read(e, insn, 2)));
  write(e, insn, 0, bits);
  e.flags('RESULT', n, bits, e.truth(e.not(some)));
};

/** SHLX, SHRX, SARX, RORX: no flags. */
const shiftAlone =
  (op: 'shl' | 'shr' | 'sar' | 'ror'): Semantics =>
  (e, insn) => {
    const n = width(insn);
    const count = e.bin('and', 1, e.low(1, read(e, insn, 2)), e.const(1, n * 8 - 1));
    write(e, insn, 0, e.shift(op, n, read(e, insn, 1), count));
  };

/** rDX times the source: low half to the second operand, high half to the first, which wins. */
const multiplyAlone: Semantics = (e, insn) => {
  const n = width(insn);
  const a = e.reg(n, RDX);
  const b = read(e, insn, 2);
  const high = e.mulHigh(n, false, a, b);
  write(e, insn, 1, e.bin('mul', n, a, b));
  write(e, insn, 0, high);
};

/** PDEP, PEXT. */
const scatter =
  (name: 'PDEP' | 'PEXT'): Semantics =>
  (e, insn) => {
    const size = width(insn);
    const mask = read(e, insn, 2);
    const source = read(e, insn, 1);
    const args = [source, mask].map((value) => ({ size, value }));
    write(e, insn, 0, e.assist(name, [size], args)[0]!);
  };

/** ADCX, ADOX: a carry chain through one flag, the others stay. */
const addThrough =
  (code: number, position: number): Semantics =>
  (e, insn) => {
    const n = width(insn);
    const carry = e.cond(code);
    const b = read(e, insn, 1);
    const a = readForWrite(e, insn);
    const sum = e.bin('add', n, e.bin('add', n, a, b), e.truth(carry));
    const out = e.truth(e.either(e.below(n, sum, a), e.both(carry, e.equal(n, sum, a))));
    const others = e.bin('and', 4, e.statusFlags(), e.const(4, 0x8d5 & ~(1 << position)));
    e.setReg(n, gpr(insn, 0), sum);
    e.flags('RAW', 4, e.bin('or', 4, others, e.shift('shl', 4, out, e.const(1, position))));
  };

const crc32: Semantics = (e, insn) => {
  const size = sourceWidth(insn);
  const source = { size, value: read(e, insn, 1, size) };
  const crc = { size: 4, value: e.reg(4, gpr(insn, 0)) } as const;
  const bytes = { size: 1, value: e.const(1, size) } as const;
  e.setReg(8, gpr(insn, 0), e.assist('CRC32', [4], [crc, source, bytes])[0]!);
};

// biome-ignore format: a table
export const BMI = {
  ANDN: andNot,             BEXTR: extractBits,       BZHI: zeroHighBits,
  BLSR: lowestBit((e, n, a) => e.bin('and', n, a, decrement(e, n, a)), true),
  BLSMSK: lowestBit((e, n, a) => e.bin('xor', n, a, decrement(e, n, a)), true),
  BLSI: lowestBit((e, n, a) => e.bin('and', n, a, e.bin('sub', n, e.const(n, 0), a)), false),
  SHLX: shiftAlone('shl'),  SHRX: shiftAlone('shr'),  SARX: shiftAlone('sar'),  RORX: shiftAlone('ror'),
  MULX: multiplyAlone,      PDEP: scatter('PDEP'),    PEXT: scatter('PEXT'),
  ADCX: addThrough(CC.B, 0),  ADOX: addThrough(CC.O, 11),
  CRC32: crc32,
} satisfies Record<string, Semantics>;
