import {
  DOUBLE,
  EXTENDED,
  type Float,
  INDEFINITE,
  isNan,
  pack,
  quieted,
  SINGLE,
  unpack,
} from '../float/format.ts';
import { FLAG, type Rounding, round, toInteger } from '../float/round.ts';
import type { Insn } from '../insn.ts';
import type { SystemFunction } from '../system/core.ts';
import { fromInteger } from './arithmetic.ts';
import { FSW } from './registers.ts';
import { computing, denormalsPass, register, special, type Unit } from './unit.ts';

const INDEFINITE_BITS = pack(EXTENDED, INDEFINITE);

/** FLD of a single or double: converted, so SNaNs and denormals are noticed. Nothing is left to fault on a denormal. */
function loadConverted(unit: Unit, insn: Insn): bigint | undefined {
  const x = unpack(insn.size === 4 ? SINGLE : DOUBLE, unit.load());
  if (!unit.isEmpty(7)) return INDEFINITE_BITS; // the push says so
  const known = special(unit, x);
  if (known === undefined) return undefined;
  denormalsPass(unit, x);
  return pack(EXTENDED, known === 'numbers' ? x : known);
}

const loadMemory = computing((unit, insn) => {
  const bits = insn.size === 10 ? unit.load(10) : loadConverted(unit, insn);
  if (bits !== undefined) unit.push(bits);
});

const loadRegister = computing((unit, insn) => {
  const from = register(insn, 0);
  if (!unit.isEmpty(from)) unit.push(unit.get(from));
  else if (unit.stackUnderflow()) unit.place(INDEFINITE_BITS);
});

const load: SystemFunction = (core, insn) =>
  (insn.operands[0]!.kind === 'mem' ? loadMemory : loadRegister)(core, insn);

const loadInteger = computing((unit, insn) => {
  const value = BigInt.asIntN(insn.size * 8, unit.load());
  unit.push(pack(EXTENDED, fromInteger(value)));
});

/** 18 decimal digits, two to a byte, and a sign. */
const loadDecimal = computing((unit) => {
  const bits = unit.load(10);
  let value = 0n;
  for (let i = 68n; i >= 0n; i -= 4n) value = value * 10n + ((bits >> i) & 15n);
  const sign = (bits >> 79n) & 1n;
  unit.push(pack(EXTENDED, fromInteger(value)) | (sign << 79n));
});

/** Stores what `convert` makes of ST(0), unless an unmasked exception leaves nothing. */
const storing = (
  pops: boolean,
  convert: (unit: Unit, x: Float, insn: Insn) => bigint | undefined,
  indefinite: (insn: Insn) => bigint,
): SystemFunction =>
  computing((unit, insn) => {
    const { fsw } = unit;
    unit.setConditions(0, FSW.C1);
    let bits: bigint | undefined;
    if (unit.isEmpty(0)) bits = unit.stackUnderflow() ? indefinite(insn) : undefined;
    else bits = convert(unit, unit.value(0), insn);
    if (bits === undefined) return;
    try {
      unit.store(bits);
    } catch (fault) {
      unit.fsw = fsw;
      throw fault;
    }
    if (pops) unit.pop();
  });

const formatOf = (insn: Insn) => (insn.size === 4 ? SINGLE : DOUBLE);

/** Vol. 2, "FST/FSTP—Store Floating-Point Value": rounded to the format, whatever precision control says. */
function converted(unit: Unit, x: Float, insn: Insn): bigint | undefined {
  if (insn.size === 10) return unit.get(0);
  const format = formatOf(insn);
  if (x.kind === 'unsupported') return unit.signal(FLAG.IE) ? pack(format, INDEFINITE) : undefined;
  if (x.kind === 'signaling' && !unit.signal(FLAG.IE)) return undefined;
  if (isNan(x)) return pack(format, quieted(x));
  const env = unit.environment(false);
  const result = round(env, format, x);
  // Unmasked overflow and underflow leave nothing to store, and no statement on exactness.
  const lost = unit.environment().wrapped!;
  const none =
    (lost.overflow && (env.flags & FLAG.OE) !== 0) ||
    (lost.underflow && (env.flags & FLAG.UE) !== 0);
  unit.signal(none ? env.flags & ~FLAG.PE : env.flags);
  if (none) return undefined;
  unit.setConditions(env.roundedUp ? FSW.C1 : 0, FSW.C1);
  return pack(format, result);
}

const store = (pops: boolean): SystemFunction => {
  const toMemory = storing(pops, converted, (insn) =>
    insn.size === 10 ? INDEFINITE_BITS : pack(formatOf(insn), INDEFINITE),
  );
  const toRegister = computing((unit, insn) => {
    unit.setConditions(0, FSW.C1);
    const to = register(insn, 0);
    if (!unit.isEmpty(0)) unit.set(to, unit.get(0));
    else if (unit.stackUnderflow()) unit.set(to, INDEFINITE_BITS);
    else return;
    if (pops) unit.pop();
  });
  return (core, insn) => (insn.operands[0]!.kind === 'mem' ? toMemory : toRegister)(core, insn);
};

