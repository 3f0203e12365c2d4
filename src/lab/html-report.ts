import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { grouped } from '../bits/decimal.ts';
import type { Spread } from '../machine/pmi-latency.ts';
import {
  type Comparison,
  countedText,
  errorPpm,
  type MachineReport,
  sensitivity,
} from './comparison.ts';

/** A chart of grouped bars: categories along the bottom, one colour per machine. */
interface Chart {
  readonly title: string;
  readonly unit: string;
  readonly categories: readonly string[];
  readonly series: readonly {
    readonly name: string;
    readonly values: readonly (number | null)[];
  }[];
}

const COLOURS = [
  '#4e79a7',
  '#f28e2b',
  '#59a14f',
  '#e15759',
  '#b07aa1',
  '#76b7b2',
  '#edc948',
  '#9c755f',
  '#bab0ac',
  '#ff9da7',
];

const SPREAD = ['min', 'median', 'max'] as const satisfies readonly (keyof Spread)[];
const SWITCHES = ['rdmsr', 'wrmsr', 'rdpmc', 'vmread', 'vmwrite'] as const;
const ENDS = ['low', 'default', 'high'] as const;

const escaped = (text: string): string =>
  text.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]!);

const union = (
  machines: readonly MachineReport[],
  keys: (machine: MachineReport) => readonly string[],
) => [...new Set(machines.flatMap(keys))];

/** Everything the report draws. */
export function charts({ machines }: Comparison): Chart[] {
  const events = union(machines, (machine) => machine.events.map(({ name }) => name));
  const reasons = union(machines, ({ exits }) => Object.keys(exits));
  const rows = union(machines, ({ costs }) => costs.map(({ row }) => row));
  const hasPmis = machines.some(({ pmis }) => pmis.delivered > 0);
  const chart = (
    title: string,
    unit: string,
    categories: readonly string[],
    value: (machine: MachineReport, category: string) => number | null,
  ): Chart => ({
    title,
    unit,
    categories,
    series: machines.map((machine) => ({
      name: machine.machine,
      values: categories.map((category) => value(machine, category)),
    })),
  });
  return [
    chart('Error of what the guest read', '%', events, ({ events: told }, name) => {
      const event = told.find((row) => row.name === name);
      const ppm = event && errorPpm(event);
      return ppm === undefined ? null : Number(ppm) / 10_000;
    }),
    chart(
      'VM exits by reason (exact)',
      'exits',
      reasons,
      ({ exits }, reason) => exits[reason] ?? 0,
    ),
    chart(
      'Cost of root mode by the exit that led to it (modelled)',
      'cycles',
      union(machines, ({ exitCycles }) => Object.keys(exitCycles)),
      ({ exitCycles }, reason) => exitCycles[reason] ?? 0,
    ),
    chart(
      'Cost of root mode by row (modelled)',
      'cycles',
      rows,
      ({ costs }, row) => costs.find((cost) => cost.row === row)?.cycles ?? 0,
    ),
    chart('PMI latency (modelled)', 'cycles', hasPmis ? SPREAD : [], ({ pmis }, end) =>
      pmis.ticks ? pmis.ticks[end as keyof Spread] : null,
    ),
    chart(
      'Accesses that switch the PMU, per VM entry (exact)',
      'accesses',
      machines.some(({ switching }) => switching) ? SWITCHES : [],
      ({ switching }, kind) =>
        switching
          ? switching.switches[kind as (typeof SWITCHES)[number]] / switching.entries
          : null,
    ),
    chart(
      'Root mode if all cost the low end, the default, the high end of its row (modelled)',
      'cycles',
      rows.length > 0 ? ENDS : [],
      (machine, end) => sensitivity(machine)[end as keyof ReturnType<typeof sensitivity>],
    ),
  ].filter(({ categories }) => categories.length > 0);
}

/** A table of the comparison's numbers, every one with its standing. */
function table({ machines }: Comparison): string {
  const head = machines.map(({ machine }) => `<th colspan="3">${escaped(machine)}</th>`).join('');
  const names = union(machines, (machine) => machine.events.map(({ name }) => name));
  if (names.length === 0) return '';
  const rows = names.map((name) => {
    const cells = machines.map(({ events }) => {
      const event = events.find((row) => row.name === name);
      const ppm = event && errorPpm(event);
      const read = event?.read === undefined ? '–' : grouped(event.read);
      const truth = event?.truth === undefined ? '–' : grouped(event.truth);
      const error = ppm === undefined ? '' : `${(Number(ppm) / 10_000).toFixed(2)} %`;
      return `<td>${read}</td><td>${truth}</td><td>${error}</td>`;
    });
    const standing = machines
      .flatMap(({ events }) => events)
      .find((row) => row.name === name)?.standing;
    return `<tr><th>${escaped(name)} <small>${standing}</small></th>${cells.join('')}</tr>`;
  });
  const kinds = machines.map(() => '<th>read</th><th>true</th><th>error</th>').join('');
  return `<table><thead><tr><th></th>${head}</tr><tr><th></th>${kinds}</tr></thead><tbody>${rows.join('')}</tbody></table>`;
}

/** A table of one row a figure and one column a machine. */
function figures(
  title: string,
  machines: readonly MachineReport[],
  rows: readonly (readonly [label: string, value: (machine: MachineReport) => string])[],
): string {
  const head = machines.map(({ machine }) => `<th>${escaped(machine)}</th>`).join('');
  const body = rows.map(([label, value]) => {
    const cells = machines.map((machine) => `<td>${escaped(value(machine))}</td>`);
    return `<tr><th>${escaped(label)}</th>${cells.join('')}</tr>`;
  });
  return `<h2>${escaped(title)}</h2><table><thead><tr><th></th>${head}</tr></thead><tbody>${body.join('')}</tbody></table>`;
}

