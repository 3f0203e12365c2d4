import { setImmediate } from 'node:timers/promises';
import type { GuestRun } from '../lab/compare.ts';

/** Instructions between two looks at the outside world: well under half a second. */
const SLICE = 5_000_000n;

/**
 * Runs a guest to its end or its budget, letting output flow and signals arrive on the way. Answers which signal ended
 * it, if one did; a second one ends the process at once.
 */
export async function inSlices(
  run: GuestRun,
  maxInstructions: bigint,
  afterSlice: () => void,
): Promise<'INTERRUPT' | 'TERMINATE' | undefined> {
  let signal: 'INTERRUPT' | 'TERMINATE' | undefined;
  const interrupt = () => {
    signal = 'INTERRUPT';
  };
  const terminate = () => {
    signal = 'TERMINATE';
  };
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', terminate);
  try {
    for (let until = 0n; signal === undefined && until < maxInstructions; ) {
      until = until + SLICE < maxInstructions ? until + SLICE : maxInstructions;
      const goesOn = run.advance({ maxInstructions: until });
      afterSlice();
      if (!goesOn) return undefined;
      await setImmediate();
    }
    return signal;
  } finally {
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', terminate);
  }
}
