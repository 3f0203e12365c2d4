import { createHash } from 'node:crypto';
import { CounterpointError } from '../bits/error.ts';
import type { OnExit } from './case.ts';
import { Examiner } from './examine.ts';
import { type Finding, findingKey, type Violation } from './finding.ts';
import type { Trace } from './trace.ts';

/** What the file of a finding says it is. */
const KIND = 'counterpoint finding';
const VERSION = 1;

/** A finding as a file: named for what it is, so that the same finding has the same file. */
export function findingFile(finding: Finding): { name: string; content: string } {
  const digest = createHash('sha256').update(findingKey(finding)).digest('hex').slice(0, 12);
  const content = { kind: KIND, version: VERSION, ...finding };
  return {
    name: `${finding.oracle}-${digest}.json`,
    content: `${JSON.stringify(content, undefined, 2)}\n`,
  };
}

const ON_EXIT: ReadonlySet<string> = new Set<OnExit>(['skip', 'carry-out', 'inject']);

/** @throws CounterpointError `bad-finding` on anything else than what `findingFile` wrote */
export function parseFinding(text: string, path: string): Finding {
  const bad = (why: string): never => {
    throw new CounterpointError('bad-finding', `${path}: ${why}`);
  };
  let parsed: Partial<Finding> & { kind?: string; version?: number };
  try {
    parsed = JSON.parse(text) as typeof parsed;
  } catch {
    return bad('this is no JSON');
  }
  if (parsed === null || typeof parsed !== 'object' || parsed.kind !== KIND) {
    return bad('this is no finding of counterpoint fuzz');
  }
  if (parsed.version !== VERSION) return bad(`version ${parsed.version} is not ${VERSION}`);
  const { case: fuzzed } = parsed;
  if (!fuzzed || !Array.isArray(fuzzed.steps)) return bad('the case is missing');
  if (fuzzed.nested && !ON_EXIT.has(fuzzed.nested.onExit)) return bad('onExit is not known');
  return parsed as Finding;
}

/** A finding seen again. */
export interface Replay {
  readonly trace: Trace;
  readonly violations: readonly Violation[];
  /** Whether it shows as it was written down. */
  readonly again: boolean;
}

export function replay(finding: Finding): Replay {
  const { trace, violations } = new Examiner().examine(finding.case);
  const key = findingKey(finding);
  return { trace, violations, again: violations.some((each) => findingKey(each) === key) };
}
