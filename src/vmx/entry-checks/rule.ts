import type { Entry } from './entry.ts';

/** A condition that VM entry checks, in the manual's words. */
export interface Rule {
  readonly rule: string;
  /** Section title of the SDM, volume 3. */
  readonly sdm: string;
  ok(entry: Entry): boolean;
  /** Exit qualification of a failure, 0 unless told; only for rules about guest state. */
  readonly qualification?: bigint;
}

/**
 * The first rule that does not hold, among those that are not known to.
 * @param first number of the first of `rules` among all rules
 */
export function firstBroken(rules: readonly Rule[], entry: Entry, first: number): Rule | undefined {
  const known = entry.vmcs.rules;
  for (let i = 0; i < rules.length; i++) {
    if (!known.isStale(first + i)) continue;
    const rule = rules[i]!;
    known.begin(first + i);
    if (!rule.ok(entry)) return rule;
    known.hold();
  }
  return undefined;
}
