import { compare } from '../float/arithmetic.ts';
import { type Float, isNan, zero } from '../float/format.ts';
import { FLAG } from '../float/round.ts';
import type { Insn } from '../insn.ts';
import type { SystemFunction } from '../system/core.ts';
import { memoryValue } from './arithmetic.ts';
import { FSW } from './registers.ts';
import { computing, denormalsPass, register, type Unit } from './unit.ts';

type Relation = 'less' | 'equal' | 'greater' | 'unordered';

/** C3, C2 and C0, and ZF, PF and CF, are the same three bits. */
const UNORDERED = FSW.C3 | FSW.C2 | FSW.C0;
const CODES: Readonly<Record<Relation, number>> = {
  less: FSW.C0,
  equal: FSW.C3,
  greater: 0,
  unordered: UNORDERED,
};
const STATUS: Readonly<Record<Relation, bigint>> = {
  less: 1n,
  equal: 64n,
  greater: 0n,
  unordered: 69n,
};
const STATUS_FLAGS = 0x8d5n;

const ORDER = { '-1': 'less', 0: 'equal', 1: 'greater' } as const;

/** How two numbers stand, and whether the exceptions of that are masked. Quiet NaNs signal unless told. */
function relation(unit: Unit, a: Float, b: Float, quiet: boolean): readonly [Relation, boolean] {
  const operands = [a, b];
  const unsupported = operands.some(({ kind }) => kind === 'unsupported');
  if (unsupported || operands.some(isNan)) {
    const invalid = unsupported || !quiet || operands.some(({ kind }) => kind === 'signaling');
    return ['unordered', !invalid || unit.signal(FLAG.IE)];
  }
  const masked = denormalsPass(unit, a, b);
  return [ORDER[compare(a, b)], masked];
}

interface Comparison {
  /** Only signaling NaNs are invalid. */
  readonly quiet?: boolean;
  readonly pops?: 0 | 1 | 2;
  readonly integer?: boolean;
  /** Into the status flags. */
  readonly flags?: boolean;
}

/** What ST(0) is compared with; undefined if that is empty. */
function other(unit: Unit, insn: Insn, integer: boolean): Float | undefined {
  if (insn.operands[0]?.kind === 'mem') return memoryValue(unit, insn, integer);
  const i = insn.operands.length === 0 ? 1 : register(insn, 1);
  return unit.isEmpty(i) ? undefined : unit.value(i);
}

const comparing = ({
  quiet = false,
  pops = 0,
  integer = false,
  flags = false,
}: Comparison): SystemFunction =>
  computing((unit, insn) => {
    const b = other(unit, insn, integer);
    if (!flags) unit.setConditions(0, FSW.C1);
    const [found, masked] =
      unit.isEmpty(0) || !b
        ? (['unordered', unit.stackUnderflow()] as const)
        : relation(unit, unit.value(0), b, quiet);
    if (flags) unit.core.rflags = (unit.core.rflags & ~STATUS_FLAGS) | STATUS[found];
    else unit.setConditions(CODES[found], UNORDERED);
    // The codes are set in any case, but nothing leaves the stack before the exception is handled.
    for (let i = 0; masked && i < pops; i++) unit.pop();
  });

const test = computing((unit) => {
  unit.setConditions(0, FSW.C1);
  let found: Relation = 'unordered';
  if (unit.isEmpty(0)) unit.stackUnderflow();
  else [found] = relation(unit, unit.value(0), zero(), false);
  unit.setConditions(CODES[found], UNORDERED);
});

/** Vol. 2, "FXAM—Examine Floating-Point". */
const CLASSES: Readonly<Record<Float['kind'], number>> = {
  unsupported: 0,
  quiet: FSW.C0,
  signaling: FSW.C0,
  finite: FSW.C2,
  infinity: FSW.C2 | FSW.C0,
  zero: FSW.C3,
};
const EMPTY = FSW.C3 | FSW.C0;
const DENORMAL = FSW.C3 | FSW.C2;

const examine = computing((unit) => {
  const x = unit.value(0);
  const named = unit.isEmpty(0) ? EMPTY : x.denormal ? DENORMAL : CLASSES[x.kind];
  unit.setConditions(named | (x.negative ? FSW.C1 : 0));
});

/** x87 comparisons, by mnemonic. */
// biome-ignore format: a table
export const X87_COMPARE = {
  FCOM: comparing({}),             FCOMP: comparing({ pops: 1 }),              FCOMPP: comparing({ pops: 2 }),
  FUCOM: comparing({ quiet: true }), FUCOMP: comparing({ quiet: true, pops: 1 }), FUCOMPP: comparing({ quiet: true, pops: 2 }),
  FICOM: comparing({ integer: true }), FICOMP: comparing({ integer: true, pops: 1 }),
  FCOMI: comparing({ flags: true }),   FCOMIP: comparing({ flags: true, pops: 1 }),
  FUCOMI: comparing({ flags: true, quiet: true }), FUCOMIP: comparing({ flags: true, quiet: true, pops: 1 }),
  FTST: test,  FXAM: examine,
} as const;
