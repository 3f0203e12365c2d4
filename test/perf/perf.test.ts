import { beforeEach, describe, expect, it } from 'vitest';
import { type PerfEventAttr, perfEventAttr } from '../../src/perf/attr.ts';
import { type PerfEvent, STATE } from '../../src/perf/event.ts';
import { Perf, type PerfTask, scaled } from '../../src/perf/perf.ts';
import { ARCHITECTURAL_PROFILES } from '../../src/pmu/profiles.ts';
import { physicalCpu } from '../host/rig.ts';

const INSTRUCTIONS = 0x00c0n;
const BRANCHES = 0x00c4n;
const CYCLES = 0x003cn;
const REF_CYCLES = 0x0300n;

let rig: ReturnType<typeof physicalCpu>;
let perf: Perf;
beforeEach(() => {
  rig = physicalCpu();
  perf = new Perf([rig.host]);
});

const onCpu = (told: Partial<PerfEventAttr> = {}) =>
  perf.create(perfEventAttr({ config: BRANCHES, ...told }), { cpu: 0 });
const newTask = (name = 'task'): PerfTask => ({ name, perf: undefined });
const onTask = (task: PerfTask, told: Partial<PerfEventAttr> = {}) =>
  perf.create(perfEventAttr({ config: BRANCHES, ...told }), { task });
const states = (events: readonly PerfEvent[]) => events.map(({ state }) => state);
const { ACTIVE, INACTIVE, ERROR, OFF } = STATE;

describe('a counting event', () => {
  it('counts the instructions of the host while it is enabled', () => {
    const event = onCpu({ config: INSTRUCTIONS });
    const before = perf.read(event)!.count;
    rig.host.work(1000, 700);
    // Reading is one RDPMC, which counts as one instruction after it has been read.
    expect(perf.read(event)!.count - before).toBe(701n);
  });

  it('counts on beyond bit 31 where counters are written without their upper bits', () => {
    const { host } = physicalCpu({ profile: ARCHITECTURAL_PROFILES[1]! });
    const old = new Perf([host]);
    const events = [INSTRUCTIONS, BRANCHES].map((config) =>
      old.create(perfEventAttr({ config, samplePeriod: 2n ** 35n }), { cpu: 0 }),
    );
    const before = events.map((event) => old.read(event)!.count);
    host.work(2 ** 33, 2 ** 33);
    const [instructions, branches] = events.map(
      (event, at) => old.read(event)!.count - before[at]!,
    );
    expect(instructions).toBeGreaterThanOrEqual(2n ** 33n);
    expect(instructions).toBeLessThan(2n ** 33n + 100_000n);
    expect(branches).toBeGreaterThan(2n ** 33n / 6n);
    expect(branches).toBeLessThan(2n ** 33n / 4n);
    expect(events.map(({ hw }) => hw.index)).toEqual([32, 0]);
  });

  it('keeps its count when it stops and the event of the other side that shares its counter gets that', () => {
    const sharing = new Perf([rig.host], { sharesSides: true });
    const [host, guest] = [{ excludeGuest: true }, { excludeHost: true }].map((side) =>
      sharing.create(perfEventAttr({ config: INSTRUCTIONS, ...side }), { cpu: 0 }),
    ) as [PerfEvent, PerfEvent];
    expect(guest.hw.index).toBe(host.hw.index);
    rig.host.work(1000, 700);
    sharing.disable(host);
    const { count } = sharing.read(host)!;
    expect(count).toBeGreaterThanOrEqual(700n);
    expect(count).toBeLessThan(30_000n);
    expect(sharing.read(guest)!.count).toBe(0n);
  });

  it('that excludes the host counts nothing in root mode', () => {
    const event = onCpu({ config: INSTRUCTIONS, excludeHost: true });
    rig.host.work(1000, 700);
    expect(perf.read(event)!.count).toBe(0n);
  });

  it('that excludes the kernel counts nothing at CPL 0', () => {
    const event = onCpu({ config: INSTRUCTIONS, excludeKernel: true });
    rig.host.work(1000, 700);
    expect(perf.read(event)!.count).toBe(0n);
  });

  it('lives on its fixed counter where it has one', () => {
    expect(onCpu({ config: INSTRUCTIONS }).hw.index).toBe(32);
    expect(onCpu({ config: CYCLES }).hw.index).toBe(33);
    expect(onCpu({ config: REF_CYCLES }).hw.index).toBe(34);
    expect(onCpu({ config: BRANCHES }).hw.index).toBe(0);
  });

  it('moves to a general-purpose counter when its fixed one is taken', () => {
    onCpu({ config: CYCLES, pinned: true });
    expect(onCpu({ config: CYCLES }).hw.index).toBe(0);
  });

  it('never shares a counter with one of the opposite exclusion', () => {
    const [first, second] = [onCpu({ excludeHost: true }), onCpu({ excludeGuest: true })];
    expect(first!.hw.index).not.toBe(second!.hw.index);
  });
});

