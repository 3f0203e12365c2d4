import { grouped } from '../bits/decimal.ts';
import { hex } from '../bits/hex.ts';
import {
  type EventComparison,
  errorPpm,
  type MachineReport,
  sensitivity,
} from '../lab/comparison.ts';
import type { HostEventReport } from '../machine/host-events.ts';
import type { LostWindow } from '../machine/lost-windows.ts';
import type { Spread } from '../machine/pmi-latency.ts';
import type { Switching } from '../machine/switching.ts';

/** A label and, for each machine, a number and what is said beside it. */
export type Row = readonly string[];

type Machines = readonly MachineReport[];

type Read = Pick<EventComparison, 'read' | 'truth'>;

/** `+0.31 %`; `exact` for what is equal to the truth, and nothing else. */
export function percent(event: Read): string {
  const ppm = errorPpm(event);
  if (ppm === undefined) return '';
  if (event.read === event.truth) return 'exact';
  if (ppm === 0n) return '< 1 ppm';
  const sign = ppm < 0n ? '-' : '+';
  const absolute = ppm < 0n ? -ppm : ppm;
  if (absolute < 100n) return `${sign}0.00${grouped((absolute + 5n) / 10n)} %`;
  return `${sign}${(Number(absolute) / 10_000).toFixed(2)} %`;
}

const sum = (values: Iterable<number>): number => [...values].reduce((a, b) => a + b, 0);

