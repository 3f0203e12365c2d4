import { INTERPRETER, STATE, TOTALS, type Total } from '../../state/layout.ts';
import { FunctionWriter } from './assembler/function-writer.ts';
import { BRANCH_TOTALS } from './branch-class.ts';

const offsetOf = (total: Total): number => STATE.TOTALS + 8 * TOTALS.indexOf(total);

/**
 * Adds to the totals what has retired since the last time: ticks are what is gone of the fuel, instructions are ticks
 * that were no further REP iteration, branches stand in the counters of their classes.
 */
export function settle(base: number): FunctionWriter {
  const f = new FunctionWriter([], []);
  const ticks = f.local('i64');
  const count = f.local('i64');
  const load = (offset: number) => f.i32(0).memory('i64.load', base + offset);
  const store = (offset: number, push: () => void) => {
    f.i32(0);
    push();
    f.memory('i64.store', base + offset);
  };
  const add = (total: Total, local: number) =>
    store(offsetOf(total), () => load(offsetOf(total)).get(local).op('i64.add'));

  load(STATE.FUEL_START);
  load(STATE.FUEL).op('i64.sub').set(ticks);
  store(STATE.FUEL_START, () => load(STATE.FUEL));
  add('ticks', ticks);
  add('unhaltedTicks', ticks);
  // Each takes a cycle, and a slot in which it retires; what takes more is charged as it happens (models/charge.ts).
  f.i32(0).memory('i32.load', base + INTERPRETER.OBSERVED);
  f.if(undefined, () => {
    for (const total of ['cycles', 'slots', 'slotsRetiring'] as const) add(total, ticks);
  });
  load(INTERPRETER.ITERATIONS).set(count);
  store(INTERPRETER.ITERATIONS, () => f.i64(0));
  add('repIterations', count);
  f.get(ticks).get(count).op('i64.sub').set(ticks);
  add('instructions', ticks);
  for (const [branchClass, totals] of BRANCH_TOTALS.entries()) {
    const at = INTERPRETER.BRANCHES + 8 * branchClass;
    load(at)
      .tee(count)
      .op('i64.eqz', 'i32.eqz')
      .if(undefined, () => {
        for (const total of totals) add(total, count);
        store(at, () => f.i64(0));
      });
  }
  return f;
}