describe('GLOBAL_CTRL at VM entry', () => {
  it('leaves out what excludes the guest, and on the host side what excludes the host', () => {
    onCpu({ excludeHost: true });
    onCpu({ excludeGuest: true });
    // Eight general-purpose and four fixed counters.
    expect(perf.guestMsrs(0)).toEqual([
      { address: 0x38f, host: 0xf_0000_00fen, guest: 0xf_0000_00fdn },
    ]);
  });

  it('is one value when nothing excludes a side', () => {
    onCpu();
    const { host, guest } = perf.guestMsrs(0)[0]!;
    expect(host).toBe(guest);
  });
});

describe('the order of scheduling', () => {
  it('puts CPU-pinned before task-pinned events, which go to ERROR silently', () => {
    const task = newTask();
    perf.taskIn(0, task);
    const guest = Array.from({ length: 8 }, () => onTask(task, { pinned: true }));
    expect(states(guest)).toEqual(Array(8).fill(ACTIVE));
    onCpu({ pinned: true });
    expect(states(guest)).toEqual([...Array(7).fill(ACTIVE), ERROR]);
    expect(perf.read(guest[7]!)).toBeUndefined();
  });

  it('puts task-pinned before CPU-flexible events, which wait', () => {
    const host = Array.from({ length: 8 }, () => onCpu());
    const task = newTask();
    perf.taskIn(0, task);
    const pinned = onTask(task, { pinned: true });
    expect(pinned.state).toBe(ACTIVE);
    expect(states(host)).toEqual([...Array(7).fill(ACTIVE), INACTIVE]);
  });

  it('once one pinned group did not fit tries none behind it', () => {
    const task = newTask();
    perf.taskIn(0, task);
    Array.from({ length: 8 }, () => onCpu({ pinned: true }));
    const [branches, cycles] = [onTask(task, { pinned: true }), undefined];
    expect(branches.state).toBe(ERROR);
    perf.taskOut(0);
    const fits = onTask(task, { config: CYCLES, pinned: true });
    perf.enable(branches);
    perf.taskIn(0, task);
    expect(cycles).toBeUndefined();
    expect(states([branches, fits])).toEqual([ERROR, ERROR]);
  });

  it('gives an event in ERROR another chance when it is enabled again', () => {
    const task = newTask();
    perf.taskIn(0, task);
    const hogs = Array.from({ length: 8 }, () => onCpu({ pinned: true }));
    const guest = onTask(task, { pinned: true });
    expect(guest.state).toBe(ERROR);
    perf.release(hogs[0]!);
    expect(guest.state).toBe(ERROR);
    perf.enable(guest);
    expect(guest.state).toBe(ACTIVE);
  });

  it('takes a task’s events off with the task and leaves the CPU’s on', () => {
    const task = newTask();
    const cpuWide = onCpu();
    perf.taskIn(0, task);
    const followed = onTask(task);
    perf.taskOut(0);
    expect(states([cpuWide, followed])).toEqual([ACTIVE, INACTIVE]);
    rig.host.work(100, 50);
    perf.taskIn(0, task);
    expect(followed.state).toBe(ACTIVE);
  });
});