/** Read and error in one row, the truth in the next. */
function eventRows(name: string, machines: Machines): Row[] {
  const found = machines.map(({ events }) => events.find((event) => event.name === name));
  const read = (event: EventComparison | undefined): Row => {
    if (!event) return ['absent', ''];
    if (event.read === undefined) return ['not counted', ''];
    return [grouped(event.read), percent(event)];
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

/** What the guest read of each event. */
export const readings = (machines: Machines): Row[] =>
  [...new Set(machines.flatMap(({ events }) => events.map(({ name }) => name)))].flatMap((name) =>
    eventRows(name, machines),
  );

/** One row for each key, 0 where a machine has none. */
export function counts<Key extends string>(
  machines: Machines,
  of: (machine: MachineReport) => Readonly<Record<Key, number | bigint>>,
): Row[] {
  const keys = [...new Set(machines.flatMap((machine) => Object.keys(of(machine)) as Key[]))];
  return keys.map((key) => [
    `  ${key}`,
    ...machines.flatMap((machine) => [grouped(of(machine)[key] ?? 0), '']),
  ]);
}

export const exits = (machines: Machines): Row[] => [
  ...counts(machines, (machine) => machine.exits),
  ['  all reasons', ...machines.flatMap((m) => [grouped(sum(Object.values(m.exits))), ''])],
];

/** Root mode's cycles by the exit that led to them, and their share of all of them. */
export function exitCycles(machines: Machines): Row[] {
  const reasons = [...new Set(machines.flatMap((machine) => Object.keys(machine.exitCycles)))];
  const row = (label: string, of: (machine: MachineReport) => number): Row => [
    `  ${label}`,
    ...machines.flatMap((machine) => {
      const cycles = of(machine);
      const share = (100 * cycles) / Number(machine.rootTicks);
      return [grouped(cycles), cycles === 0 ? '' : `${share.toFixed(2)} %`];
    }),
  ];
  if (reasons.length === 0) return [];
  return [
    ...reasons.map((reason) => row(reason, (machine) => machine.exitCycles[reason] ?? 0)),
    row(
      'before first, after last',
      ({ rootTicks, exitCycles: after }) => Number(rootTicks) - sum(Object.values(after)),
    ),
  ];
}

export const accesses = (machines: Machines): Row[] =>
  counts(machines, (machine) => ({
    intercepted: sum(machine.accesses.map(({ intercepted }) => intercepted)),
    direct: sum(machine.accesses.map(({ direct }) => direct)),
  }));

/** The run loop's figures by what a reader calls them. */
const runLoopOf = (done: Switching) => ({
  'VM entries': done.entries,
  '… from the fastpath': done.fastpath,
  'instructions emulated': done.emulated,
  ...(done.nestedEntries > 0 && {
    'VM entries of the guest’s own': done.nestedEntries,
    'VM exits to the guest': done.nestedExits,
  }),
  'vPMU loads': done.loads,
  'vPMU puts': done.puts,
  'RDMSR in root mode': done.rdmsr,
  'WRMSR in root mode': done.wrmsr,
  'RDPMC in root mode': done.rdpmc,
});

export const runLoop = (machines: Machines): Row[] =>
  counts(machines, ({ switching }) => (switching ? runLoopOf(switching) : {}));

/** Accesses that hand the PMU over and take it back, by kind, on average of all entries. */
export function switchWork(machines: Machines): Row[] {
  const kinds = ['rdmsr', 'wrmsr', 'rdpmc', 'vmread', 'vmwrite'] as const;
  return kinds.map((kind) => [
    `  ${kind.toUpperCase()}`,
    ...machines.flatMap(({ switching }) => {
      if (!switching || switching.entries === 0) return ['0', ''];
      return [(switching.switches[kind] / switching.entries).toFixed(2), ''];
    }),
  ]);
}

/** PMIs and how long they took. */
export function pmis(machines: Machines): Row[] {
  if (machines.every(({ pmis: { due, delivered } }) => due + delivered === 0)) return [];
  const of = (label: string, value: (machine: MachineReport) => number | undefined): Row => [
    `  ${label}`,
    ...machines.flatMap((machine) => {
      const number = value(machine);
      return [number === undefined ? '' : grouped(number), ''];
    }),
  ];
  const each = (unit: 'instructions' | 'ticks', name: string): Row[] =>
    (['min', 'median', 'max'] as const satisfies readonly (keyof Spread)[]).map((end) =>
      of(`latency, ${name}, ${end}`, ({ pmis: report }) => report[unit]?.[end]),
    );
  return [
    of('due', ({ pmis: { due } }) => due),
    of('delivered', ({ pmis: { delivered } }) => delivered),
    of('… without a wrap', ({ pmis: { unexpected } }) => unexpected),
    ...each('instructions', 'instr.'),
    ...each('ticks', 'cycles*'),
  ];
}

/** Readings held against a PMU that is the guest's alone. */
export const losses = (machines: Machines): Row[] =>
  counts(machines, ({ lost }) => ({
    'readings compared': lost.compared,
    'readings that were wrong': sum(Object.values(lost.wrong)),
    'lost windows': lost.windows,
    'events missed': lost.missed,
    'events of others counted': lost.foreign,
  }));

const place = ({ rip, instructions }: LostWindow['from']): string =>
  `instruction ${grouped(instructions)} (RIP ${hex(rip)})`;

/** The first windows of a machine, a sentence each. */
export const windowLines = ({ machine, lost }: MachineReport): string[] =>
  lost.first.slice(0, 3).flatMap(({ counter, events, from, to, exits: between }) => {
    const told = events < 0n ? `missed ${grouped(-events)}` : `counted ${grouped(events)} too many`;
    const reasons = Object.entries(between).map(([reason, times]) => `${grouped(times)} ${reason}`);
    return [
      `${machine}: ${counter} ${told} between`,
      `  ${place(from)} and ${place(to)}`,
      `  VM exits there: ${reasons.join(', ') || 'none'}`,
    ];
  });

/** Events of the host beside the guest: what perf reads, and what it had to count. */
export function hostEvents(machines: Machines): Row[] {
  const all = machines.map((machine) => machine.hostEvents);
  const names = all.find((report) => report)?.events.map(({ name }) => name) ?? [];
  const rows = names.flatMap((name, at): Row[] => {
    const found = all.map((report) => report?.events[at]);
    const row = (label: string, cells: (event: HostEventReport) => Row): Row => [
      label,
      ...found.flatMap((event) => (event ? cells(event) : ['', ''])),
    ];
    const share = ({ enabled, running }: HostEventReport): Row =>
      enabled === 0n
        ? ['', '']
        : [`${(Number((running * 10_000n) / enabled) / 100).toFixed(2)} %`, ''];
    const any = (is: (event: HostEventReport) => boolean) =>
      found.some((event) => event !== undefined && is(event));
    return [
      row(name, (event) => [standing(event), percent(event)]),
      row('  true', ({ truth }) => [truth === undefined ? '' : grouped(truth), '']),
      ...(any(({ enabled, running }) => running < enabled) ? [row('  on a counter', share)] : []),
      ...(any(({ errorAt }) => errorAt !== undefined)
        ? [
            row('  ERROR at instruction', ({ errorAt }) => [
              errorAt === undefined ? '' : grouped(errorAt),
              '',
            ]),
          ]
        : []),
    ];
  });
  if (rows.length === 0) return [];
  const failed = all.flatMap((report) => [report ? grouped(report.guestErrors) : '', '']);
  return [...rows, ['guest’s own in ERROR', ...failed]];
}

const standing = ({ refused, errorAt, read }: HostEventReport): string => {
  if (refused !== undefined) return refused;
  if (read !== undefined) return grouped(read);
  return errorAt === undefined ? 'not counted' : 'ERROR';
};

/** What the host lost, in words: one cell a machine. */
export function host(machines: Machines): Row[] {
  if (machines.every(({ probes }) => !probes)) return [];
  const of = (label: string, value: (machine: MachineReport) => string): Row => [
    `  ${label}`,
    ...machines.map((machine) => (machine.probes ? value(machine) : '')),
  ];
  return [
    of('root mode blind, cycles*', ({ blindTicks }) => grouped(blindTicks)),
    of('cycles opened beside a VM', ({ probes }) => probes!.host.besideVm),
    of('cycles:H opened beside it', ({ probes }) => probes!.host.besideVmExcludingGuests),
    of('a VM beside open cycles', ({ probes }) => probes!.host.vmBesideEvent),
    of('NMI watchdog', ({ probes }) => probes!.host.watchdog),
    of('leaks found', ({ probes }) => {
      const { leaks, probed } = probes!.leaks;
      return leaks.length === 0 ? `none in ${probed} reads` : `${leaks.length} in ${probed} reads`;
    }),
  ];
}

/** Root mode's cycles by row of the cost table, and what becomes of them at either end of each row's range. */
export function costs(machines: Machines): Row[] {
  const share = (root: number, { ticks, rootTicks }: MachineReport): string => {
    const whole = Number(ticks - rootTicks) + root;
    return whole === 0 ? '' : `${((100 * root) / whole).toFixed(2)} %`;
  };
  const range = (label: string, end: 'low' | 'default' | 'high'): Row => [
    `  ${label}`,
    ...machines.flatMap((machine) => {
      const root = end === 'default' ? Number(machine.rootTicks) : sensitivity(machine)[end];
      return [grouped(root), share(root, machine)];
    }),
  ];
  return [
    ...counts(machines, (machine) =>
      Object.fromEntries(machine.costs.map(({ row, cycles }) => [row, cycles])),
    ),
    range('all, and share of the run', 'default'),
    range('if all cost the low', 'low'),
    range('if all cost the high', 'high'),
  ];
}
