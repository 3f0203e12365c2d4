import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { runOn } from '../../src/lab/compare.ts';
import { errorPpm, type MachineReport } from '../../src/lab/comparison.ts';

const image = new Uint8Array(
  readFileSync(new URL('../../firmware/multiplex.elf', import.meta.url)),
);
const cache = new Map<string, MachineReport>();

function report(machine: string, profile: string): MachineReport {
  const key = `${machine} ${profile}`;
  const known = cache.get(key) ?? runOn(image, machine, 200_000_000n, { profile });
  cache.set(key, known);
  return known;
}

const rotationsOf = ({ console }: MachineReport): number =>
  Number(/^read rotations (\d+)\r?$/m.exec(console)?.[1]);

/** Counters of the guest that its events take turns on. */
const S = 8;

// Writes of MSRs that exit whatever the vPMU: IA32_APIC_BASE twice, TPR, SIVR, and the timer's LVT and deadline at both ends.
const APIC_SET_UP = 8;
// Per rotation: EOI and the next deadline.
const APIC_PER_ROTATION = 2;

interface Formula {
  /** MSR writes that exit: at set-up and end, and per rotation. */
  readonly once: number;
  readonly perRotation: number;
  /** RDPMC exits per reading of all counters. */
  readonly rdpmc: number;
}

/**
 * Emulated: a rotation is 2 writes of GLOBAL_CTRL and, per event, EVTSEL off, RDPMC, counter, EVTSEL on: 2 + 4s exits.
 * Before and after the loop the events are programmed once (2s) and stopped once (s writes, s RDPMC), and GLOBAL_CTRL
 * is written three times, OVF_CTRL once.
 */
const EMULATED: Formula = {
  once: 3 * S + 4 + APIC_SET_UP,
  perRotation: 2 + 3 * S + APIC_PER_ROTATION,
  rdpmc: S,
};

/** Merged, the guest having fewer counters than the host: selectors, the global registers and RDPMC exit. */
const PASSTHROUGH_PART: Formula = {
  once: 2 * S + 4 + APIC_SET_UP,
  perRotation: 2 + 2 * S + APIC_PER_ROTATION,
  rdpmc: S,
};

/** Merged, the guest having them all: only selectors exit, 2s per rotation. */
const PASSTHROUGH_WHOLE: Formula = {
  once: 2 * S + APIC_SET_UP,
  perRotation: 2 * S + APIC_PER_ROTATION,
  rdpmc: 0,
};

describe.each([
  ['emulated', 'sapphire-rapids', EMULATED],
  ['emulated', 'skylake-server', EMULATED],
  ['passthrough', 'sapphire-rapids', PASSTHROUGH_PART], // 8 + 3 of the host's 8 + 4 counters
  ['passthrough', 'skylake-server', PASSTHROUGH_WHOLE], // 8 + 3 of 8 + 3
] as const)(
  'the exits of multiplex, %s on %s,',
  (machine, profile, { once, perRotation, rdpmc }) => {
    it('are what its rotations make them, exactly', () => {
      const found = report(machine, profile);
      const rotations = rotationsOf(found);
      expect(rotations).toBeGreaterThan(9);
      expect(found.exits['MSR_WRITE']).toBe(once + perRotation * rotations);
      expect(found.exits['RDPMC'] ?? 0).toBe(rdpmc * (rotations + 1));
      expect(found.exits['PREEMPTION_TIMER']).toBe(rotations);
      // One OUT for each byte of the console but what the serial port's set-up takes, and the debug exit.
      expect(found.exits['IO_INSTRUCTION']).toBeGreaterThan(found.console.length);
    });

    it('are the PMU accesses that did not go through', () => {
      const found = report(machine, profile);
      const intercepted = found.accesses.reduce((sum, row) => sum + row.intercepted, 0);
      const rotations = rotationsOf(found);
      const ofThePmu = once - APIC_SET_UP + (perRotation - APIC_PER_ROTATION) * rotations;
      const reads = found.accesses.find(({ register }) =>
        register.startsWith('IA32_PERF_CAPABILITIES'),
      );
      expect(intercepted).toBe(ofThePmu + rdpmc * (rotations + 1) + (reads?.intercepted ?? 0));
    });
  },
);

