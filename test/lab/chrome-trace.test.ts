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
  id: string;
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

  it.each([1, 2])(
    'has a flow from each PMI into the guest slice that takes it (machine %s)',
    (pid) => {
      const [starts, ends] = [of(pid, 's'), of(pid, 'f')];
      expect(starts).toHaveLength(104);
      expect(ends.map(({ id }) => id)).toEqual(starts.map(({ id }) => id));
      // Perfetto binds a flow to the slice open at its time on its track, opened earlier in the file.
      const all = file.traceEvents;
      const bound = (event: Event) =>
        all
          .slice(0, all.indexOf(event))
          .some(
            ({ ph, pid: process, tid, ts, dur }) =>
              ph === 'X' &&
              process === pid &&
              tid === event.tid &&
              ts <= event.ts &&
              event.ts <= ts + dur,
          );
      expect([...starts, ...ends].every(bound)).toBe(true);
      expect(starts.every(({ ts }, i) => ts <= ends[i]!.ts)).toBe(true);
    },
  );

  it('holds what the Trace Event Format asks of every phase', () => {
    const NEEDED: Readonly<Record<string, readonly string[]>> = {
      M: ['name', 'pid', 'tid', 'args'],
      X: ['name', 'pid', 'tid', 'ts', 'dur'],
      C: ['name', 'pid', 'ts', 'args'],
      s: ['name', 'cat', 'id', 'pid', 'tid', 'ts'],
      f: ['name', 'cat', 'id', 'pid', 'tid', 'ts', 'bp'],
    };
    const wrong = file.traceEvents.filter((event) => {
      const needed = NEEDED[event.ph];
      if (!needed?.every((key) => key in event)) return true;
      return event.ph !== 'M' && !Number.isFinite(event.ts);
    });
    expect(wrong).toEqual([]);
    const flows = file.traceEvents.filter(({ ph }) => ph === 's').map(({ id }) => id);
    expect(new Set(flows).size).toBe(flows.length);
  });

  it('shows the vPMU loaded only where it is handed over', () => {
    expect(of(1, 'X').some(({ name }) => name === 'loaded')).toBe(false);
    expect(of(2, 'X').some(({ name }) => name === 'loaded')).toBe(true);
  });
});
