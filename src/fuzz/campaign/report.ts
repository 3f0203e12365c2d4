import { CounterpointError } from '../../bits/error.ts';
import { Coverage, type CoverageCell } from '../coverage.ts';
import { type Finding, findingKey } from '../finding.ts';
import type { Campaign, Shard } from './plan.ts';

/** What some cases came to. */
export interface Part {
  readonly cases: number;
  /** Accesses that were judged. */
  readonly accesses: number;
  readonly findings: readonly CountedFinding[];
  readonly coverage: readonly CoverageCell[];
}

/** A finding and how many cases show it; the case is the first of them, shrunk. */
export interface CountedFinding {
  readonly finding: Finding;
  readonly times: number;
}

/** Cases that could not be executed: three times the worker that tried did not come back. */
export interface FiledJob {
  readonly seed: string;
  readonly first: number;
  readonly step: number;
  readonly count: number;
  readonly why: string;
}

/** A run of a campaign, or of a shard of it. The same cases give the same report, byte for byte. */
export interface Report extends Part {
  readonly campaign: Campaign;
  readonly shards: readonly Shard[];
  /** Whether all cases were executed. */
  readonly complete: boolean;
  readonly filed: readonly FiledJob[];
}

/** Adds parts up. The order in which they come does not matter. */
export class Tally {
  #cases = 0;
  #accesses = 0;
  readonly #findings = new Map<string, CountedFinding>();
  readonly #coverage = new Coverage();
  readonly #filed: FiledJob[] = [];

  add({ cases, accesses, findings, coverage }: Part): void {
    this.#cases += cases;
    this.#accesses += accesses;
    this.#coverage.add(coverage);
    for (const { finding, times } of findings) {
      const key = findingKey(finding);
      const known = this.#findings.get(key);
      const first =
        known && known.finding.case.index <= finding.case.index ? known.finding : finding;
      this.#findings.set(key, { finding: first, times: (known?.times ?? 0) + times });
    }
  }

  file(job: FiledJob): void {
    this.#filed.push(job);
  }

  get cases(): number {
    return this.#cases;
  }

  get accesses(): number {
    return this.#accesses;
  }

  get findings(): number {
    return this.#findings.size;
  }

  part(): Part {
    return {
      cases: this.#cases,
      accesses: this.#accesses,
      findings: [...this.#findings]
        .sort(([a, x], [b, y]) => x.finding.case.index - y.finding.case.index || (a < b ? -1 : 1))
        .map(([, counted]) => counted),
      coverage: this.#coverage.cells(),
    };
  }

  report(campaign: Campaign, shards: readonly Shard[], complete: boolean): Report {
    const filed = this.#filed.toSorted((a, b) => a.first - b.first);
    return { campaign, shards, complete, ...this.part(), filed };
  }
}

/** The report of the whole from the reports of its shards. @throws CounterpointError `bad-shards` */
export function mergeReports(reports: readonly Report[]): Report {
  const [head] = reports;
  const bad = (why: string): never => {
    throw new CounterpointError('bad-shards', why);
  };
  if (!head) return bad('there is nothing to merge');
  const campaign = JSON.stringify(head.campaign);
  const shards = reports.flatMap((report) => report.shards).sort((a, b) => a.part - b.part);
  for (const report of reports) {
    if (JSON.stringify(report.campaign) !== campaign) bad('the reports are of different campaigns');
  }
  const { of } = shards[0]!;
  const parts = shards.map(({ part }) => part);
  if (shards.some((shard) => shard.of !== of)) bad('the shards are of different divisions');
  if (new Set(parts).size !== parts.length) bad('a shard is there twice');
  const tally = new Tally();
  for (const report of reports) {
    tally.add(report);
    for (const job of report.filed) tally.file(job);
  }
  const whole = parts.length === of;
  const complete = reports.every((report) => report.complete);
  return tally.report(head.campaign, whole ? [{ part: 1, of: 1 }] : shards, complete && whole);
}
