import { DESIGNS } from '../../kvm/vpmu/designs.ts';
import { HARDWARE_EVENTS, perfEventAttr } from '../../perf/attr.ts';
import { type PerfEvent, STATE } from '../../perf/event.ts';
import { countedBy, countingLoop, GuestCode, MSR, SELECT } from './guest-code.ts';
import { hostFor, outcomeOf, runWatching, type Scenario, table } from './scenario.ts';

const TURNS = [400_000, 700_000] as const;

/** Two vCPUs on one processor. */
export const twoVcpus: Scenario = {
  name: 'two-vcpus',
  title: 'two vCPUs take turns on one processor, and neither sees the other',
  why:
    'The events behind an emulated vPMU follow the vCPU’s thread: at each context switch perf takes one guest’s ' +
    'off and puts the other’s on. A mediated vPMU is loaded and put around the run loop, whoever runs. Either way ' +
    'each guest reads its own instructions to the last one.',
  columns: ['emulated', 'mediated'],
  run: () =>
    table(['emulated', 'mediated'], (design) => {
      const machine = hostFor(design, { kernel: { slice: 300_000 } });
      const guests = TURNS.map((turns) =>
        machine.start({ code: countingLoop(turns), design: DESIGNS[design] }),
      );
      machine.finish();
      return {
        'first guest reads': guests[0]!.readings[0]!,
        'first guest, truth': countedBy(TURNS[0]),
        'second guest reads': guests[1]!.readings[0]!,
        'second guest, truth': countedBy(TURNS[1]),
        'context switches': machine.hosts[0]!.account.entry('context-switch').times,
      };
    }),
};

const MOVES = 8;

/** A vCPU moves between processors. */
export const migration: Scenario = {
  name: 'migration',
  title: 'a vCPU moves between processors while it counts',
  why:
    'Counters are registers of a processor, so nothing may be left behind on it: perf folds the emulated vPMU’s ' +
    'events into their counts when the thread is scheduled out, a mediated vPMU’s counters were saved at PUT. The ' +
    'VMCS is cleared on the old processor and loaded on the new one.',
  columns: ['emulated', 'mediated', 'opt-out'],
  run: () =>
    table(['emulated', 'mediated', 'opt-out'], (design) => {
      const machine = hostFor(design, { processors: 2 });
      const guest = machine.start({ code: countingLoop(900_000), design: DESIGNS[design] });
      for (let move = 1; move <= MOVES; move++) {
        machine.run(150_000);
        machine.kernel.migrate(guest.task, move % 2);
      }
      machine.finish();
      return {
        moves: MOVES,
        'guest reads': guest.readings[0]!,
        truth: countedBy(900_000),
      };
    }),
};

/** Which came first, the VM or the event. */
export const orderOfOpening: Scenario = {
  name: 'order-of-opening',
  title: 'a system-wide host event without exclude_guest beside a guest',
  why:
    'Emulated, both run and may take counters from each other. Mediated, the two cannot coexist, because the ' +
    'guest’s PMU holds no host event: whoever comes second is refused. RFC v1 let the VM be and put the event into ' +
    'ERROR at the first VM entry, for good; Zijlstra’s variant refuses only events on the vCPU’s own thread.',
  columns: ['emulated', 'mediated', 'rfc-v1', 'guest-owned', 'opt-out'],
  run: () =>
    table(['emulated', 'mediated', 'rfc-v1', 'guest-owned', 'opt-out'], (design) => {
      const attr = perfEventAttr({ config: HARDWARE_EVENTS.branches });
      const code = countingLoop(5_000);
      const eventFirst = hostFor(design);
      const opened = outcomeOf(() => eventFirst.perf.create(attr, { cpu: 0 }));
      const [event] = [...eventFirst.perf.events];
      const created = outcomeOf(() => eventFirst.start({ code, design: DESIGNS[design] }));
      if (created === 'opened') eventFirst.finish();
      const vmFirst = hostFor(design);
      const guest = vmFirst.start({ code, design: DESIGNS[design] });
      const target = { task: guest.vcpu.task };
      return {
        'event first: opening it': opened,
        'event first: then the VM': created,
        'event first: its state after the guest ran':
          event === undefined ? 'none' : event.state === STATE.ERROR ? 'ERROR' : 'alive',
        'VM first: then the event, system-wide': outcomeOf(() =>
          vmFirst.perf.create(attr, { cpu: 0 }),
        ),
        'VM first: then the event, on the vCPU’s thread': outcomeOf(() =>
          vmFirst.perf.create(attr, target),
        ),
        'VM first: then one that excludes guests': outcomeOf(() =>
          vmFirst.perf.create(perfEventAttr({ ...attr, excludeGuest: true }), { cpu: 0 }),
        ),
      };
    }),
};

