import { hex } from '../bits/hex.ts';
import {
  caseTitle,
  type FuzzCase,
  isAccess,
  type ListedMsr,
  type NestedCase,
  type Step,
} from '../fuzz/case.ts';
import { type Finding, registerOf } from '../fuzz/finding.ts';
import { storedMsrs, UNTOUCHED } from '../fuzz/guest/nested-tables.ts';
import { type Expectation, expectationOf } from '../fuzz/oracles/expectations.ts';
import { registerName } from '../fuzz/registers.ts';
import type { Replay } from '../fuzz/replay.ts';
import type { Path, StepTrace, Trace } from '../fuzz/trace.ts';
import { exitName } from '../machine/accesses.ts';
import { table } from './table.ts';

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
  const by = exits.length > 0 ? ` by ${exitsText(exits)}` : '';
  return `${way}${outcome === 'done' ? `done, EDX:EAX ${hex(value)}` : outcome}${by}`;
}

/** Exits in their order, those that follow one another counted. */
function exitsText(exits: readonly string[]): string {
  const runs: { name: string; times: number }[] = [];
  for (const name of exits) {
    const last = runs.at(-1);
    if (last?.name === name) last.times += 1;
    else runs.push({ name, times: 1 });
  }
  return runs.map(({ name, times }) => (times > 1 ? `${name} × ${times}` : name)).join(', ');
}

const listedText = ({ list, address, value }: ListedMsr): string =>
  `${list} ${registerName(address)}${list === 'exit-store' ? '' : ` = ${value}`}`;

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
    ...lists.map((each) => `L1’s MSR list: ${listedText(each)}`),
    ...(stray ? [`L1’s pointer to its ${stray.of} is ${STRAY[stray.to]}`] : []),
    ...(entry === undefined ? [] : [`VM entry to L2 loads IA32_PERF_GLOBAL_CTRL = ${entry}`]),
    ...(exit === undefined ? [] : [`VM exit to L1 loads IA32_PERF_GLOBAL_CTRL = ${exit}`]),
    ...(save ? ['VM exit to L1 saves IA32_PERF_GLOBAL_CTRL'] : []),
    `on an exit L1 ${did[onExit]}`,
  ];
}

/** What L1 wrote down of its guest's exits, and what its exit MSR-store list holds at the end. */
function toldL1(fuzzed: FuzzCase, { toL1, stored, steps }: Trace): string[] {
  const told = toL1?.map(({ step, reason, qualification }) => {
    const name = typeof reason === 'number' ? exitName(reason) : reason;
    const more = qualification === 0n ? '' : `, qualification ${qualification}`;
    return `${step < steps.length ? `step ${step}` : 'end'}: ${name}${more}`;
  });
  return [
    `exits that L1 was told: ${told ? told.join('; ') || 'none' : 'it met what it has no answer to'}`,
    ...storedMsrs(fuzzed).map(({ address }, at) => {
      const held = stored[at] === UNTOUCHED ? 'was not stored' : `= ${hex(stored[at]!)}`;
      return `L1’s exit-store list: ${registerName(address)} ${held}`;
    }),
    '',
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
    ...(fuzzed.lists ?? []).map((each) => `MSR list: ${listedText(each)}`),
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
    ...(fuzzed.nested ? toldL1(fuzzed, trace) : []),
    ...violations.map(
      ({ oracle, instruction, register, rip, expected, actual, channel }) =>
        `${oracle}: ${instruction} ${register} at RIP ${rip}: ${actual}; expected ${expected}${channel === undefined ? '' : ` (leak channel ${channel})`}`,
    ),
    again ? 'the finding shows again' : 'the finding does not show any more',
    '',
  ].join('\n');
}
