import { setImmediate } from 'node:timers/promises';
import type { Budget } from '../machine/budget.ts';
import { GuestConsole } from './guest-console.ts';
import { RunProgress } from './run-progress.ts';

/** Milliseconds between two looks at the outside world. */
const SLICE_MS = 50;
/** Instructions of the shortest slice, which is the first: nobody knows yet how fast the guest runs. */
const LEAST_SLICE = 1_000;
const LONGEST_SLICE = 1_000_000_000;
/** A guest that sleeps gets on faster than one that works: ticks of a slice for each of its instructions. */
const TICKS_PER_INSTRUCTION = 1_000;
const TICKS_PER_MS = 3_000_000;
/** Guest time of one slice, so that a guest that sleeps comes back, too; much less while somebody types. */
const SLICE_TICKS = { alone: 3_000_000_000n, typing: 60_000_000n } as const;

export type Signal = 'INTERRUPT' | 'TERMINATE';

/** What was typed, and when: with it a run can be repeated. */
export interface Typed {
  readonly ticks: bigint;
  readonly bytes: readonly number[];
}

/** What runs. */
export interface Running {
  readonly spent: { readonly instructions: bigint; readonly ticks: bigint };
  /** Whether only the budget stopped it. */
  advance(budget: Budget): boolean;
}

export interface SessionOptions {
  readonly budget: Budget;
  /** Takes what is typed where stdin is the guest's console; then guest time does not outrun the clock on the wall. */
  readonly type?: ((bytes: readonly number[]) => void) | undefined;
  readonly progress: boolean;
  /** Takes what the guest has written since the last time. */
  readonly output?: () => Uint8Array;
  /** Instructions at which somebody wants to be called. */
  readonly stopAt?: { readonly instructions: bigint; readonly call: () => void };
  /** After each slice. */
  readonly flush?: () => void;
}

export interface SessionEnd {
  /** The signal that ended the run, if one did; Ctrl-A x counts as Ctrl-C. */
  readonly signal: Signal | undefined;
  readonly typed: readonly Typed[];
  /** Whether the run came as far as `stopAt`. */
  readonly stopped: boolean;
}

const least = (...numbers: bigint[]): bigint => numbers.reduce((a, b) => (b < a ? b : a));

/** What takes about as long as a slice should, given that one of so many instructions took so many milliseconds. */
function nextSlice(slice: number, took: number): number {
  if (took < SLICE_MS / 2) return Math.min(slice * 2, LONGEST_SLICE);
  if (took < SLICE_MS * 2) return slice;
  return Math.max(LEAST_SLICE, Math.floor((slice * SLICE_MS) / took));
}

/**
 * Runs a guest to its end or its budget in slices, between which output flows, input and signals arrive. How long the
 * slices are follows the clock on the wall and changes nothing of the run. A second signal ends the process at once.
 */
export async function session(run: Running, options: SessionOptions): Promise<SessionEnd> {
  const { budget, type, flush, output, stopAt } = options;
  const progress = new RunProgress(options.progress && !type);
  let signal: Signal | undefined;
  const interrupt = () => {
    signal = 'INTERRUPT';
  };
  const terminate = () => {
    signal = 'TERMINATE';
  };
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', terminate);
  const console = type ? new GuestConsole({ onQuit: interrupt }) : undefined;
  const typed: Typed[] = [];
  const { maxInstructions = 2n ** 62n, maxTicks = 2n ** 62n } = budget;
  const sliceTicks = type ? SLICE_TICKS.typing : SLICE_TICKS.alone;
  let slice = LEAST_SLICE;
  let pendingStop = stopAt;
  // Guest time and wall time as of the last moment at which they were level.
  let level = { ticks: run.spent.ticks, at: performance.now() };
  try {
    for (;;) {
      const { instructions, ticks } = run.spent;
      const stop = pendingStop?.instructions ?? maxInstructions;
      const started = performance.now();
      const goesOn = run.advance({
        maxInstructions: least(maxInstructions, stop, instructions + BigInt(slice)),
        maxTicks: least(
          maxTicks,
          ticks + sliceTicks,
          ticks + BigInt(slice * TICKS_PER_INSTRUCTION),
        ),
      });
      slice = nextSlice(slice, performance.now() - started);
      const now = run.spent;
      const written = output?.();
      if (written && written.length > 0) {
        progress.clear();
        process.stdout.write(written);
      }
      flush?.();
      progress.show(now.instructions, now.ticks);
      if (pendingStop && now.instructions >= pendingStop.instructions) {
        pendingStop.call();
        pendingStop = undefined;
      }
      if (!goesOn || now.instructions >= maxInstructions || now.ticks >= maxTicks) break;
      await setImmediate();
      if (console) {
        const ahead =
          Number(now.ticks - level.ticks) / TICKS_PER_MS - (performance.now() - level.at);
        if (ahead > 1) await console.idle(ahead);
        else level = { ticks: now.ticks, at: performance.now() };
        const bytes = console.take();
        if (bytes.length > 0) {
          type?.(bytes);
          typed.push({ ticks: now.ticks, bytes });
        }
      }
      if (signal !== undefined) break;
    }
    return { signal, typed, stopped: stopAt !== undefined && pendingStop === undefined };
  } finally {
    progress.clear();
    console?.close();
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', terminate);
  }
}
