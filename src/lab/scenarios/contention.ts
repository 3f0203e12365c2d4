import { DESIGNS, type DesignName } from '../../kvm/vpmu/designs.ts';
import type { HostedProgram, HostMachine } from '../../machine/host-machine.ts';
import { HARDWARE_EVENTS, type PerfEventAttr, perfEventAttr } from '../../perf/attr.ts';
import { type PerfEvent, STATE } from '../../perf/event.ts';
import { NmiWatchdog } from '../../perf/watchdog.ts';
import { GuestCode, MSR, SELECT } from './guest-code.ts';
import { hostFor, outcomeOf, runWatching, type Scenario, table } from './scenario.ts';

const COUNTERS = 8;
const TURNS = 10_000;
/** Cycles of it that the guest spends itself, one an instruction: the loop, and four MOVs. */
const CYCLES = BigInt(2 * TURNS + 4);
/** Branches of the counted region. */
const TRUTH = BigInt(TURNS);

/** Branches on so many general-purpose counters, counted over a loop, all read back. */
const branchesOn = (counters: number): Uint8Array => {
  const code = new GuestCode().wrmsr(MSR.GLOBAL_CTRL, 0n);
  for (let i = 0; i < counters; i++) code.wrmsr(MSR.PERFEVTSEL0 + i, SELECT.BRANCHES);
  code.wrmsr(MSR.GLOBAL_CTRL, (1n << BigInt(counters)) - 1n).loop(TURNS);
  code.wrmsr(MSR.GLOBAL_CTRL, 0n);
  for (let i = 0; i < counters; i++) code.reportMsr(MSR.PMC0 + i);
  return code.end().bytes;
};

const onCpu = (machine: HostMachine, told: Partial<PerfEventAttr>): PerfEvent =>
  machine.perf.create(perfEventAttr({ config: HARDWARE_EVENTS.branches, ...told }), { cpu: 0 });

const exact = ({ readings }: HostedProgram) => readings.filter((value) => value === TRUTH).length;

/** Guest events of the emulated vPMU that are in ERROR, while the guest counts. */
const inError = (machine: HostMachine) =>
  [...machine.perf.events].filter(({ attr, state }) => attr.excludeHost && state === STATE.ERROR)
    .length;

const STOLEN = 3;

/** k CPU-pinned host events on G counters. */
export const stolenCounters: Scenario = {
  name: 'stolen-counters',
  title: 'CPU-pinned host events take guest counters, silently',
  why:
    'perf gives counters to CPU-pinned events first, then to task-pinned ones, and the events behind an emulated ' +
    'vPMU are task-pinned. What does not fit goes to ERROR, and KVM neither ' +
    'sees that nor could tell the guest: the counter reads what it last held, no fault, no status bit. A mediated ' +
    'vPMU takes the PMU whole: host events that exclude guests are scheduled out at LOAD and come back at PUT.',
  columns: ['emulated', 'mediated'],
  run: () =>
    table(['emulated', 'mediated'], (design) => {
      const machine = hostFor(design);
      const host = Array.from({ length: STOLEN }, () =>
        onCpu(machine, { pinned: true, excludeGuest: true }),
      );
      const guest = machine.start({ code: branchesOn(COUNTERS), design: DESIGNS[design] });
      let errors = 0;
      runWatching(machine, guest, () => {
        errors = Math.max(errors, inError(machine));
      });
      return {
        'host events that are CPU-pinned': STOLEN,
        'guest counters enabled': COUNTERS,
        'branches that truly retired in the region': TRUTH,
        'guest counters that read it': exact(guest),
        ...Object.fromEntries(
          guest.readings.map((value, i) => [`guest counter ${i} reads`, value] as const),
        ),
        'guest events in ERROR': errors,
        'host events still alive': host.filter(({ state }) => state === STATE.ACTIVE).length,
      };
    }),
};

