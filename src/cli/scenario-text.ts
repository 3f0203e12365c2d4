import { grouped } from '../bits/decimal.ts';
import type { Scenario, ScenarioRow } from '../lab/scenarios/scenario.ts';
import { table } from './table.ts';

const WIDTH = 96;

/** A paragraph in lines of at most `WIDTH` characters. */
function wrapped(text: string): string {
  const lines: string[] = [];
  for (const word of text.split(/\s+/)) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= WIDTH) {
      lines[lines.length - 1] = `${last} ${word}`;
    } else lines.push(word);
  }
  return lines.join('\n');
}

const cell = (value: bigint | number | string | undefined): string =>
  value === undefined ? '' : typeof value === 'string' ? value : grouped(value);

/** What a scenario showed: its title, its table, why, and what stands behind the numbers. */
export function scenarioText(scenario: Scenario, rows: readonly ScenarioRow[]): string {
  const { name, title, why, columns } = scenario;
  const body = rows.map(({ what, values }) => [
    `  ${what}`,
    ...columns.map((column) => cell(values[column])),
  ]);
  const modelled = [...columns, ...rows.map(({ what }) => what)].some((what) => what.endsWith('*'));
  const provenance = modelled
    ? '*: modelled, of work supposed by the cost rows. All else is exact, or says that it was published.'
    : 'All numbers are exact.';
  return `${[`${name}: ${title}`, table([['', ...columns], ...body]), wrapped(why), provenance].join('\n\n')}\n`;
}