/** Host observers of the host (:H) and of the guest (:G). */
export const observers: Scenario = {
  name: 'observers',
  title: 'host events with modifiers :H and :G beside a busy and an idle guest',
  why:
    'An event with :H counts the host only, whatever the guest does: the enable bit goes off at VM entry, or under ' +
    'a mediated vPMU the event itself is off the PMU and its time stands still. An event with :G sees the guest, ' +
    'which a mediated vPMU forbids: production guests cannot be profiled from the host.',
  columns: ['emulated', 'mediated'],
  run: () =>
    table(['emulated', 'mediated'], (design) => {
      const observe = (turns: number) => {
        const machine = hostFor(design);
        const attr = perfEventAttr({ config: HARDWARE_EVENTS.instructions, excludeGuest: true });
        const event = machine.perf.create(attr, { cpu: 0 });
        const code = new GuestCode().loop(turns).end().bytes;
        const guest = machine.start({ code, design: DESIGNS[design] });
        machine.finish();
        const { count, enabled } = machine.perf.read(event)!;
        const passed = Number(machine.hosts[0]!.now());
        return { count, guest: guest.truth('instructions'), blind: passed - Number(enabled) };
      };
      const [idle, busy] = [observe(1), observe(1_000_000)];
      const machine = hostFor(design);
      const watched = perfEventAttr({ config: HARDWARE_EVENTS.branches, excludeHost: true });
      let observer: PerfEvent | undefined;
      const seen = outcomeOf(() => {
        observer = machine.perf.create(watched, { cpu: 0 });
      });
      const started = outcomeOf(() =>
        machine.start({ code: countingLoop(1_000), design: DESIGNS[design] }),
      );
      machine.finish();
      const [guest] = machine.guests;
      return {
        'guest instructions, idle': idle.guest,
        'guest instructions, busy': busy.guest,
        'host instructions by :H, idle*': idle.count,
        'host instructions by :H, busy*': busy.count,
        'ticks the :H event did not age, busy':
          busy.blind > 1_000_000 ? 'the guest’s time' : 'none',
        'opening :G, then the VM': `${seen}, ${started}`,
        'guest branches, by :G': guest ? machine.perf.read(observer!)!.count : 'no guest',
        'guest branches, truth': guest ? guest.truth('branches') : 'no guest',
      };
    }),
};

/** Guests that own the PMU, and what the host loses. */
export const givingBack: Scenario = {
  name: 'giving-back',
  title: 'when the guest’s PMU is handed over and taken back, and what the host pays',
  why:
    'RFC v1 switched at every VM entry and exit; the merged code once per pass of the run loop with elided writes; ' +
    'the October 2023 blend takes the PMU back only if the host has events on the CPU; a host that gave its PMU up ' +
    'at boot never does while the vCPU stays. The guest makes a hundred CPUID exits with its PMU idle.',
  columns: ['emulated', 'rfc-v1', 'mediated', 'blend', 'blend, host event', 'opt-out'],
  run: () => {
    const cases = [
      ['emulated', 'emulated', false],
      ['rfc-v1', 'rfc-v1', false],
      ['mediated', 'mediated', false],
      ['blend', 'blend', false],
      ['blend, host event', 'blend', true],
      ['opt-out', 'opt-out', false],
    ] as const;
    const CPUIDS = 100;
    const answers = cases.map(([column, design, withEvent]) => {
      const run = (cpuids: number) => {
        const machine = hostFor(design);
        if (withEvent) {
          const attr = perfEventAttr({ config: HARDWARE_EVENTS.branches, excludeGuest: true });
          machine.perf.create(attr, { cpu: 0 });
        }
        const code = new GuestCode();
        for (let i = 0; i < cpuids; i++) code.cpuid();
        const guest = machine.start({ code: code.end().bytes, design: DESIGNS[design] });
        machine.finish();
        return { loads: guest.vcpu.statistics.loads, ticks: machine.hosts[0]!.account.total() };
      };
      const [none, all] = [run(0), run(CPUIDS)];
      return {
        column,
        answer: {
          'LOADs for a hundred exits': all.loads - none.loads,
          'ticks of the host per exit*': (all.ticks - none.ticks) / CPUIDS,
        },
      };
    });
    return (['LOADs for a hundred exits', 'ticks of the host per exit*'] as const).map((what) => ({
      what,
      values: Object.fromEntries(answers.map(({ column, answer }) => [column, answer[what]])),
    }));
  },
};

/** The counterfactuals' price for the host. */
export const priorityClass: Scenario = {
  name: 'priority-class',
  title: 'KVM’s events come first: now the host’s CPU-pinned events break',
  why:
    'With a class above CPU-pinned events the guest gets every counter it asks for. The host’s pinned events then ' +
    'meet the same fate the guest’s had: they go to ERROR when the vCPU’s thread is scheduled in, the watchdog ' +
    'among them, and stay dead when it is scheduled out.',
  columns: ['emulated', 'emulated-priority', 'emulated-all-three'],
  run: () =>
    table(['emulated', 'emulated-priority', 'emulated-all-three'], (design) => {
      const machine = hostFor(design);
      const host = Array.from({ length: 3 }, () =>
        machine.perf.create(
          perfEventAttr({ config: HARDWARE_EVENTS.branches, pinned: true, excludeGuest: true }),
          { cpu: 0 },
        ),
      );
      const code = new GuestCode().wrmsr(MSR.GLOBAL_CTRL, 0n);
      for (let i = 0; i < 8; i++) code.wrmsr(MSR.PERFEVTSEL0 + i, SELECT.BRANCHES);
      code.wrmsr(MSR.GLOBAL_CTRL, 0xffn).loop(10_000).wrmsr(MSR.GLOBAL_CTRL, 0n);
      for (let i = 0; i < 8; i++) code.reportMsr(MSR.PMC0 + i);
      const guest = machine.start({ code: code.end().bytes, design: DESIGNS[design] });
      runWatching(machine, guest, () => {});
      return {
        'guest counters that read the truth': guest.readings.filter((v) => v === 10_000n).length,
        'host pinned events in ERROR': host.filter(({ state }) => state === STATE.ERROR).length,
      };
    }),
};
