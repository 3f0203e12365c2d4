import { type FuzzCase, isAccess } from '../case.ts';
import { atStep, type Violation } from '../finding.ts';
import { placeOf, type RegisterClass } from '../registers.ts';
import type { Trace } from '../trace.ts';
import { Controls, counterOf, PMC0 } from './counters.ts';
import { RIGHTS } from './rights.ts';
import { guestShape } from './shapes.ts';

const FW_WRITES = 1n << 13n;
const PERFMON_LEAF = 0x0a;
const KVM_ALWAYS = 2;

/** What holds of a virtual PMU step by step, whoever is behind it: pmu.md's invariants as a guest can check them. */
export function checkInvariants(fuzzed: FuzzCase, trace: Trace): Violation[] {
  // A case that opens registers to the guest by turning bits over is about the bitmap alone.
  if (fuzzed.bitmap.length > 0) return [];
  // What a guest hypervisor does about an access is its own affair; its lists give counters values at every exit.
  if (fuzzed.nested) return fuzzed.nested.lists ? [] : pmis(fuzzed, trace);
  return [...standsStill(fuzzed, trace), ...claims(fuzzed, trace), ...pmis(fuzzed, trace)];
}

const COUNTERS: ReadonlySet<RegisterClass> = new Set(['PMC', 'A_PMC', 'FIXED_CTR']);
const isCounter = (address: number) => COUNTERS.has(placeOf(address).class);

/** A PMI comes at most once per overflow, and a counter overflows at most once for each value that it was given. */
function pmis(fuzzed: FuzzCase, { nmis }: Trace): Violation[] {
  const { registers, steps, pending = false } = fuzzed;
  const given = registers.filter(([address]) => isCounter(address)).length;
  const written = steps.filter(
    (step) => isAccess(step) && step.do === 'wrmsr' && isCounter(step.register),
  );
  const most = given + written.length + Number(pending);
  if (nmis <= most) return [];
  const expected = `at most ${most} PMIs, one per overflow`;
  return [
    atStep(fuzzed, steps.length - 1, {
      oracle: 'invariants',
      expected,
      actual: `${nmis} PMIs`,
      channel: 13,
    }),
  ];
}

/** A counter is at most W bits wide; one that is disabled, denied or reset holds what it held. */
function* standsStill(fuzzed: FuzzCase, { steps }: Trace): Generator<Violation> {
  const controls = new Controls(fuzzed);
  /** Last value seen of each counter that must not have moved since. */
  const held = new Map<number, { value: bigint; channel: number | undefined }>();
  // The filter reaches the hardware only where selectors do not pass.
  const filters = RIGHTS[fuzzed.design]!.selectors === 'exit' && fuzzed.exposure !== 'none';
  const { width } = guestShape(fuzzed.profile, fuzzed.design, fuzzed.exposure);
  let denied = false;
  for (const [at, step] of fuzzed.steps.entries()) {
    const seen = steps[at]!;
    if (seen.outcome === 'unreached') return;
    if (step.do === 'host') {
      if (step.action === 'deny-all' && filters) denied = true;
      if (step.action === 'allow-all') denied = false;
      if (step.action === 'reset') {
        controls.reset();
        held.clear();
        for (let i = 0; i < 8; i++) held.set(PMC0 + i, { value: 0n, channel: 21 });
      }
      if (step.action === 'allow-all' || step.action === 'deny-all') held.clear();
      continue;
    }
    if (!isAccess(step) || seen.outcome !== 'done') continue;
    const counter = counterOf(step);
    if (step.do === 'wrmsr') {
      controls.write(step.register, BigInt(step.value ?? '0x0'));
      if (counter === undefined) held.clear();
      else held.delete(counter);
      continue;
    }
    if (counter === undefined || (step.do !== 'rdmsr' && step.do !== 'rdpmc')) continue;
    const before = held.get(counter);
    if (seen.value >> BigInt(width) !== 0n) {
      yield atStep(fuzzed, at, {
        oracle: 'invariants',
        expected: `${width} bits`,
        actual: `0x${seen.value.toString(16)}`,
        channel: undefined,
      });
    }
    if (before && before.value !== seen.value) {
      yield atStep(fuzzed, at, {
        oracle: 'invariants',
        expected: `0x${before.value.toString(16)}, for the counter stands still`,
        actual: `0x${seen.value.toString(16)}`,
        channel: before.channel,
      });
    }
    const still = denied || !controls.mayMove(counter);
    if (still) held.set(counter, { value: seen.value, channel: denied ? 20 : undefined });
    else held.delete(counter);
  }
}

/** What CPUID and PERF_CAPABILITIES claim is what works: no more, no less. */
function* claims(fuzzed: FuzzCase, { steps }: Trace): Generator<Violation> {
  let gp: number | undefined;
  let fullWidth: boolean | undefined;
  for (const [at, step] of fuzzed.steps.entries()) {
    const { outcome, value } = steps[at]!;
    if (step.do === 'cpuid' && step.leaf === PERFMON_LEAF && outcome === 'done') {
      gp = Number((value >> 8n) & 0xffn);
    }
    if (step.do === 'rdmsr' && step.register === 0x345 && outcome === 'done') {
      fullWidth = (value & FW_WRITES) !== 0n;
    }
  }
  if (fuzzed.cpl > 0) return;
  for (const [at, step] of fuzzed.steps.entries()) {
    const { outcome } = steps[at]!;
    if (step.do !== 'rdmsr' || outcome === 'unreached') continue;
    const { class: kind, index, version6 } = placeOf(step.register);
    const works = outcome === 'done';
    const usable =
      kind === 'A_PMC' && gp !== undefined && fullWidth !== undefined
        ? fullWidth && index < gp
        : kind === 'PMC' && !version6 && gp !== undefined && index >= KVM_ALWAYS
          ? index < gp
          : works;
    if (usable === works) continue;
    yield atStep(fuzzed, at, {
      oracle: 'invariants',
      expected: usable ? 'done, as claimed' : '#GP, for it is not claimed',
      actual: outcome,
      channel: 22,
    });
  }
}
