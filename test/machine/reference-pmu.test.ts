import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type CreateOptions, createMachine } from '../../src/machine/create.ts';
import { LostWindows } from '../../src/machine/lost-windows.ts';
import type { Machine } from '../../src/machine/machine.ts';
import { PmiLatency } from '../../src/machine/pmi-latency.ts';
import { ReferencePmu } from '../../src/machine/reference-pmu.ts';
import type { VirtualMachine } from '../../src/machine/virtual.ts';
import { HARDWARE_EVENTS, perfEventAttr } from '../../src/perf/attr.ts';
import { IDEAL } from '../../src/pmu/silicon.ts';

const image = (name: string) =>
  new Uint8Array(readFileSync(new URL(`../../firmware/${name}.elf`, import.meta.url)));

function watched(guest: string, options: CreateOptions, before?: (machine: Machine) => void) {
  const machine = createMachine(image(guest), options);
  const [pmis, lost] = [new PmiLatency(machine), new LostWindows(machine)];
  new ReferencePmu(machine, { tell: (access) => lost.access(access), pmi: () => pmis.due() });
  before?.(machine);
  const { digest } = machine.run({ maxInstructions: 5_000_000n });
  return { pmis: pmis.report(), lost: lost.report(), digest: digest() };
}

/** CPU-pinned events on every counter: nothing is left for a task-pinned one. */
function takeEveryCounter(machine: Machine): void {
  const { perf } = machine as VirtualMachine;
  const take = (config: bigint, times: number) => {
    for (let i = 0; i < times; i++) {
      perf.create(perfEventAttr({ config, pinned: true, excludeGuest: true }), { cpu: 0 });
    }
  };
  take(HARDWARE_EVENTS.branches, 8);
  take(HARDWARE_EVENTS.instructions, 1);
  take(HARDWARE_EVENTS['cpu-cycles'], 1);
  take(HARDWARE_EVENTS['ref-cycles'], 1);
}

describe('a PMU that is the guest’s alone', () => {
  it('finds every counter lost that CPU-pinned host events took from an emulated vPMU', () => {
    const { lost } = watched('count', { machine: 'emulated' }, takeEveryCounter);
    const [window] = lost.first;
    expect(lost.missed).toBeGreaterThan(1_000_004n);
    expect(lost.foreign).toBe(0n);
    // Of the first region's 1,000,005 KVM carried one out and counted it: the write that opens GLOBAL_CTRL.
    expect(window).toMatchObject({ counter: 'PMC 0', events: -1_000_004n });
    expect(window!.to.instructions - window!.from.instructions).toBeGreaterThan(1_000_000n);
    expect(window!.exits['MSR_WRITE']).toBeGreaterThan(0);
  });

  it('finds nothing lost where a mediated vPMU takes the PMU whole', () => {
    const { lost } = watched('count', { machine: 'mediated' }, takeEveryCounter);
    expect(lost).toMatchObject({ windows: 0, missed: 0n, foreign: 0n, wrong: {} });
    expect(lost.compared).toBe(25);
  });

  it.each(['bare', 'emulated', 'mediated'])(
    'follows GLOBAL_CTRL through the VM entries and VM exits of a guest hypervisor, and its PMIs: %s',
    (machine) => {
      const { lost, pmis } = watched('nested', { machine, nested: true });
      expect(lost).toMatchObject({ windows: 0, missed: 0n, foreign: 0n, wrong: {}, compared: 298 });
      expect(pmis).toMatchObject({ due: 7, delivered: 7, unexpected: 0 });
    },
  );

  it('does not change the run it watches', () => {
    const run = (machine: string) => createMachine(image('overflow'), { machine }).run().digest();
    for (const machine of ['bare', 'mediated']) {
      expect(watched('overflow', { machine }).digest, machine).toBe(run(machine));
    }
  });
});

describe('the latency of a PMI', () => {
  it('is nothing on the bare machine of the ideal profile', () => {
    const nothing = { min: 0, median: 0, max: 0 };
    expect(watched('overflow', {}).pmis).toEqual({
      due: 104,
      delivered: 104,
      unexpected: 0,
      instructions: nothing,
      ticks: nothing,
    });
  });

  it('is the skid of a silicon profile', () => {
    const { pmis } = watched('overflow', { deviations: { ...IDEAL, skid: 3 } });
    expect(pmis.instructions).toMatchObject({ min: 3, median: 3 });
  });

  it('is no instruction under an emulated vPMU, but 900 + 2,000 + 22,000 + 22,000 cycles', () => {
    // VM exit and entry, the host's NMI handler, one pause and one resume of the event behind the counter.
    const { pmis } = watched('overflow', { machine: 'emulated' });
    expect(pmis).toMatchObject({ due: 104, delivered: 104, unexpected: 0 });
    expect(pmis.instructions).toEqual({ min: 0, median: 0, max: 0 });
    expect(pmis.ticks).toMatchObject({ min: 46_900, median: 46_900 });
  });

  it('is no instruction under a mediated vPMU, and a tenth of the cycles', () => {
    const { pmis } = watched('overflow', { machine: 'mediated' });
    expect(pmis).toMatchObject({ due: 104, delivered: 104, unexpected: 0 });
    expect(pmis.instructions).toEqual({ min: 0, median: 0, max: 0 });
    expect(pmis.ticks!.max).toBeLessThan(5_500);
  });
});
