import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { runOn } from '../../src/lab/compare.ts';
import type { MachineReport } from '../../src/lab/comparison.ts';

const image = (name: string) =>
  new Uint8Array(readFileSync(new URL(`../../firmware/${name}.elf`, import.meta.url)));

const BUDGET = 100_000_000n;
const cache = new Map<string, MachineReport>();

/** One run of a bundled guest; the same run is made once. */
function report(guest: string, machine: string, profile = 'sapphire-rapids'): MachineReport {
  const key = `${guest} ${machine} ${profile}`;
  const known = cache.get(key) ?? runOn(image(guest), machine, BUDGET, { profile });
  cache.set(key, known);
  return known;
}

const MACHINES = ['bare', 'emulated', 'passthrough'] as const;
const PROFILES = ['sapphire-rapids', 'skylake-server'] as const;
const WHERE = PROFILES.flatMap((profile) => MACHINES.map((machine) => [machine, profile] as const));

// Worked out by hand in the comments of each guest's source: name, instructions or branches.
const COUNT: readonly [string, bigint][] = [
  ['instructions', 1_000_005n],
  ['branches', 500_000n],
  ['mixed-instructions', 34n],
  ['mixed-branches', 13n],
  ['half-instructions', 4_010n],
  ['fault-instructions', 18n],
  ['fault-branches', 3n],
];

const EMULATED: readonly [string, bigint][] = [
  ['cpuid-instructions', 4_005n],
  ['cpuid-branches', 1_000n],
  ['rdmsr-instructions', 3_006n],
  ['rdmsr-branches', 1_000n],
  ['in-instructions', 3_006n],
  ['in-branches', 1_000n],
];

const UNDER_A_HYPERVISOR: readonly [string, bigint][] = [
  ['vmcall-instructions', 4_005n],
  ['vmcall-branches', 1_000n],
  ['forced-instructions', 22n],
  ['forced-branches', 8n],
  ['forced-loop-instructions', 405n],
  ['forced-loop-branches', 200n],
];

describe.each(WHERE)('on the %s machine of a %s', (machine, profile) => {
  it('count reads what its loops have, and that is what happened', () => {
    const { events, verdicts, exitValue } = report('count', machine, profile);
    const told = events.map(({ name, read }) => [name, read]);
    const true_ = events.map(({ name, truth }) => [name, truth]);
    expect(told).toEqual(COUNT);
    expect(true_).toEqual(COUNT);
    expect(verdicts).toEqual({ passed: 25, failed: 0, skipped: 0 });
    expect(exitValue).toBe(0);
  });

  it('overflow interrupts a hundred times, each before the very next instruction', () => {
    const { console, verdicts } = report('overflow', machine, profile);
    expect(console).toContain('read pmis 100\n');
    expect(console.match(/^read skid \d+$/gm)).toEqual(Array(4).fill('read skid 0'));
    expect(verdicts).toEqual({ passed: 25, failed: 0, skipped: 0 });
  });

  it('emulated counts instructions that exit once each, whoever carries them out', () => {
    const { events } = report('emulated', machine, profile);
    const expected = machine === 'bare' ? EMULATED : [...EMULATED, ...UNDER_A_HYPERVISOR];
    expect(events.map(({ name, read }) => [name, read])).toEqual(expected);
    expect(events.map(({ name, truth }) => [name, truth])).toEqual(expected);
  });
});

describe('emulated', () => {
  it('says what the bare machine does not have', () => {
    const { console, verdicts } = report('emulated', 'bare');
    expect(console).toContain('SKIP: VMCALL: no hypervisor answers');
    expect(console).toContain(
      'SKIP: forced emulation: the prefix is an undefined instruction here',
    );
    expect(verdicts).toEqual({ passed: 11, failed: 0, skipped: 2 });
  });

  it.each(['emulated', 'passthrough'])(
    'gets its PMI from instructions that the hypervisor emulates, on the %s machine',
    (machine) => {
      const { console, verdicts } = report('emulated', machine);
      expect(console).toContain(
        'PASS: an emulated instruction overflows the counter: one interrupt',
      );
      expect(console).toContain('PASS: an emulated branch overflows the counter: one interrupt');
      expect(verdicts).toEqual({ passed: 26, failed: 0, skipped: 0 });
    },
  );
});

describe('the same guest on every machine', () => {
  it.each(['count', 'overflow'])('retires the same instructions: %s', (guest) => {
    const counts = MACHINES.map((machine) => report(guest, machine).guestInstructions);
    expect(new Set(counts).size).toBe(1);
  });

  it('retires its own instructions on the bare machine, in 1,017,984 ticks and no root mode', () => {
    const { guestInstructions, rootInstructions, rootTicks, exits } = report('count', 'bare');
    expect(guestInstructions).toBe(1_017_984n);
    expect(rootInstructions).toBe(0n);
    expect(rootTicks).toBe(0n);
    expect(exits).toEqual({});
  });

  it.each(MACHINES)('ends in the same digest when it is run again: %s', (machine) => {
    const again = runOn(image('count'), machine, BUDGET, {});
    expect(again.digest).toBe(report('count', machine).digest);
  });

  it.each(MACHINES)('ends in the same digest on the oracle: %s', (machine) => {
    const oracle = runOn(image('overflow'), machine, BUDGET, { engine: 'oracle' });
    expect(oracle.digest).toBe(report('overflow', machine).digest);
  });
});

describe('where PMU accesses go', () => {
  const accesses = (machine: string, register: string) => {
    const found = report('count', machine).accesses.find((row) =>
      row.register.startsWith(register),
    );
    return found && { intercepted: found.intercepted, direct: found.direct };
  };

  it('all are direct on the bare machine', () => {
    expect(report('count', 'bare').accesses.every(({ intercepted }) => intercepted === 0)).toBe(
      true,
    );
    expect(accesses('bare', 'IA32_PMC0 ')?.direct).toBeGreaterThan(0);
  });

  it('all exit under the emulated vPMU', () => {
    expect(report('count', 'emulated').accesses.every(({ direct }) => direct === 0)).toBe(true);
  });

  it('under the passthrough vPMU counters pass, selectors exit', () => {
    expect(accesses('passthrough', 'IA32_PMC0 ')?.intercepted).toBe(0);
    expect(accesses('passthrough', 'IA32_PERFEVTSEL0 ')?.direct).toBe(0);
    expect(accesses('passthrough', 'IA32_PERFEVTSEL0 ')?.intercepted).toBeGreaterThan(0);
  });

  it('the same accesses are made on each machine', () => {
    const totals = MACHINES.map((machine) =>
      report('count', machine).accesses.reduce(
        (sum, { intercepted, direct }) => sum + intercepted + direct,
        0,
      ),
    );
    expect(totals).toEqual([totals[0], totals[0], totals[0]]);
  });
});
