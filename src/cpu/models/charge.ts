import { FunctionWriter } from '../engines/wasm/assembler/function-writer.ts';
import { STATE, TOTALS, type Total } from '../state/layout.ts';
import { MOST_CYCLES } from './costs.ts';
import type { Push } from './predictor.ts';

/** How an instruction was predicted, as far as it is counted. */
export const WRONG = { NO: 0, OTHER: 1, CONDITIONAL: 2 } as const;

/** Writes code that adds to a total of the CPU whose state block lies at `base`. */
export function addTotal(f: FunctionWriter, base: number, total: Total, push: Push): void {
  const at = base + STATE.TOTALS + 8 * TOTALS.indexOf(total);
  f.i32(0).i32(0).memory('i64.load', at);
  push();
  f.op('i64.add').memory('i64.store', at);
}

/** Writes code that adds 1 to a total. */
export const countOne = (f: FunctionWriter, base: number, total: Total): void =>
  addTotal(f, base, total, () => f.i64(1));

/**
 * (cycles of the fetch, one of `WRONG`, cycles of data accesses, cycles of execution, 1 if an instruction retires):
 * distributes what an instruction takes beside the cycle it retires in. The latest causes lose what exceeds the most.
 */
export function charge(base: number, mispredict: number): FunctionWriter {
  const f = new FunctionWriter(['i32', 'i32', 'i32', 'i32', 'i32'], []);
  const [fetch, wrong, memory, execution, retires] = [0, 1, 2, 3, 4];
  const left = f.local('i32');
  /** Takes a part of what is left. */
  const share = (part: number) => {
    f.get(part).get(left).get(part).get(left).op('i32.lt_u', 'select').set(part);
    f.get(left).get(part).op('i32.sub').set(left);
  };
  const add = (total: Total, part: number) =>
    addTotal(f, base, total, () => f.get(part).op('i64.extend_i32_u'));

  f.get(wrong).if(undefined, () => {
    countOne(f, base, 'mispredictedBranches');
    f.get(wrong).i32(WRONG.CONDITIONAL).op('i32.eq');
    f.if(undefined, () => countOne(f, base, 'mispredictedConditional'));
    f.i32(mispredict).set(wrong);
  });
  f.i32(MOST_CYCLES).get(retires).op('i32.sub').set(left);
  for (const part of [fetch, wrong, memory, execution]) share(part);
  add('slotsFrontEnd', fetch);
  add('slotsBadSpeculation', wrong);
  add('slotsMemoryBound', memory);
  f.get(memory).get(execution).op('i32.add').set(execution);
  add('slotsBackEnd', execution);
  f.i32(MOST_CYCLES).get(retires).op('i32.sub').get(left).op('i32.sub').set(left);
  add('cycles', left);
  add('slots', left);
  return f;
}