describe('a group', () => {
  it('is on hardware whole or not at all', () => {
    Array.from({ length: 7 }, () => onCpu({ pinned: true }));
    const leader = onCpu();
    expect(leader.state).toBe(ACTIVE);
    const sibling = perf.create(perfEventAttr({ config: BRANCHES }), { cpu: 0 }, { leader });
    expect(states([leader, sibling])).toEqual([INACTIVE, INACTIVE]);
  });

  it('that could never fit is refused', () => {
    const leader = onCpu();
    const grow = () => perf.create(perfEventAttr({ config: BRANCHES }), { cpu: 0 }, { leader });
    for (let more = 0; more < 7; more++) grow();
    expect(grow).toThrow(/EINVAL/);
  });
});

describe('rotation', () => {
  it('gives ten events on eight counters their turns', () => {
    const events = Array.from({ length: 10 }, () => onCpu());
    expect(events.filter(({ state }) => state === ACTIVE)).toHaveLength(8);
    const seen = new Set<number>();
    for (let turn = 0; turn < 10; turn++) {
      for (const event of events) if (event.state === ACTIVE) seen.add(event.id);
      rig.host.work(3_000_000, 1_500_000);
      expect(perf.rotate(0)).toBe(true);
    }
    expect(seen.size).toBe(10);
    const times = events.map((event) => perf.read(event)!);
    for (const { enabled, running } of times) expect(running).toBeLessThan(enabled);
  });

  it('lets the scaled estimate come near what a counter all the time would have read', () => {
    const events = Array.from({ length: 10 }, () => onCpu());
    for (let turn = 0; turn < 40; turn++) {
      rig.host.work(300_000, 150_000);
      perf.rotate(0);
    }
    const truth = Number(rig.totals.get('branches'));
    for (const event of events) {
      expect(Number(scaled(perf.read(event)!)) / truth).toBeCloseTo(1, 1);
    }
  });
});

describe('a sampling event', () => {
  it('calls its handler from the NMI of each overflow', () => {
    let overflows = 0;
    const event = perf.create(
      perfEventAttr({ config: INSTRUCTIONS, samplePeriod: 10_000n }),
      { cpu: 0 },
      { overflow: () => overflows++ },
    );
    rig.host.work(200_000, 100_000);
    // Each handler retires instructions of its own, which the event counts too.
    expect(overflows).toBeGreaterThanOrEqual(10);
    expect(overflows).toBeLessThanOrEqual(13);
    expect(rig.host.unknownNmis).toBe(0);
    expect(event.state).toBe(ACTIVE);
    expect(rig.lvtpc()).toBe(0x400n);
  });
});

describe('the life of an event', () => {
  it('is off when created disabled, and pausing answers and resets its count', () => {
    const event = onCpu({ config: INSTRUCTIONS, disabled: true });
    expect(event.state).toBe(OFF);
    rig.host.work(1000, 500);
    perf.enable(event);
    rig.host.work(1000, 500);
    expect(perf.pause(event, true)).toBeGreaterThanOrEqual(500n);
    expect(event.count).toBe(0n);
    expect(event.state).toBe(OFF);
  });
});

describe('mediated guests', () => {
  it('are refused while an event that does not exclude guests is open', () => {
    const event = onCpu();
    expect(() => perf.createMediatedPmu()).toThrow(/EBUSY/);
    perf.release(event);
    perf.createMediatedPmu();
    expect(() => onCpu()).toThrow(/EOPNOTSUPP/);
    expect(onCpu({ excludeGuest: true }).state).toBe(ACTIVE);
  });

  it('displace the events that exclude guests, whose time stands still', () => {
    const event = onCpu({ config: INSTRUCTIONS, excludeGuest: true });
    perf.createMediatedPmu();
    perf.loadGuestContext(0);
    expect(event.state).toBe(INACTIVE);
    const before = perf.read(event)!;
    rig.host.work(10_000, 5_000);
    const during = perf.read(event)!;
    expect(during.count).toBe(before.count);
    expect(during.enabled).toBe(before.enabled);
    perf.putGuestContext(0);
    expect(event.state).toBe(ACTIVE);
  });
});
