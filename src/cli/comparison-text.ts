import { grouped } from '../bits/decimal.ts';
import {
  type Comparison,
  type EventComparison,
  errorPpm,
  type MachineReport,
  sensitivity,
} from '../lab/comparison.ts';
import type { Switching } from '../machine/switching.ts';
import { table } from './table.ts';

type Row = readonly string[];

/** Widths of the columns, and how many machines fit 100 characters. */
const LABEL = 28;
const NUMBER = 12;
const ERROR = 8;
const ABREAST = 3;

/** `+0.31 %`, from parts per million. */
function percent(ppm: bigint | undefined): string {
  if (ppm === undefined) return '';
  if (ppm === 0n) return 'exact';
  const sign = ppm < 0n ? '-' : '+';
  const absolute = ppm < 0n ? -ppm : ppm;
  if (absolute < 100n) return `${sign}0.00${grouped((absolute + 5n) / 10n)} %`;
  return `${sign}${(Number(absolute) / 10_000).toFixed(2)} %`;
}

const names = (machines: readonly MachineReport[]): string[] => [
  ...new Set(machines.flatMap(({ events }) => events.map(({ name }) => name))),
];

/** Read and error in one row, the truth in the next. */
function eventRows(name: string, machines: readonly MachineReport[]): Row[] {
  const found = machines.map(({ events }) => events.find((event) => event.name === name));
  const read = (event: EventComparison | undefined): Row => {
    if (!event) return ['absent', ''];
    if (event.read === undefined) return ['not counted', ''];
    return [grouped(event.read), percent(errorPpm(event))];
  };
  const truth = (event: EventComparison | undefined): Row => [
    event?.truth === undefined ? '' : grouped(event.truth),
    '',
  ];
  const standing = found.find((event) => event)?.standing === 'model' ? ' (model)' : '';
  return [
    [name, ...found.flatMap(read)],
    [`  true${standing}`, ...found.flatMap(truth)],
  ];
}

function countRows<Key extends string>(
  machines: readonly MachineReport[],
  of: (machine: MachineReport) => Readonly<Record<Key, number | bigint>>,
): Row[] {
  const keys = [...new Set(machines.flatMap((machine) => Object.keys(of(machine)) as Key[]))];
  return keys.map((key) => [
    `  ${key}`,
    ...machines.flatMap((machine) => [grouped(of(machine)[key] ?? 0), '']),
  ]);
}

const sum = (values: Iterable<number>): number => [...values].reduce((a, b) => a + b, 0);

/** A section's rows, machines side by side as many as fit a line, the rest below. */
function section(title: string, machines: readonly MachineReport[], rows: readonly Row[]): string {
  if (rows.length === 0) return '';
  const head: Row = [title, ...machines.flatMap(({ machine }) => ['', machine])];
  const tables: string[] = [];
  for (let from = 0; from < machines.length; from += ABREAST) {
    const cut = ([label = '', ...cells]: Row): Row => [
      label,
      ...cells.slice(2 * from, 2 * (from + ABREAST)),
    ];
    const count = Math.min(ABREAST, machines.length - from);
    const widths = [LABEL, ...Array.from({ length: count }, () => [NUMBER, ERROR]).flat()];
    const heading = cut(head).filter((_name, i) => i % 2 === 0);
    tables.push(
      table([heading], [], [LABEL, ...heading.slice(1).map(() => NUMBER + ERROR)]),
      table(rows.map(cut), [], widths),
    );
  }
  return tables.join('\n');
}

/** The run loop's figures by what a reader calls them. */
const runLoop = (done: Switching) => ({
  'VM entries': done.entries,
  '… from the fastpath': done.fastpath,
  'PMIs delivered': done.pmis,
  'instructions emulated': done.emulated,
  'vPMU loads': done.loads,
  'vPMU puts': done.puts,
  'RDMSR in root mode': done.rdmsr,
  'WRMSR in root mode': done.wrmsr,
  'RDPMC in root mode': done.rdpmc,
});

/** Share of the run's ticks that root-mode software took. */
const overhead = ({ ticks, rootTicks }: MachineReport): string =>
  ticks === 0n ? '0 %' : `${(Number((rootTicks * 10_000n) / ticks) / 100).toFixed(2)} %`;

/** One guest on several machines, as text of fixed columns. Every number says what stands behind it. */
export function comparisonText({ guest, profile, counting, machines }: Comparison): string {
  const accesses = (machine: MachineReport) => ({
    intercepted: sum(machine.accesses.map(({ intercepted }) => intercepted)),
    direct: sum(machine.accesses.map(({ direct }) => direct)),
  });
  const allExits: Row = [
    '  all reasons',
    ...machines.flatMap(({ exits }) => [grouped(sum(Object.values(exits))), '']),
  ];
  const costs = (machine: MachineReport) =>
    Object.fromEntries(machine.costs.map(({ row, cycles }) => [row, cycles]));
  const range = (end: 'low' | 'high'): Row => [
    `  if all cost the ${end}`,
    ...machines.flatMap((machine) => [grouped(sensitivity(machine)[end]), '']),
  ];
  const totals: Row[] = [
    ['  cycles in root mode', ...machines.flatMap(({ rootTicks }) => [grouped(rootTicks), ''])],
    range('low'),
    range('high'),
    ['  share of the run', ...machines.flatMap((machine) => [overhead(machine), ''])],
  ];
  const legend = [
    ...new Map(machines.flatMap((m) => m.costs).map((line) => [line.row, line])).values(),
  ];

  const parts = [
    `${guest} on ${machines.length} machines: profile ${profile}, ${counting} counting`,
    section(
      'what the guest read',
      machines,
      names(machines).flatMap((name) => eventRows(name, machines)),
    ),
    section('VM exits by reason [exact]', machines, [
      ...countRows(machines, ({ exits }) => exits),
      allExits,
    ]),
    section('PMU accesses [exact]', machines, countRows(machines, accesses)),
    section(
      'instructions [exact]',
      machines,
      countRows(machines, ({ guestInstructions, rootInstructions }) => ({
        guest: guestInstructions,
        'root mode (modelled)': rootInstructions,
      })),
    ),
    section(
      'run loop [exact]',
      machines,
      countRows(machines, ({ switching }) => (switching ? runLoop(switching) : {})),
    ),
    section('cost in cycles [modelled]', machines, [...countRows(machines, costs), ...totals]),
    table(
      [
        ['cost rows', 'cycles', 'range', 'provenance'],
        ...legend.map(({ row, each, low, high, provenance }) => [
          `  ${row}`,
          grouped(each),
          `${grouped(low)}–${grouped(high)}`,
          provenance,
        ]),
      ],
      ['left', 'right', 'right', 'left'],
    ),
    table(
      machines.map(({ machine, reason, exitValue, verdicts, digest }) => [
        machine,
        exitValue === undefined ? reason : `${reason} ${exitValue}`,
        `${verdicts.passed} passed, ${verdicts.failed} failed, ${verdicts.skipped} skipped`,
        `digest ${digest.slice(0, 16)}`,
      ]),
      ['left', 'left', 'left', 'left'],
    ),
    ...machines.flatMap(({ machine, unsupported }) =>
      unsupported.length === 0
        ? []
        : [`${machine}: counted 0 because the model has no such event: ${unsupported.join(', ')}`],
    ),
  ];
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`;
}