/** How well the guest was counted for, and what that left the host. */
const standing = ({ machines }: Comparison): string =>
  figures('Counting and PMIs (exact)', machines, [
    ['readings compared', ({ lost }) => grouped(lost.compared)],
    ['lost windows', ({ lost }) => grouped(lost.windows)],
    ['events missed', ({ lost }) => grouped(lost.missed)],
    ['events of others counted', ({ lost }) => grouped(lost.foreign)],
    ['PMIs due', ({ pmis }) => grouped(pmis.due)],
    ['PMIs delivered', ({ pmis }) => grouped(pmis.delivered)],
    ['latency in instructions, median', ({ pmis }) => String(pmis.instructions?.median ?? '–')],
  ]) +
  figures('What the host lost (exact; cycles modelled)', machines, [
    ['cycles of root mode it was blind in', ({ blindTicks }) => grouped(blindTicks)],
    ['cycles opened beside a VM', ({ probes }) => probes?.host.besideVm ?? '–'],
    ['cycles:H opened beside it', ({ probes }) => probes?.host.besideVmExcludingGuests ?? '–'],
    ['a VM beside open cycles', ({ probes }) => probes?.host.vmBesideEvent ?? '–'],
    ['NMI watchdog', ({ probes }) => probes?.host.watchdog ?? '–'],
    [
      'leaks found',
      ({ probes }) =>
        probes ? probes.leaks.leaks.join(', ') || `none in ${probes.leaks.probed} reads` : '–',
    ],
  ]);

/** The rows of the cost table that were used: figure, range, provenance, source. */
function costTable({ machines }: Comparison): string {
  const used = new Map(machines.flatMap(({ costs }) => costs).map((cost) => [cost.row, cost]));
  if (used.size === 0) return '';
  const rows = [...used.values()].map(
    ({ row, each, low, high, provenance, source }) =>
      `<tr><th>${escaped(row)}</th><td>${grouped(each)}</td><td>${grouped(low)} – ${grouped(high)}</td><td>${provenance}</td><td class="text">${escaped(source)}</td></tr>`,
  );
  return `<h2>Where the costs come from</h2><table><thead><tr><th>row</th><th>cycles</th><th>range</th><th>provenance</th><th>source</th></tr></thead><tbody>${rows.join('')}</tbody></table>`;
}

/** The plotting library, to be written into the page so that it opens from disk. */
function library(): { script: string; style: string } {
  const { resolve } = createRequire(import.meta.url);
  const read = (file: string) => readFileSync(resolve(`uplot/dist/${file}`), 'utf8');
  return { script: read('uPlot.iife.min.js'), style: read('uPlot.min.css') };
}

/** Draws the charts; runs in the page. */
const DRAW = `
for (const [i, chart] of CHARTS.entries()) {
  const place = document.getElementById('chart' + i);
  const stride = chart.series.length + 1;
  const xs = chart.categories.flatMap((_, c) => chart.series.map((_, s) => c * stride + s));
  const data = [xs, ...chart.series.map((series, s) => xs.map((x) => x % stride === s ? series.values[Math.floor(x / stride)] : null))];
  const middle = (chart.series.length - 1) / 2;
  new uPlot({
    title: chart.title, width: 1080, height: 360, padding: [null, 60, null, null],
    scales: { x: { time: false, range: [-1, chart.categories.length * stride - 1] } },
    axes: [
      { splits: () => chart.categories.map((_, c) => c * stride + middle), values: () => chart.categories, rotate: -30, size: 110, grid: { show: false } },
      { label: chart.unit, size: 90 },
    ],
    series: [{ label: 'category', value: (u, x) => x == null ? '' : chart.categories[Math.floor(x / stride)] },
      ...chart.series.map((series, s) => ({ label: series.name, stroke: COLOURS[s % COLOURS.length], fill: COLOURS[s % COLOURS.length] + 'cc', paths: uPlot.paths.bars({ size: [0.9, 60] }), points: { show: false } }))],
  }, data, place);
}`;

const STYLE = `
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1120px; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 1rem 0; }
th, td { padding: .15rem .6rem; text-align: right; border-bottom: 1px solid #e4e4e4; }
tbody th { text-align: left; font-weight: 500; } td.text { text-align: left; } small { color: #777; }
.chart { margin: 2rem 0; overflow-x: auto; }`;

/** A page that shows a comparison with plots and opens from disk: nothing in it is fetched. */
export function htmlReport(comparison: Comparison): string {
  const { script, style } = library();
  const { guest, machines } = comparison;
  const drawn = charts(comparison);
  const data = JSON.stringify(drawn).replaceAll('<', '\\u003c');
  const ends = machines.map(
    ({ machine, title, reason, digest }) =>
      `<li><b>${escaped(machine)}</b>: ${escaped(title)} <small>(${reason}, digest ${digest.slice(0, 16)})</small></li>`,
  );
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${escaped(guest)}: counterpoint</title>
<style>${style}${STYLE}</style></head><body>
<h1>${escaped(guest)} on ${machines.length} machines</h1>
<p>${escaped(countedText(comparison))}. Reads and exits are exact; costs are modelled from the rows below; cycles are modelled.</p>
<ul>${ends.join('')}</ul>
${table(comparison)}
${standing(comparison)}
${drawn.map((_, i) => `<div class="chart" id="chart${i}"></div>`).join('\n')}
${costTable(comparison)}
<script>${script}</script>
<script>const COLOURS = ${JSON.stringify(COLOURS)}; const CHARTS = ${data};${DRAW}</script>
</body></html>
`;
}