/** D9 D8+i: FSTP that takes no offence at an empty ST(0), and then copies nothing. */
const storeUnchecked = computing((unit, insn) => {
  unit.setConditions(0, FSW.C1);
  if (!unit.isEmpty(0)) unit.set(register(insn, 0), unit.get(0));
  unit.pop();
});

/** A number as an integer between limits; undefined where the invalid exception is unmasked. */
function integerOf(unit: Unit, x: Float, rounding: Rounding, limits: readonly [bigint, bigint]) {
  const env = { ...unit.environment(), rounding };
  const value = toInteger(env, x);
  if (value === undefined || value < limits[0] || value > limits[1]) {
    return unit.signal(FLAG.IE) ? ('indefinite' as const) : undefined;
  }
  unit.signal(env.flags);
  unit.setConditions(env.roundedUp ? FSW.C1 : 0, FSW.C1);
  return value;
}

const storeInteger = (pops: boolean, truncates = false): SystemFunction => {
  const indefinite = (insn: Insn) => 1n << BigInt(insn.size * 8 - 1);
  return storing(
    pops,
    (unit, x, insn) => {
      const limit = indefinite(insn);
      const rounding = truncates ? 3 : unit.environment().rounding;
      const value = integerOf(unit, x, rounding, [-limit, limit - 1n]);
      return value === 'indefinite' ? limit : value && BigInt.asUintN(insn.size * 8, value);
    },
    indefinite,
  );
};

const DECIMAL_INDEFINITE = 0xffff_c000_0000_0000_0000n;
const MOST_DECIMAL = 10n ** 18n - 1n;

const storeDecimal = storing(
  true,
  (unit, x) => {
    const value = integerOf(unit, x, unit.environment().rounding, [-MOST_DECIMAL, MOST_DECIMAL]);
    if (value === undefined) return undefined;
    if (value === 'indefinite') return DECIMAL_INDEFINITE;
    const digits = BigInt(`0x${value < 0n ? -value : value}`);
    return digits | (x.negative ? 1n << 79n : 0n);
  },
  () => DECIMAL_INDEFINITE,
);

const exchange = computing((unit, insn) => {
  unit.setConditions(0, FSW.C1);
  const other = register(insn, 1);
  const empty = [0, other].filter((i) => unit.isEmpty(i));
  if (empty.length > 0) {
    if (!unit.stackUnderflow()) return;
    for (const i of empty) unit.set(i, INDEFINITE_BITS);
  }
  const bits = unit.get(0);
  unit.set(0, unit.get(other));
  unit.set(other, bits);
});

const CF = 1n;
const PF = 4n;
const ZF = 64n;

/** FCMOVcc on flags of the integer unit: any of `mask` set, or none. */
const moveIf = (mask: bigint, set: boolean): SystemFunction =>
  computing((unit, insn) => {
    const from = register(insn, 1);
    if (unit.isEmpty(0) || unit.isEmpty(from)) {
      if (unit.stackUnderflow()) unit.set(0, INDEFINITE_BITS);
    } else if (((unit.core.rflags & mask) !== 0n) === set) unit.set(0, unit.get(from));
  });

/** A constant rounded from 128 bits of significand, as RC wants it. Vol. 2, "FLD1/FLDL2T/…—Load Constant". */
const constant = (significand: bigint, exponent: number): SystemFunction =>
  computing((unit) => {
    const env = { ...unit.environment(false), flags: 0 };
    const exact: Float = {
      kind: 'finite',
      negative: false,
      significand,
      exponent,
      denormal: false,
    };
    unit.push(
      pack(EXTENDED, significand === 0n ? { ...exact, kind: 'zero' } : round(env, EXTENDED, exact)),
    );
  });

/** x87 loads, stores and moves, by mnemonic. */
// biome-ignore format: a table
export const X87_TRANSFER = {
  FLD: load,  FILD: loadInteger,  FBLD: loadDecimal,  FST: store(false),  FSTP: store(true),  FSTPNCE: storeUnchecked,
  FIST: storeInteger(false),  FISTP: storeInteger(true),  FISTTP: storeInteger(true, true),  FBSTP: storeDecimal,
  FXCH: exchange,
  FCMOVB: moveIf(CF, true),    FCMOVE: moveIf(ZF, true),    FCMOVBE: moveIf(CF | ZF, true),    FCMOVU: moveIf(PF, true),
  FCMOVNB: moveIf(CF, false),  FCMOVNE: moveIf(ZF, false),  FCMOVNBE: moveIf(CF | ZF, false),  FCMOVNU: moveIf(PF, false),
  FLD1:   constant(1n, 0),                                       FLDZ:   constant(0n, 0),
  FLDPI:  constant(0xc90f_daa2_2168_c234_c4c6_628b_80dc_1cd1n, -126),  // π
  FLDL2E: constant(0xb8aa_3b29_5c17_f0bb_be87_fed0_691d_3e88n, -127),  // log2 e
  FLDL2T: constant(0xd49a_784b_cd1b_8afe_492b_f6ff_4daf_db4cn, -126),  // log2 10
  FLDLG2: constant(0x9a20_9a84_fbcf_f798_8f89_59ac_0b7c_9178n, -129),  // log10 2
  FLDLN2: constant(0xb172_17f7_d1cf_79ab_c9e3_b398_03f2_f6afn, -128),  // ln 2
} as const;
