import { type FuzzCase, isAccess } from '../case.ts';
import { Coverage } from '../coverage.ts';
import { Examiner } from '../examine.ts';
import { type Finding, findingKey } from '../finding.ts';
import { shrink } from '../shrink.ts';
import { caseOf, casesOf, type Job } from './plan.ts';
import type { CountedFinding, Part } from './report.ts';

/** Executes jobs. What a job comes to depends on nothing but the job. */
export class Worker {
  readonly #examiner = new Examiner();
  /** Findings that were shrunk already: later ones of the same key are only counted. */
  readonly #shrunk = new Map<string, Finding>();

  execute(job: Job): Part {
    return this.#examine(casesOf(job).map((index) => caseOf(job.campaign, index)));
  }

  #examine(cases: readonly FuzzCase[]): Part {
    const coverage = new Coverage();
    const findings = new Map<string, CountedFinding>();
    let accesses = 0;
    for (const fuzzed of cases) {
      const { trace, violations } = this.#examiner.examine(fuzzed);
      coverage.record(fuzzed, trace);
      accesses += fuzzed.steps.filter(isAccess).length;
      const keys = new Set(violations.map(findingKey));
      for (const key of keys) {
        const violation = violations.find((each) => findingKey(each) === key)!;
        const known = findings.get(key);
        const finding = known?.finding ?? this.#minimal({ ...violation, case: fuzzed }, key);
        findings.set(key, { finding, times: (known?.times ?? 0) + 1 });
      }
    }
    return {
      cases: cases.length,
      accesses,
      findings: [...findings.values()],
      coverage: coverage.cells(),
    };
  }

  #minimal(finding: Finding, key: string): Finding {
    const known = this.#shrunk.get(key);
    if (known && known.case.index < finding.case.index) return known;
    const made = shrink(this.#examiner, finding);
    this.#shrunk.set(key, made);
    return made;
  }
}
