import { hex } from '../../bits/hex.ts';
import { type AccessStep, type FuzzCase, isAccess } from '../case.ts';
import { atStep, type Violation } from '../finding.ts';
import { STUB } from '../guest/stub.ts';
import { channelOf } from '../leaks/channel-of.ts';
import type { Path, StepTrace, Trace } from '../trace.ts';
import { KVM_ALWAYS, msrVerdict, rdpmcVerdict, type Verdict } from './access-rules.ts';
import { exitsToL1, isCovered } from './nested-policy.ts';
import { isClaimed, msrExits, rdpmcExits } from './policy.ts';
import { guestShape, hostShape, type Shape } from './shapes.ts';

export interface Expectation {
  /** `any`: as host perf has it at that moment. */
  readonly path: Path | 'any';
  readonly verdict: Verdict | '#UD';
  /** Where a guest hypervisor carries the access out: what becomes of its own one. */
  readonly carried?: Expectation;
}

/** What one access of a case is to be, whatever came before it. */
export function expectationOf(fuzzed: FuzzCase, step: AccessStep): Expectation {
  const { nested } = fuzzed;
  // What passes L1 goes the way that L1's own access would go.
  if (!nested || !exitsToL1(fuzzed, nested, step)) return ownExpectation(fuzzed, step);
  if (nested.onExit === 'skip') return { path: 'L1', verdict: 'done' };
  if (nested.onExit === 'inject') return { path: 'L1', verdict: '#GP' };
  const carried = ownExpectation({ ...fuzzed, cpl: 0 }, step);
  return { path: 'L1', verdict: carried.verdict, carried };
}

/** What an access is to be that no guest hypervisor is asked about. */
function ownExpectation(fuzzed: FuzzCase, step: AccessStep): Expectation {
  const guest = guestShape(fuzzed.profile, fuzzed.design, fuzzed.exposure);
  const host = hostShape(fuzzed.profile);
  if (step.do === 'rdpmc') {
    if (fuzzed.cpl > 0 && !fuzzed.pce) return { path: 'none', verdict: '#GP' };
    const path = rdpmcExits(fuzzed) ? 'exit' : 'direct';
    return { path, verdict: rdpmcVerdict(path === 'exit' ? guest : host, step.register) };
  }
  if (step.do !== 'rdmsr' && step.do !== 'wrmsr') return { path: 'none', verdict: '#UD' };
  if (fuzzed.cpl > 0) return { path: 'none', verdict: '#GP' };
  if (isClaimed(step.register, guest)) {
    return { path: 'any', verdict: byShape(guest, 'exit', step) };
  }
  const path = exits(fuzzed, step) ? 'exit' : 'direct';
  return { path, verdict: byShape(path === 'exit' ? guest : host, path, step) };
}

/** The policy, with the bits of the bitmap that the case turns over. */
function exits(fuzzed: FuzzCase, step: AccessStep): boolean {
  const { register } = step;
  if (!isCovered(register)) return true;
  const access = step.do === 'rdmsr' ? 'read' : 'write';
  const turned = fuzzed.bitmap.filter(([address, how]) => address === register && how === access);
  return msrExits(fuzzed, register) !== (turned.length % 2 === 1);
}

function byShape(shape: Shape, path: Path, step: AccessStep): Verdict {
  const value = step.do === 'wrmsr' ? BigInt(step.value ?? '0x0') : undefined;
  if (path === 'exit' && KVM_ALWAYS.has(step.register)) return 'done';
  return msrVerdict(shape, step.register, value);
}

/** Where a fault is not at its instruction, or has an error code; empty if it has neither. */
function misplaced({ do: form }: AccessStep, { outcome, rip, errorCode }: StepTrace): string {
  if (outcome === 'done') return '';
  const place = rip === BigInt(STUB.instructions[form]!) ? '' : ` at ${hex(rip)}`;
  return `${place}${errorCode === 0 ? '' : `, error code ${hex(errorCode)}`}`;
}

/** Every access of a run against what the policy says of it: which way it went, and whether it faulted, and there. */
export function checkPolicy(fuzzed: FuzzCase, { steps }: Trace): Violation[] {
  return steps.flatMap((seen, at) => {
    const step = fuzzed.steps[at]!;
    if (!isAccess(step) || seen.outcome === 'unreached') return [];
    const { path, verdict, carried } = expectationOf(fuzzed, step);
    const differs = (is: Path, expected: Path | 'any') => expected !== 'any' && is !== expected;
    const wrongWay =
      (differs(seen.path, path) && seen.outcome !== '#UD') ||
      differs(seen.carried ?? 'none', carried?.path ?? 'none');
    const wrongEnd = verdict !== 'unspecified' && seen.outcome !== verdict;
    const wrongPlace = misplaced(step, seen);
    if (!wrongWay && !wrongEnd && !wrongPlace) return [];
    const way = (how: string) => (how === 'none' ? 'no access' : how);
    const told = (how: string, own: string | undefined, what: string) =>
      own === undefined ? `${way(how)}, ${what}` : `${way(how)}, there ${way(own)}, ${what}`;
    return [
      atStep(fuzzed, at, {
        oracle: 'policy',
        rip: seen.rip,
        expected: told(path, carried?.path, verdict),
        actual: told(seen.path, seen.carried, `${seen.outcome}${wrongPlace}`),
        channel: channelOf(fuzzed, step),
      }),
    ];
  });
}
