import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { perfEventAttr } from '../../src/perf/attr.ts';
import { type PerfEvent, STATE } from '../../src/perf/event.ts';
import { Perf, type PerfTask } from '../../src/perf/perf.ts';
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

const NAMES = new Map<number, ModelState>([
  [STATE.ERROR, 'error'],
  [STATE.OFF, 'off'],
  [STATE.INACTIVE, 'waiting'],
  [STATE.ACTIVE, 'on'],
]);

const command = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('create' as const),
      owner: fc.constantFrom('cpu' as const, 'task' as const),
      pinned: fc.boolean(),
      kind: fc.nat(KINDS.length - 1),
      disabled: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('enable' as const), which: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('disable' as const), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('release' as const), which: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('rotate' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('switch' as const) }) },
);

describe('random host workloads', () => {
  it('schedule as the small model of the rules says, and never share a counter', () => {
    fc.assert(
      fc.property(fc.array(command, { minLength: 1, maxLength: 60, size: 'max' }), (commands) => {
        const { host } = physicalCpu({ profile: NARROW });
        const perf = new Perf([host]);
        const model = new SchedulingModel();
        const task: PerfTask = { name: 'task', perf: undefined };
        const live: { real: PerfEvent; modelled: ModelEvent }[] = [];
        let running = false;
        for (const step of commands) {
          const chosen = 'which' in step ? live[step.which % Math.max(1, live.length)] : undefined;
          if (step.do === 'create') {
            const { config, counters } = KINDS[step.kind]!;
            const attr = perfEventAttr({ config, pinned: step.pinned, disabled: step.disabled });
            const real = perf.create(attr, step.owner === 'cpu' ? { cpu: 0 } : { task });
            const modelled: ModelEvent = {
              id: real.id,
              owner: step.owner,
              pinned: step.pinned,
              counters,
              state: step.disabled ? 'off' : 'waiting',
            };
            model.add(modelled);
            live.push({ real, modelled });
          } else if (step.do === 'rotate') {
            perf.rotate(0);
            model.rotate();
          } else if (step.do === 'switch') {
            running = !running;
            if (running) {
              perf.taskIn(0, task);
              model.taskIn();
            } else {
              perf.taskOut(0);
              model.taskOut();
            }
          } else if (chosen) {
            perf[step.do](chosen.real);
            model[step.do === 'release' ? 'remove' : step.do](chosen.modelled);
            if (step.do === 'release') live.splice(live.indexOf(chosen), 1);
          }
          host.work(1000, 500);
          expect(live.map(({ real }) => NAMES.get(real.state))).toEqual(
            live.map(({ modelled }) => modelled.state),
          );
          const taken = live
            .filter(({ real }) => real.state === STATE.ACTIVE)
            .map(({ real }) => real.hw.index);
          expect(new Set(taken).size).toBe(taken.length);
          for (const { real, modelled } of live) {
            if (real.state === STATE.ACTIVE) expect(modelled.counters).toContain(real.hw.index);
          }
        }
      }),
      { seed: 7, numRuns: 200 },
    );
  }, 60_000);
});
