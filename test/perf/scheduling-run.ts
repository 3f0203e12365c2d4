import fc from 'fast-check';
import { expect } from 'vitest';
import { perfEventAttr } from '../../src/perf/attr.ts';
import { PerfError } from '../../src/perf/error.ts';
import { type PerfEvent, STATE } from '../../src/perf/event.ts';
import { Perf, type PerfTarget, type PerfTask } from '../../src/perf/perf.ts';
import { SAPPHIRE_RAPIDS } from '../../src/pmu/profiles.ts';
import { physicalCpu } from '../host/rig.ts';
import { type ModelEvent, type ModelState, SchedulingModel } from './scheduling-model.ts';

/** A Sapphire Rapids with two general-purpose counters, so that they are soon all taken. */
const NARROW = { ...SAPPHIRE_RAPIDS, shape: { ...SAPPHIRE_RAPIDS.shape, gp: 3n } };
const GP = [0, 1];
/** Events by encoding, and the counters of it that can count them. */
const KINDS = [
  { config: 0x00c4n, counters: GP }, // branches
  { config: 0x81d0n, counters: GP }, // loads
  { config: 0x00c0n, counters: [32, ...GP] }, // instructions
  { config: 0x003cn, counters: [33, ...GP] }, // cycles
  { config: 0x0300n, counters: [34] }, // reference cycles
  { config: 0x0400n, counters: [35] }, // slots
  { config: 0x0400_00c0n, counters: GP }, // instructions, edge: no fixed counter does that
] as const;
const [CPUS, TASKS] = [2, 2] as const;

const NAMES = new Map<number, ModelState>([
  [STATE.ERROR, 'error'],
  [STATE.OFF, 'off'],
  [STATE.INACTIVE, 'waiting'],
  [STATE.ACTIVE, 'on'],
]);

const cpu = fc.nat(CPUS - 1);
const task = fc.nat(TASKS - 1);
const kind = fc.nat(KINDS.length - 1);
const disabled = fc.constantFrom(false, false, false, true);
const which = fc.nat();
const owner = fc.oneof(
  cpu.map((on) => ({ cpu: on })),
  task.map((of) => ({ task: of, only: undefined })),
  fc.record({ task, only: cpu }),
);
const command = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('create' as const),
      owner,
      pinned: fc.boolean(),
      kind,
      disabled,
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('join' as const), which, kind, disabled }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('enable' as const), which }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('disable' as const), which }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('release' as const), which }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('rotate' as const), cpu }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('switch' as const), cpu, task }) },
);

/** An event of perf and of the model. */
interface Live {
  readonly real: PerfEvent;
  readonly modelled: ModelEvent;
  readonly target: PerfTarget;
}

/** perf on two CPUs and two tasks, and the model beside it. */
class Both {
  readonly #hosts = Array.from(
    { length: CPUS },
    (_, id) => physicalCpu({ profile: NARROW, id }).host,
  );
  readonly #perf = new Perf(this.#hosts);
  readonly #model = new SchedulingModel(CPUS, TASKS);
  readonly #tasks: readonly PerfTask[] = Array.from({ length: TASKS }, (_, at) => ({
    name: `task ${at}`,
    perf: undefined,
  }));
  readonly #live: Live[] = [];

  do(step: typeof command extends fc.Arbitrary<infer T> ? T : never): void {
    if (step.do === 'rotate') {
      this.#perf.rotate(step.cpu);
      this.#model.rotate(step.cpu);
    } else if (step.do === 'switch') this.#switch(step.task, step.cpu);
    else if (step.do === 'create') this.#create(step);
    else {
      const chosen = this.#live[step.which % Math.max(1, this.#live.length)];
      if (!chosen) return;
      if (step.do === 'join') this.#join(chosen, step);
      else {
        this.#perf[step.do](chosen.real);
        this.#model[step.do === 'release' ? 'remove' : step.do](chosen.modelled);
        if (step.do === 'release') this.#live.splice(this.#live.indexOf(chosen), 1);
      }
    }
    for (const host of this.#hosts) host.work(1000, 500);
  }

  compare(): void {
    expect(this.#live.map(({ real }) => NAMES.get(real.state))).toEqual(
      this.#live.map(({ modelled }) => modelled.state),
    );
    const taken = new Set<string>();
    for (const { real, modelled } of this.#live) {
      if (real.state !== STATE.ACTIVE) continue;
      expect(modelled.counters).toContain(real.hw.index);
      const place = `counter ${real.hw.index} of CPU ${real.context.cpu}`;
      expect(taken).not.toContain(place);
      taken.add(place);
    }
  }

  #create(step: {
    owner: { cpu: number } | { task: number; only: number | undefined };
    pinned: boolean;
    kind: number;
    disabled: boolean;
  }): void {
    const { config, counters } = KINDS[step.kind]!;
    const attr = perfEventAttr({ config, pinned: step.pinned, disabled: step.disabled });
    const only = 'task' in step.owner ? step.owner.only : undefined;
    const target: PerfTarget =
      'cpu' in step.owner
        ? step.owner
        : { task: this.#tasks[step.owner.task]!, ...(only !== undefined && { cpu: only }) };
    const real = this.#perf.create(attr, target);
    const modelled: ModelEvent = {
      id: real.id,
      counters,
      pinned: step.pinned,
      only,
      state: step.disabled ? 'off' : 'waiting',
    };
    this.#model.add(modelled, step.owner);
    this.#live.push({ real, modelled, target });
  }

  #join(
    { real: leader, modelled: above, target }: Live,
    step: { kind: number; disabled: boolean },
  ): void {
    const { config, counters } = KINDS[step.kind]!;
    const modelled: ModelEvent = {
      id: 0,
      counters,
      pinned: false,
      only: above.only,
      state: step.disabled ? 'off' : 'waiting',
    };
    const attr = perfEventAttr({ config, disabled: step.disabled });
    if (!this.#model.couldGrow(above, modelled)) {
      expect(() => this.#perf.create(attr, target, { leader })).toThrow(PerfError);
      return;
    }
    const real = this.#perf.create(attr, target, { leader });
    this.#model.add(modelled, { leader: above });
    this.#live.push({ real, modelled, target });
  }

  /** The task starts on the CPU, or stops there. */
  #switch(task: number, on: number): void {
    const was = this.#model.cpuOf(task);
    const there = this.#model.taskOn(on);
    for (const [leaves, from] of [
      [task, was],
      [there, on],
    ] as const) {
      if (leaves === undefined || from === undefined || this.#model.cpuOf(leaves) !== from)
        continue;
      this.#perf.taskOut(from);
      this.#model.taskOut(leaves);
    }
    if (was === on) return;
    this.#perf.taskIn(on, this.#tasks[task]!);
    this.#model.taskIn(task, on);
  }
}

/** Lets `runs` random workloads happen to perf and to the model; a difference shrinks, and names its seed. */
export function judgeScheduling(runs: number, seed?: number): void {
  fc.assert(
    fc.property(fc.array(command, { minLength: 1, maxLength: 80, size: 'max' }), (commands) => {
      const both = new Both();
      for (const step of commands) {
        both.do(step);
        both.compare();
      }
    }),
    { ...(seed !== undefined && { seed }), numRuns: runs },
  );
}
