import { FunctionWriter } from './assembler/function-writer.ts';
import { RUNTIME_FUNCTIONS } from './runtime-functions.ts';

const HIGH = 0;
const LOW = 1;
const DIVISOR = 2;
const HALF = 0xffff_ffff;

/** (high, low, divisor) → quotient, remainder, whether the quotient fits; by halves, as in Knuth's algorithm D. */
export function divideUnsigned(): FunctionWriter {
  const f = new FunctionWriter(...RUNTIME_FUNCTIONS.divideUnsigned);
  const [shift, top, bottom, estimate, rest, quotient] = Array.from({ length: 6 }, () =>
    f.local('i64'),
  ) as [number, number, number, number, number, number];

  f.get(HIGH)
    .op('i64.eqz')
    .if(undefined, () => {
      f.get(LOW)
        .get(DIVISOR)
        .op('i64.div_u')
        .get(LOW)
        .get(DIVISOR)
        .op('i64.rem_u')
        .i32(1)
        .op('return');
    });
  f.get(HIGH)
    .get(DIVISOR)
    .op('i64.ge_u')
    .if(undefined, () => {
      f.i64(0).i64(0).i32(0).op('return');
    });

  // Normalise: the divisor's top bit set.
  f.get(DIVISOR).op('i64.clz').set(shift);
  f.get(DIVISOR).get(shift).op('i64.shl').set(DIVISOR);
  f.get(HIGH).get(shift).op('i64.shl');
  f.get(LOW)
    .i64(1)
    .op('i64.shr_u')
    .i64(63)
    .get(shift)
    .op('i64.sub', 'i64.shr_u', 'i64.or')
    .set(HIGH);
  f.get(LOW).get(shift).op('i64.shl').set(LOW);
  f.get(DIVISOR).i64(32).op('i64.shr_u').set(top);
  f.get(DIVISOR).i64(HALF).op('i64.and').set(bottom);

  /** One digit of the quotient: HIGH·2^32 plus the digit on the stack, divided; the rest becomes HIGH. */
  const digit = (pushDigit: () => void) => {
    f.get(HIGH).get(top).op('i64.div_u').set(estimate);
    f.get(HIGH).get(estimate).get(top).op('i64.mul', 'i64.sub').set(rest);
    f.block((good) => {
      f.loop((again) => {
        f.block((tooLarge) => {
          f.get(estimate).i64(HALF).op('i64.gt_u').branchIf(tooLarge);
          f.get(estimate).get(bottom).op('i64.mul').get(rest).i64(32).op('i64.shl');
          pushDigit();
          f.op('i64.or', 'i64.le_u').branchIf(good);
        });
        f.get(estimate).i64(1).op('i64.sub').set(estimate);
        f.get(rest).get(top).op('i64.add').tee(rest).i64(HALF).op('i64.le_u').branchIf(again);
      });
    });
    f.get(HIGH).i64(32).op('i64.shl');
    pushDigit();
    f.op('i64.or').get(estimate).get(DIVISOR).op('i64.mul', 'i64.sub').set(HIGH);
  };
  digit(() => f.get(LOW).i64(32).op('i64.shr_u'));
  f.get(estimate).i64(32).op('i64.shl').set(quotient);
  digit(() => f.get(LOW).i64(HALF).op('i64.and'));
  f.get(quotient).get(estimate).op('i64.or').get(HIGH).get(shift).op('i64.shr_u').i32(1);
  return f;
}

/** The same for signed numbers, by magnitudes. */
export function divideSigned(unsigned: number): FunctionWriter {
  const f = new FunctionWriter(...RUNTIME_FUNCTIONS.divideSigned);
  const negativeDividend = f.local('i64');
  const negativeQuotient = f.local('i64');
  const quotient = f.local('i64');
  const remainder = f.local('i64');
  const fits = f.local('i32');
  /** (value ^ sign) - sign: negates where sign is -1. */
  const negateIf = (value: number, sign: number) =>
    f.get(value).get(sign).op('i64.xor').get(sign).op('i64.sub');

  f.get(HIGH).i64(63).op('i64.shr_s').set(negativeDividend);
  f.get(HIGH).get(DIVISOR).op('i64.xor').i64(63).op('i64.shr_s').set(negativeQuotient);
  // The 128-bit negation carries into the high half where the low one is 0.
  f.get(HIGH).get(negativeDividend).op('i64.xor');
  f.get(LOW).op('i64.eqz', 'i64.extend_i32_u').get(negativeDividend).op('i64.and', 'i64.add');
  negateIf(LOW, negativeDividend);
  f.get(DIVISOR).get(DIVISOR).i64(63).op('i64.shr_s', 'i64.xor');
  f.get(DIVISOR).i64(63).op('i64.shr_s', 'i64.sub');
  f.call(unsigned).set(fits).set(remainder).set(quotient);
  // A magnitude of 2^63 fits only if it is negated.
  f.get(fits)
    .get(quotient)
    .i64((1n << 63n) - 1n)
    .get(negativeQuotient)
    .op('i64.sub', 'i64.le_u', 'i32.and')
    .set(fits);
  negateIf(quotient, negativeQuotient);
  negateIf(remainder, negativeDividend);
  f.get(fits);
  return f;
}
