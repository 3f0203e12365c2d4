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

/** The first rule that does not hold. */
export const firstBroken = (rules: readonly Rule[], entry: Entry): Rule | undefined =>
  rules.find(({ ok }) => !ok(entry));
