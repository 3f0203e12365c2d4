import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { runOn } from '../../src/lab/compare.ts';

const image = (name: string) =>
  new Uint8Array(readFileSync(new URL(`../../firmware/${name}.elf`, import.meta.url)));

const run = (guest: string, machine: string, profile: string) =>
  runOn(image(guest), machine, 100_000_000n, { profile });

// Worked out by hand in the comments of count.asm.
const COUNT = [1_000_005n, 500_000n, 34n, 13n, 4_010n, 18n, 3n];

// Where sapphire-rapids and skylake-server do not lead: widths, writes and counters of other PMUs.
describe.each([
  ['bare', 'perfmon-v2'],
  ['emulated', 'perfmon-v2'],
  ['emulated', 'perfmon-v3'],
  ['passthrough', 'perfmon-v4'],
  ['emulated', 'perfmon-v6'],
  ['passthrough', 'perfmon-v6'],
  ['passthrough', 'ice-lake-server'],
])('on the %s machine of %s', (machine, profile) => {
  it('count reads what its loops have', () => {
    const { events, verdicts, exitValue } = run('count', machine, profile);
    expect(events.map(({ read }) => read)).toEqual(COUNT);
    expect(events.map(({ truth }) => truth)).toEqual(COUNT);
    expect([verdicts.failed, exitValue]).toEqual([0, 0]);
  });
});

describe('a PMU of 40 bits without full-width writes', () => {
  it('overflows where the guest wants it under the emulated vPMU', () => {
    const { console, verdicts } = run('overflow', 'emulated', 'perfmon-v2');
    expect(console.match(/^read skid \d+$/gm)).toEqual(Array(4).fill('read skid 0'));
    expect(verdicts.failed).toBe(0);
  });
});

it.each([
  ['perfmon-v2', 'passthrough', 'version 2 without them'],
  ['perfmon-v3', 'passthrough', 'version 3 with them'],
  ['perfmon-v3', 'rfc-v1', 'version 3 with them'],
  ['perfmon-v3', 'opt-out', 'version 3 with them'],
])('the PMU of %s cannot be handed over by %s', (profile, machine, what) => {
  const design = machine === 'passthrough' ? 'mediated' : machine;
  expect(() => run('count', machine, profile)).toThrow(
    expect.objectContaining({
      code: 'mediated-unsupported',
      message: `design ${design} needs a host PMU of version 4 or later with full-width writes: this one is ${what}`,
    }),
  );
});
