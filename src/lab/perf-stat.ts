import { grouped } from '../bits/decimal.ts';

/** One line of `perf stat`. */
export interface StatLine {
  /** The event as the user typed it. */
  readonly event: string;
  /** Absent: `<not counted>`; `'unsupported'`: `<not supported>`. */
  readonly value: bigint | undefined | 'unsupported';
  readonly unit?: string;
  /** Nanoseconds the event was enabled, and was on a counter. */
  readonly enabled: bigint;
  readonly running: bigint;
  readonly metric?: { readonly value: number; readonly name: string };
}

const TICKS_PER_SECOND = 3_000_000_000;

/** Ticks of the virtual clock in nanoseconds, in seconds. */
export const nanoseconds = (ticks: bigint): bigint =>
  (ticks * 1_000_000_000n) / BigInt(TICKS_PER_SECOND);
export const seconds = (ticks: bigint): number => Number(ticks) / TICKS_PER_SECOND;

/** Width of the column of metrics, filled or not. */
const METRIC = 38;

const MISSING = { uncounted: '<not counted>', unsupported: '<not supported>' } as const;

const missing = (value: StatLine['value']): string | undefined =>
  value === undefined
    ? MISSING.uncounted
    : value === 'unsupported'
      ? MISSING.unsupported
      : undefined;

/** Percent of its enabled time that the event was on a counter. */
const percent = ({ enabled, running }: StatLine): number =>
  enabled === 0n ? 0 : Number((running * 1_000_000n) / enabled) / 10_000;

/** perf stat's text block, without a line more. @param seconds elapsed, of the virtual clock. */
export function statText(target: string, lines: readonly StatLine[], seconds: number): string {
  const body = lines.map((line) => {
    const { event, value, unit = '', metric, enabled, running } = line;
    const absent = missing(value);
    const number = absent ?? grouped(value as bigint);
    const head = `${number.padStart(18)} ${unit.padEnd(4)} ${event.padEnd(32)}`;
    const tail = metric ? ` # ${metric.value.toFixed(2).padStart(7)}  ${metric.name}` : '';
    const share = !absent && running !== enabled ? `  (${percent(line).toFixed(2)}%)` : '';
    return `${head}${tail.padEnd(METRIC)}${share}`.trimEnd();
  });
  return [
    '',
    ` Performance counter stats for '${target}':`,
    '',
    ...body,
    '',
    `${seconds.toFixed(9).padStart(18)} seconds time elapsed`,
    '',
    '',
  ].join('\n');
}

/** perf stat -x: fields joined by the separator verbatim, no quoting. */
export const statSeparated = (separator: string, lines: readonly StatLine[]): string =>
  lines
    .map((line) =>
      [
        missing(line.value) ?? String(line.value),
        line.unit ?? '',
        line.event,
        line.running,
        percent(line).toFixed(2),
        ...(line.metric ? [line.metric.value.toFixed(2), line.metric.name] : ['', '']),
      ].join(separator),
    )
    .map((line) => `${line}\n`)
    .join('');

/** perf stat -j: one object per line, ` : ` between key and value, the counter value a string with six decimals. */
export const statJson = (lines: readonly StatLine[]): string =>
  lines
    .map((line) => {
      const text = (value: string) => JSON.stringify(value);
      const fields = [
        ['counter-value', text(missing(line.value) ?? `${line.value}.000000`)],
        ['unit', text(line.unit ?? '')],
        ['event', text(line.event)],
        ['event-runtime', String(line.running)],
        ['pcnt-running', percent(line).toFixed(2)],
        ...(line.metric
          ? [
              ['metric-value', line.metric.value.toFixed(6)],
              ['metric-unit', text(line.metric.name)],
            ]
          : []),
      ];
      return `{${fields.map(([key, value]) => `"${key}" : ${value}`).join(', ')}}\n`;
    })
    .join('');

/** perf's own ratio: instructions per cycle, where both were counted. */
export function withMetrics(lines: readonly StatLine[]): StatLine[] {
  const base = (event: string) => event.replace(/:.*$/, '');
  return lines.map((line) => {
    const cycles = lines.find(({ event }) => /^(cpu-)?cycles$/.test(base(event)))?.value;
    const counted = typeof line.value === 'bigint' && typeof cycles === 'bigint' && cycles > 0n;
    if (base(line.event) !== 'instructions' || !counted) return line;
    const value = Number(((line.value as bigint) * 10_000n) / cycles) / 10_000;
    return { ...line, metric: { value, name: 'insn per cycle' } };
  });
}
