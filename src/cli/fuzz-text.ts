import { grouped, several } from '../bits/decimal.ts';
import { hex } from '../bits/hex.ts';
import type { CountedFinding, Report } from '../fuzz/campaign/report.ts';
import { caseTitle, isAccess, type NestedCase, type Step } from '../fuzz/case.ts';
import { type Finding, registerOf } from '../fuzz/finding.ts';
import type { ChannelReport } from '../fuzz/leaks/leaky-twin.ts';
import { type Expectation, expectationOf } from '../fuzz/oracles/expectations.ts';
import { registerName } from '../fuzz/registers.ts';
import type { Replay } from '../fuzz/replay.ts';
import type { Path, StepTrace } from '../fuzz/trace.ts';
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

function stepText(step: Step): string {
  if (isAccess(step)) {
    const value = step.value === undefined ? '' : ` = ${step.value}`;
    return `${step.do.toUpperCase()} ${registerOf(step)}${value}`;
  }
  if (step.do === 'cpuid') return `CPUID leaf ${hex(step.leaf)}`;
  if (step.do === 'work') return `${step.count} rounds of DEC, JNZ`;
  return `the host: ${step.action}`;
}

/** Which way an access goes, with that of the one by which a guest hypervisor carries it out. */
const wayText = (path: Path | 'any', carried: Path | 'any' | undefined): string => {
  if (path === 'none') return '';
  if (path !== 'L1') return `${path}, `;
  return carried === undefined ? 'exit to L1, ' : `exit to L1, there ${carried}, `;
};

const expectedText = ({ path, verdict, carried }: Expectation): string =>
  `${wayText(path, carried?.path)}${verdict}`;

function wentText({ outcome, path, carried, exits, value }: StepTrace): string {
  if (outcome === 'unreached') return 'never reached';
  const way = wayText(path, carried);
  const by = exits.length > 0 ? ` by ${exits.join(', ')}` : '';
  return `${way}${outcome === 'done' ? `done, EDX:EAX ${hex(value)}` : outcome}${by}`;
}

const STRAY = {
  unaligned: 'not aligned',
  'no-memory': 'to where no memory is',
  'too-wide': 'beyond the physical-address width',
} as const;

/** What a guest hypervisor has arranged for its guest. */
function nestedText(nested: NestedCase): string[] {
  const { bitmap, rdpmcExiting, nmiExiting, lists = [], stray, globalCtrl, onExit } = nested;
  const { entry, exit, save } = globalCtrl ?? {};
  const did = {
    skip: 'steps over the instruction',
    'carry-out': 'executes the instruction itself',
    inject: 'injects #GP',
  } as const;
  return [
    'the steps are done by a guest (L2) of the guest (L1)',
    bitmap
      ? `L1’s MSR bitmap: ${bitmap.exits === 'all' ? 'everything exits' : 'nothing exits'}`
      : 'L1 has no MSR bitmap: everything exits',
    ...(bitmap?.except ?? []).map(
      ([address, access]) => `L1’s MSR bitmap: ${access} of ${registerName(address)} turned over`,
    ),
    `RDPMC ${rdpmcExiting ? 'exits to L1' : 'passes L1'}`,
    ...(nmiExiting ? ['NMIs exit to L1'] : []),
    ...lists.map(
      ({ list, address, value }) =>
        `L1’s MSR list: ${list} ${registerName(address)}${list === 'exit-store' ? '' : ` = ${value}`}`,
    ),
    ...(stray ? [`L1’s pointer to its ${stray.of} is ${STRAY[stray.to]}`] : []),
    ...(entry === undefined ? [] : [`VM entry to L2 loads IA32_PERF_GLOBAL_CTRL = ${entry}`]),
    ...(exit === undefined ? [] : [`VM exit to L1 loads IA32_PERF_GLOBAL_CTRL = ${exit}`]),
    ...(save ? ['VM exit to L1 saves IA32_PERF_GLOBAL_CTRL'] : []),
    `on an exit L1 ${did[onExit]}`,
  ];
}

/** A finding step by step: what was done, what was to come of it, what came. */
export function replayText(
  { case: fuzzed, step: shows }: Finding,
  { trace, violations, again }: Replay,
): string {
  const rows = fuzzed.steps.map((step, at) => {
    const seen = trace.steps[at]!;
    const expected = isAccess(step) ? expectedText(expectationOf(fuzzed, step)) : '';
    return [at === shows ? `> ${at}` : `  ${at}`, stepText(step), expected, wentText(seen)];
  });
  const state = [
    ...fuzzed.registers.map(([address, value]) => `${registerName(address)} = ${value}`),
    ...fuzzed.bitmap.map(
      ([address, access]) => `MSR bitmap: ${access} of ${registerName(address)} turned over`,
    ),
    ...(fuzzed.status ? [`IA32_PERF_GLOBAL_STATUS has ${fuzzed.status}`] : []),
    ...(fuzzed.pending ? ['a PMI waits'] : []),
    ...(fuzzed.interruptions ?? []).map((ticks) => `an interrupt of the host after ${ticks} ticks`),
    ...(fuzzed.lists ?? []).map(
      ({ list, address, value }) =>
        `MSR list: ${list} ${registerName(address)}${list === 'exit-store' ? '' : ` = ${value}`}`,
    ),
    ...(fuzzed.nested ? nestedText(fuzzed.nested) : []),
    ...fuzzed.host.events.map(
      ({ config, pinned, period }) =>
        `event of the host: ${config}${pinned ? ', pinned' : ''}${period > 0 ? `, period ${period}` : ''}`,
    ),
  ];
  return [
    `${caseTitle(fuzzed)}; CR4.PCE ${fuzzed.pce ? 1 : 0}, LVTPC ${fuzzed.lvtpc}, secret ${fuzzed.host.secret}`,
    ...state.map((line) => `  ${line}`),
    '',
    table([['step', 'what', 'expected', 'seen'], ...rows], ['left', 'left', 'left', 'left']),
    '',
    ...violations.map(
      ({ oracle, instruction, register, rip, expected, actual, channel }) =>
        `${oracle}: ${instruction} ${register} at RIP ${rip}: ${actual}; expected ${expected}${channel === undefined ? '' : ` (leak channel ${channel})`}`,
    ),
    again ? 'the finding shows again' : 'the finding does not show any more',
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