/** The NMI watchdog on and off. */
export const watchdog: Scenario = {
  name: 'watchdog',
  title: 'the NMI watchdog costs the guest a counter, or the guest the watchdog',
  why:
    'The watchdog is one CPU-pinned cycles event, normally on fixed counter 1, for ever. Beside an emulated vPMU ' +
    'the guest’s cycles event moves to a general-purpose counter, and one of nine events no longer fits. A ' +
    'mediated VM cannot be created beside it at all, unless the watchdog excludes guests and is blind while one runs.',
  columns: ['off', 'on', 'on, excludes guests'],
  run: () => {
    const modes = ['off', 'on', 'on, excludes guests'] as const;
    const answers = modes.map((mode) => {
      const watched = (design: DesignName) => {
        const machine = hostFor(design);
        const dog = new NmiWatchdog(machine.perf, {
          cpus: [0],
          excludeGuest: mode === 'on, excludes guests',
        });
        if (mode !== 'off') dog.enable();
        return machine;
      };
      const emulated = watched('emulated');
      // Eight branch counters and cycles on fixed 1: nine events for eight general-purpose counters and fixed 1.
      const code = new GuestCode().wrmsr(MSR.GLOBAL_CTRL, 0n);
      for (let i = 0; i < COUNTERS; i++) code.wrmsr(MSR.PERFEVTSEL0 + i, SELECT.BRANCHES);
      code.wrmsr(MSR.FIXED_CTR_CTRL, 0x30n).wrmsr(MSR.GLOBAL_CTRL, 0x2_0000_00ffn).loop(TURNS);
      code.wrmsr(MSR.GLOBAL_CTRL, 0n);
      for (let i = 0; i < COUNTERS; i++) code.reportMsr(MSR.PMC0 + i);
      code.reportMsr(MSR.FIXED_CTR0 + 1);
      const guest = emulated.start({ code: code.end().bytes, design: DESIGNS.emulated });
      let errors = 0;
      runWatching(emulated, guest, () => {
        errors = Math.max(errors, inError(emulated));
      });
      const mediated = watched('mediated');
      return {
        'emulated: guest branch counters that read the truth': exact(guest),
        'emulated: guest cycles, truth': CYCLES,
        'emulated: guest cycles, read on fixed counter 1': guest.readings[COUNTERS]!,
        'emulated: guest events in ERROR': errors,
        'mediated: creating the vCPU': outcomeOf(() =>
          mediated.start({ code: branchesOn(1), design: DESIGNS.mediated }),
        ),
      };
    });
    return Object.keys(answers[0]!).map((what) => ({
      what,
      values: Object.fromEntries(
        modes.map((mode, at) => [mode, answers[at]![what as keyof (typeof answers)[0]]]),
      ),
    }));
  },
};

/** Guest counter 0 is host counter j. */
export const renumbered: Scenario = {
  name: 'renumbered',
  title: 'guest counter 0 lives on another host counter, so GLOBAL_CTRL must trap',
  why:
    'perf picks the counter. With hardware counter 0 taken, the event behind guest counter 0 lives on counter 1: ' +
    'were GLOBAL_CTRL the guest’s to write, its bit 0 would stop the host’s event and not its own. A mediated ' +
    'guest has counter i on counter i; where it has every counter of the host, its GLOBAL_CTRL need not exit.',
  columns: ['emulated', 'mediated'],
  run: () =>
    table(['emulated', 'mediated'], (design) => {
      const machine = hostFor(design, { profile: 'skylake-server' });
      onCpu(machine, { pinned: true, excludeGuest: true });
      let home = -1;
      const guest = machine.start({ code: branchesOn(1), design: DESIGNS[design] });
      runWatching(machine, guest, () => {
        const event = [...machine.perf.events].find(({ attr }) => attr.excludeHost);
        if (event?.state === STATE.ACTIVE) home = event.hw.index;
      });
      return {
        'host counter behind guest counter 0': design === 'mediated' ? 0 : home,
        'exits for GLOBAL_CTRL': guest.vcpu.statistics.msrExits.get(MSR.GLOBAL_CTRL)?.writes ?? 0,
        'guest reads': guest.readings[0]!,
        truth: TRUTH,
      };
    }),
};

/** Events with disjoint exclude_host and exclude_guest. */
export const disjointExclusion: Scenario = {
  name: 'disjoint-exclusion',
  title: 'a host-only and a guest-only event never share a counter',
  why:
    'A counter belongs to its event all the time; VM entry and exit flip only its enable bit. So eight guest ' +
    'counters leave nothing for a flexible host event that excludes guests, though the two never count at the same ' +
    'time. With the third counterfactual perf switches the counter between them at entry and exit, and pays.',
  columns: ['emulated', 'emulated-sides'],
  run: () =>
    table(['emulated', 'emulated-sides'], (design) => {
      const machine = hostFor(design);
      const host = onCpu(machine, { excludeGuest: true });
      const guest = machine.start({ code: branchesOn(COUNTERS), design: DESIGNS[design] });
      let waiting = false;
      let shared = 0;
      runWatching(machine, guest, () => {
        const events = [...machine.perf.events].filter(({ state }) => state === STATE.ACTIVE);
        waiting ||= host.state === STATE.INACTIVE;
        shared = Math.max(shared, events.length - new Set(events.map(({ hw }) => hw.index)).size);
      });
      return {
        'guest counters that read the truth': exact(guest),
        'host event had to wait': waiting ? 'yes' : 'no',
        'counters with two events': shared,
        'counter switches at entry and exit': guest.vcpu.statistics.loads > 0 ? 'yes' : 'none',
      };
    }),
};