describe('root mode’s cycles by the exit that led to them', () => {
  const found = () => report('emulated', 'sapphire-rapids');
  const cyclesFor = (reason: string) => found().exitCycles[reason];

  it('are the rows that exit takes: 900 for the transition, 400 for the exit', () => {
    expect(cyclesFor('CPUID')).toBe((900 + 400) * found().exits['CPUID']!);
  });

  it('are 500 more where KVM emulates an access to the PMU', () => {
    expect(cyclesFor('RDPMC')).toBe((900 + 400 + 500) * found().exits['RDPMC']!);
  });

  it('are all of root mode but what comes before the first entry and after the last exit', () => {
    const { exitCycles, rootTicks } = found();
    const told = Object.values(exitCycles).reduce((sum, cycles) => sum + cycles, 0);
    const rest = Number(rootTicks) - told;
    // The last exit is the OUT that ends the run: transition, exit and user space, 5300 in all.
    expect(rest).toBeGreaterThanOrEqual(5_300);
    expect(rest).toBeLessThan(10_000);
  });

  it('are spent on selectors and GLOBAL_CTRL under the emulated vPMU, on handing over under passthrough', () => {
    const passthrough = report('passthrough', 'sapphire-rapids');
    expect(cyclesFor('MSR_WRITE')).toBeGreaterThan(6 * passthrough.exitCycles['MSR_WRITE']!);
    expect(passthrough.exitCycles['IO_INSTRUCTION']).toBeGreaterThan(
      2 * cyclesFor('IO_INSTRUCTION')!,
    );
  });

  it('are none on the bare machine', () => {
    expect(report('bare', 'sapphire-rapids').exitCycles).toEqual({});
  });
});

// Worked out by hand in the guest's source: the workload alone.
const WORKLOAD: Readonly<Record<string, bigint>> = {
  branches: 8_200_055n,
  'near-calls': 700_025n,
  'near-returns': 700_025n,
  'not-taken': 1_650_026n,
  loads: 6_100_025n,
  stores: 6_100_025n,
  'locked-loads': 1_900_000n,
};

describe.each(['bare', 'emulated', 'passthrough'])('multiplex on the %s machine', (machine) => {
  const found = () => report(machine, 'sapphire-rapids');

  it('truly does its workload, and its handler on top', () => {
    const rotations = BigInt(rotationsOf(found()));
    for (const [name, workload] of Object.entries(WORKLOAD)) {
      const event = found().events.find((row) => row.name === name);
      const perRotation = event!.truth! - workload;
      // Of the handler: fewer than 100 of each kind, and of locked loads and not-taken branches hardly any.
      expect(perRotation, name).toBeGreaterThanOrEqual(0n);
      expect(perRotation, name).toBeLessThan(100n * (rotations + 1n));
    }
    expect(found().events.find(({ name }) => name === 'locked-loads')?.truth).toBe(1_900_000n);
  });

  it('takes one far branch a rotation: its IRETQ', () => {
    const event = found().events.find(({ name }) => name === 'far-branches');
    expect(event?.truth).toBe(BigInt(rotationsOf(found())));
  });

  it('estimates every event from a part of the time, within half of the truth', () => {
    const scaled = found().events.filter(({ name, scaled }) => scaled && name !== 'far-branches');
    expect(scaled).toHaveLength(11);
    for (const event of scaled) {
      const error = errorPpm(event)!;
      expect(error < 0n ? -error : error, event.name).toBeLessThan(500_000n);
    }
    // An event of even pace is estimated well; one that comes in phases is not.
    expect(errorPpm(scaled.find(({ name }) => name === 'near-calls')!)).not.toBe(0n);
  });

  it('passes its own checks', () => {
    expect(found().verdicts).toEqual({ passed: 3, failed: 0, skipped: 0 });
    expect(found().unsupported).toEqual([]);
  });
});

describe('time under a hypervisor', () => {
  it('is the guest’s own on the bare machine: a tick an instruction', () => {
    const { ticks, guestInstructions } = report('bare', 'sapphire-rapids');
    expect(ticks).toBe(guestInstructions);
  });

  it.each(['emulated', 'passthrough'])(
    'passes in root mode too: %s rotations come more often',
    (machine) => {
      const bare = report('bare', 'sapphire-rapids');
      const found = report(machine, 'sapphire-rapids');
      expect(found.ticks).toBe(found.guestInstructions + found.rootTicks - emulatedOf(found));
      expect(rotationsOf(found)).toBeGreaterThan(rotationsOf(bare));
    },
  );
});

/** Instructions that KVM completed for the guest: every exit but the timer's and the interrupts'. */
const emulatedOf = ({ exits }: MachineReport): bigint =>
  BigInt(
    Object.entries(exits)
      .filter(
        ([reason]) =>
          !['PREEMPTION_TIMER', 'INTERRUPT_WINDOW', 'EXCEPTION_NMI', 'EXTERNAL_INTERRUPT'].includes(
            reason,
          ),
      )
      .reduce((sum, [, times]) => sum + times, 0),
  );
