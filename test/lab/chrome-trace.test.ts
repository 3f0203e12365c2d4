import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type ChromeTrace, chromeTraceJson } from '../../src/lab/chrome-trace.ts';
import { compare } from '../../src/lab/compare.ts';

const image = new Uint8Array(readFileSync(new URL('../../firmware/overflow.elf', import.meta.url)));

interface Event {
  ph: string;
  pid: number;
  tid: number;
  name: string;
  ts: number;
  dur: number;
  id: number;
  args: Record<string, unknown>;
}

const traces: ChromeTrace[] = [];
const { machines } = compare(image, {
  name: 'overflow',
  machines: ['bare', 'emulated', 'passthrough'],
  onTrace: (trace) => traces.push(trace),
});
const file = JSON.parse(chromeTraceJson(traces)) as {
  displayTimeUnit: string;
  traceEvents: Event[];
};
const of = (pid: number, ph: string) =>
  file.traceEvents.filter((e) => e.pid === pid && e.ph === ph);

describe('a Chrome trace', () => {
  it('has a process for each virtual machine, none for the bare one', () => {
    expect(file.displayTimeUnit).toBe('ns');
    expect(
      file.traceEvents.filter(({ name }) => name === 'process_name').map(({ args }) => args),
    ).toEqual([{ name: 'overflow on emulated' }, { name: 'overflow on passthrough' }]);
  });

  it.each([1, 2])('has a slice of guest time for each VM exit (machine %s)', (pid) => {
    const exits = Object.values(machines[pid]!.exits).reduce((a, b) => a + b, 0);
    const guest = of(pid, 'X').filter(({ name }) => name === 'guest');
    expect(guest).toHaveLength(exits);
    expect(of(pid, 'C').at(-1)?.args).toEqual({ exits });
  });

  it.each([1, 2])(
    'never goes back in time, and slices of a track do not overlap (machine %s)',
    (pid) => {
      for (const tid of new Set(of(pid, 'X').map((e) => e.tid))) {
        let end = 0;
        for (const { ts, dur } of of(pid, 'X').filter((e) => e.tid === tid)) {
          expect(ts).toBeGreaterThanOrEqual(end - 1e-6);
          expect(dur).toBeGreaterThanOrEqual(0);
          end = ts + dur;
        }
      }
    },
  );

  it.each([1, 2])('has a flow from a PMI to the entry that delivers it (machine %s)', (pid) => {
    const starts = of(pid, 's').map(({ id }) => id);
    const ends = of(pid, 'f').map(({ id }) => id);
    expect(starts.length).toBeGreaterThanOrEqual(100);
    expect(ends.length).toBeGreaterThanOrEqual(100);
    expect(ends.every((id) => starts.includes(id))).toBe(true);
  });

  it('shows the vPMU loaded only where it is handed over', () => {
    expect(of(1, 'X').some(({ name }) => name === 'loaded')).toBe(false);
    expect(of(2, 'X').some(({ name }) => name === 'loaded')).toBe(true);
  });
});
