import type { BareTrace } from '../bare-chamber.ts';
import { type FuzzCase, isAccess } from '../case.ts';
import { atStep, type Violation } from '../finding.ts';
import { channelOf } from '../leaks/channel-of.ts';
import { placeOf, type RegisterClass } from '../registers.ts';
import type { StepTrace, Trace } from '../trace.ts';
import { msrVerdict } from './access-rules.ts';
import { counterOf, inexactCounters } from './counters.ts';
import { RIGHTS } from './rights.ts';
import { guestShape, hostShape } from './shapes.ts';

/** Registers that a virtual PMU promises to be like those of a processor. */
const PROMISED: ReadonlySet<RegisterClass> = new Set([
  ...(['PMC', 'A_PMC', 'FIXED_CTR', 'PERFEVTSEL', 'FIXED_CTR_CTRL'] as const),
  ...(['GLOBAL_CTRL', 'GLOBAL_STATUS', 'OVF_CTRL', 'PERF_CAPABILITIES'] as const),
]);

const INT = 1n << 20n;
const PMI_BITS = 0x8888n;

const asksForPmi = (address: number, value: bigint): boolean => {
  const { class: kind } = placeOf(address);
  if (kind === 'PERFEVTSEL') return (value & INT) !== 0n;
  return kind === 'FIXED_CTR_CTRL' && (value & PMI_BITS) !== 0n;
};

const anyWrite = (fuzzed: FuzzCase, told: (address: number, value: bigint) => boolean): boolean =>
  fuzzed.registers.some(([address, value]) => told(address, BigInt(value))) ||
  fuzzed.steps.some(
    (step) => step.do === 'wrmsr' && told(step.register, BigInt(step.value ?? '0x0')),
  );

/**
 * Whether the design promises that this case looks as on the bare machine. Where it does not: docs/differences.md,
 * and what the case itself has turned over.
 */
export function promisesEquality(fuzzed: FuzzCase): boolean {
  const { design, exposure, bitmap, host, steps } = fuzzed;
  if (exposure === 'none' || bitmap.length > 0) return false;
  const rights = RIGHTS[design]!;
  // A guest that reaches the host's registers sees the host's PMU, not one of its own shape.
  if (rights.globalCtrl === 'direct') return false;
  if (steps.some((step) => step.do === 'host' && step.action !== 'preempt')) return false;
  if (rights.counters === 'direct') return true;
  // Emulated: the host's events steal counters, and overflows may come one event late.
  return host.events.length === 0 && !anyWrite(fuzzed, asksForPmi);
}

/** Registers whose values are promised, less what counts something that differs by nature. */
function compares(fuzzed: FuzzCase, at: number, inexact: ReadonlySet<number>): boolean {
  const step = fuzzed.steps[at]!;
  if (!isAccess(step)) return false;
  if (step.do !== 'rdpmc') {
    const { class: kind, version6, index } = placeOf(step.register);
    if (!PROMISED.has(kind) || version6) return false;
    if (kind === 'PERFEVTSEL' && index >= 8) return false;
    // Emulated counters tell of an overflow when they are brought up to date.
    if (kind === 'GLOBAL_STATUS' && RIGHTS[fuzzed.design]!.counters === 'exit') return false;
  }
  const counter = counterOf(step);
  return counter === undefined || !inexact.has(counter);
}

/** A register that passes is the host's: it takes bits which a smaller PMU, of an older version, reserves. */
function hasBitsOfTheHost(fuzzed: FuzzCase, at: number, { path }: StepTrace): boolean {
  const step = fuzzed.steps[at]!;
  if (step.do !== 'wrmsr' || path !== 'direct') return false;
  const value = BigInt(step.value ?? '0x0');
  const guest = guestShape(fuzzed.profile, fuzzed.design, fuzzed.exposure);
  const [there, here] = [guest, hostShape(fuzzed.profile)].map((shape) =>
    msrVerdict(shape, step.register, value),
  );
  return there !== here;
}

/** What the guest reads is what it would read on a processor of its own. */
export function checkBare(fuzzed: FuzzCase, trace: Trace, bare: BareTrace): Violation[] {
  const inexact = inexactCounters(fuzzed);
  const shown = (outcome: string, value: bigint) =>
    outcome === 'done' ? `0x${value.toString(16)}` : outcome;
  return trace.steps.flatMap((seen, at) => {
    if (seen.outcome === 'unreached' || !compares(fuzzed, at, inexact)) return [];
    if (hasBitsOfTheHost(fuzzed, at, seen)) return [];
    const step = fuzzed.steps[at]!;
    const there = bare.steps[at]!;
    const expected = shown(there.outcome, there.value);
    const actual = shown(seen.outcome, seen.value);
    if (expected === actual) return [];
    const channel = counterOf(step) === undefined ? channelOf(fuzzed, step) : 24;
    return [
      atStep(fuzzed, at, { oracle: 'bare-machine', rip: seen.rip, expected, actual, channel }),
    ];
  });
}
