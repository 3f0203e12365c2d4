import type { FuzzCase, NestedCase, Step } from './case.ts';
import type { Examiner } from './examine.ts';
import { type Finding, findingKey } from './finding.ts';

/** Examinations a finding may cost until it is small enough. */
const MOST_TRIES = 300;

/** Cases that are a little smaller than this one, largest steps first. */
function* smaller(fuzzed: FuzzCase): Generator<FuzzCase> {
  const { steps, registers, bitmap, host } = fuzzed;
  for (const half of [steps.slice(0, steps.length >> 1), steps.slice(steps.length >> 1)]) {
    if (half.length < steps.length && half.length > 0) yield { ...fuzzed, steps: half };
  }
  if (host.events.length > 0) yield { ...fuzzed, host: { ...host, events: [] } };
  if (registers.length > 0) yield { ...fuzzed, registers: [] };
  const { status, pending, interruptions, lists, ...still } = fuzzed;
  if (interruptions && interruptions.length > 0) yield { ...fuzzed, interruptions: [] };
  if (status !== undefined || pending)
    yield { ...still, ...(lists && { lists }), ...(interruptions && { interruptions }) };
  for (const at of lists?.keys() ?? []) {
    if (lists!.length > 1) yield { ...fuzzed, lists: lists!.toSpliced(at, 1) };
  }
  for (const at of steps.keys()) {
    if (steps.length > 1) yield { ...fuzzed, steps: steps.toSpliced(at, 1) };
  }
  for (const at of registers.keys()) yield { ...fuzzed, registers: registers.toSpliced(at, 1) };
  for (const at of bitmap.keys()) yield { ...fuzzed, bitmap: bitmap.toSpliced(at, 1) };
  for (const at of host.events.keys()) {
    yield { ...fuzzed, host: { ...host, events: host.events.toSpliced(at, 1) } };
  }
  if (fuzzed.nested) yield* simplerNested(fuzzed, fuzzed.nested);
  if (fuzzed.lvtpc !== 'masked') yield { ...fuzzed, lvtpc: 'masked' };
  for (const [at, step] of steps.entries()) {
    const simple = simpler(step);
    if (simple) yield { ...fuzzed, steps: steps.with(at, simple) };
  }
}

/** Without the guest's guest, or with less that its hypervisor has arranged. */
function* simplerNested(fuzzed: FuzzCase, nested: NestedCase): Generator<FuzzCase> {
  const { nested: _, ...flat } = fuzzed;
  yield flat;
  const having = (less: NestedCase): FuzzCase => ({ ...fuzzed, nested: less });
  for (const part of ['lists', 'stray', 'nmiExiting', 'globalCtrl'] as const) {
    const { [part]: dropped, ...less } = nested;
    if (dropped) yield having(less);
  }
  const { lists, bitmap } = nested;
  for (const at of lists?.keys() ?? []) {
    if (lists!.length > 1) yield having({ ...nested, lists: lists!.toSpliced(at, 1) });
  }
  for (const at of bitmap?.except.keys() ?? []) {
    yield having({ ...nested, bitmap: { ...bitmap!, except: bitmap!.except.toSpliced(at, 1) } });
  }
  if (nested.rdpmcExiting) yield having({ ...nested, rdpmcExiting: false });
}

function simpler(step: Step): Step | undefined {
  if (step.do === 'work' && step.count > 1) return { ...step, count: step.count >> 1 };
  if ('value' in step && step.value !== undefined && step.value !== '0x0') {
    return { ...step, value: '0x0' };
  }
  return undefined;
}

/** The smallest case that still shows the same finding, as far as leaving things out gets. */
export function shrink(examiner: Examiner, finding: Finding): Finding {
  const key = findingKey(finding);
  let best = finding;
  let tries = 0;
  for (let progress = true; progress && tries < MOST_TRIES; ) {
    progress = false;
    for (const candidate of smaller(best.case)) {
      if (tries++ >= MOST_TRIES) break;
      const { violations } = examiner.examine(candidate);
      const same = violations.find((violation) => findingKey(violation) === key);
      if (!same) continue;
      best = { ...finding, ...same, case: candidate };
      progress = true;
      break;
    }
  }
  return best;
}
