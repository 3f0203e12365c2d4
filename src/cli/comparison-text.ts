import { grouped } from '../bits/decimal.ts';
import { type Comparison, countedText, type MachineReport } from '../lab/comparison.ts';
import * as rows from './comparison-rows.ts';
import { table } from './table.ts';

/** Widths of the columns, and how many machines fit 100 characters. */
const LABEL = 28;
const NUMBER = 12;
const ERROR = 8;
const ABREAST = 3;

/** A section's rows, machines side by side as many as fit a line, the rest below. `cells` a machine: 2, or 1 of words. */
function section(
  title: string,
  machines: readonly MachineReport[],
  body: readonly rows.Row[],
  cells: 1 | 2 = 2,
): string {
  if (body.length === 0) return '';
  const tables: string[] = [];
  for (let from = 0; from < machines.length; from += ABREAST) {
    const abreast = machines.slice(from, from + ABREAST);
    const cut = ([label = '', ...rest]: rows.Row): rows.Row => [
      label,
      ...rest.slice(cells * from, cells * (from + ABREAST)),
    ];
    const each = cells === 2 ? [NUMBER, ERROR] : [NUMBER + ERROR];
    tables.push(
      table(
        [[title, ...abreast.map(({ machine }) => machine)]],
        [],
        [LABEL, ...abreast.map(() => NUMBER + ERROR)],
      ),
      table(body.map(cut), [], [LABEL, ...abreast.flatMap(() => each)]),
    );
  }
  return tables.join('\n');
}

/** The rows of the cost table that were used. */
function legend(machines: readonly MachineReport[]): string {
  const used = new Map(machines.flatMap(({ costs }) => costs).map((cost) => [cost.row, cost]));
  if (used.size === 0) return '';
  return table(
    [
      ['cost rows, cycles at 3.0 GHz', 'default', 'low–high', 'provenance'],
      ...[...used.values()].map(({ row, each, low, high, provenance }) => [
        `  ${row}`,
        grouped(each),
        `${grouped(low)}–${grouped(high)}`,
        provenance,
      ]),
    ],
    ['left', 'right', 'right', 'left'],
  );
}

const ends = (machines: readonly MachineReport[]): string =>
  table(
    machines.map(({ machine, reason, exitValue, verdicts, digest }) => [
      machine,
      exitValue === undefined ? reason : `${reason} ${exitValue}`,
      `${verdicts.passed} passed, ${verdicts.failed} failed, ${verdicts.skipped} skipped`,
      `digest ${digest.slice(0, 16)}`,
    ]),
    ['left', 'left', 'left', 'left'],
  );

const KEY =
  '[exact]: counted by the machine. [modelled] and *: cycles supposed of root mode, by the cost rows.';

/** One guest on several machines, as text of fixed columns. Every number says what stands behind it. */
export function comparisonText(comparison: Comparison): string {
  const { guest, machines } = comparison;
  const instructions = rows.counts(machines, ({ guestInstructions, rootInstructions }) => ({
    guest: guestInstructions,
    'root mode (modelled)': rootInstructions,
  }));
  const parts = [
    `${guest} on ${machines.length} machines: ${countedText(comparison)}`,
    section('what the guest read', machines, rows.readings(machines)),
    section('counting [exact]', machines, rows.losses(machines)),
    machines.flatMap(rows.windowLines).join('\n'),
    section('PMIs [exact]', machines, rows.pmis(machines)),
    section('VM exits by reason [exact]', machines, rows.exits(machines)),
    section('PMU accesses [exact]', machines, rows.accesses(machines)),
    section('instructions [exact]', machines, instructions),
    section('run loop [exact]', machines, rows.runLoop(machines)),
    section('PMU switch per entry [exact]', machines, rows.switchWork(machines)),
    section('host events beside [exact]', machines, rows.hostEvents(machines)),
    section('what the host lost [exact]', machines, rows.host(machines), 1),
    section('root mode by exit [modelled]', machines, rows.exitCycles(machines)),
    section('cost in cycles [modelled]', machines, rows.costs(machines)),
    legend(machines),
    ends(machines),
    ...machines.flatMap(({ machine, probes }) =>
      probes && probes.leaks.leaks.length > 0
        ? [`${machine}: the guest reads what the host left in ${probes.leaks.leaks.join(', ')}`]
        : [],
    ),
    ...machines.flatMap(({ machine, unsupported }) =>
      unsupported.length === 0
        ? []
        : [`${machine}: counted 0 because the model has no such event: ${unsupported.join(', ')}`],
    ),
    KEY,
  ];
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`;
}
