import { grouped, several } from '../bits/decimal.ts';
import type { CountedFinding, Report } from '../fuzz/campaign/report.ts';
import { caseTitle } from '../fuzz/case.ts';
import type { ChannelReport } from '../fuzz/leaks/leaky-twin.ts';
import { table } from './table.ts';

/** One finding in three lines. */
export function findingText({ finding, times }: CountedFinding): string {
  const { oracle, channel, register, instruction, rip, expected, actual } = finding;
  const row = channel === undefined ? '' : `, leak channel ${channel}`;
  return [
    `${instruction} ${register} at RIP ${rip}: ${actual}; expected ${expected}`,
    `  oracle ${oracle}${row}; ${several(times, 'case')}`,
    `  case ${finding.case.seed}/${finding.case.index}: ${caseTitle(finding.case)}`,
  ].join('\n');
}

const coverageTable = ({ coverage }: Report): string => {
  const rows = new Map<string, number>();
  for (const { register, form, outcome, count } of coverage) {
    const key = [register, form, outcome].join('\t');
    rows.set(key, (rows.get(key) ?? 0) + count);
  }
  return table(
    [
      ['register', 'form', 'went', 'accesses'],
      ...[...rows]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([key, count]) => [...key.split('\t'), grouped(count)]),
    ],
    ['left', 'left', 'left', 'right'],
  );
};

/** What a campaign came to. */
export function fuzzText(report: Report, { coverage }: { coverage: boolean }): string {
  const { campaign, shards, cases, accesses, findings, filed, complete } = report;
  const parts = shards.map(({ part, of }) => `${part}/${of}`).join(' ');
  return [
    `campaign   seed ${campaign.seed}, shard ${parts}; ${several(campaign.designs.length, 'design')}, ${several(campaign.profiles.length, 'profile')}; counting ideal`,
    `executed   ${grouped(cases)} cases, ${grouped(accesses)} accesses${complete ? '' : ' (not the whole campaign)'}`,
    `findings   ${findings.length}`,
    ...filed.map(
      ({ seed, first, step, count, why }) =>
        `filed      ${count} cases from ${seed}/${first}, every ${step}: ${why}`,
    ),
    ...(findings.length > 0 ? ['', ...findings.map(findingText)] : []),
    ...(coverage ? ['', coverageTable(report)] : []),
    '',
  ].join('\n');
}

/** What the probes said of each channel that was opened, and that of the fault beside it. */
export function leaksText(reports: readonly ChannelReport[]): string {
  const lines = reports.map(({ channel, title, planted, findings: [first] }) => {
    const seen = first
      ? `caught by ${first.oracle}: ${first.instruction} ${first.register} at RIP ${first.rip}: ${first.actual}; expected ${first.expected}`
      : 'NOT CAUGHT';
    return [`${channel}  ${title}`, `    planted: ${planted}`, `    ${seen}`].join('\n');
  });
  const caught = reports.filter(({ findings }) => findings.length > 0).length;
  return [...lines, '', `caught     ${caught} of ${reports.length}`, ''].join('\n');
}
