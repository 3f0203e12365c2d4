import { describe, expect, it } from 'vitest';
import { DESIGNS } from '../../src/kvm/vpmu/designs.ts';
import { countingLoop } from '../../src/lab/scenarios/guest-code.ts';
import { hostFor } from '../../src/lab/scenarios/scenario.ts';
import { HARDWARE_EVENTS, type PerfEventAttr, perfEventAttr } from '../../src/perf/attr.ts';
import { STATE } from '../../src/perf/event.ts';

const LVTPC = 0x834;
/** What perf puts there, and what a guest that has masked its own makes of it: vector F5H, masked. */
const [TO_NMI, TO_GUEST] = [0x400n, 0x1_00f5n];
const TURNS = 200_000;

const ofTheHost = perfEventAttr({ config: HARDWARE_EVENTS.instructions, excludeGuest: true });

/** A host whose guest is in the middle of its loop, and what the host does then in root mode. */
function inTheLoop(design: 'blend' | 'mediated', events: readonly PerfEventAttr[] = []) {
  const machine = hostFor(design);
  for (const event of events) machine.perf.create(event, { cpu: 0 });
  const guest = machine.start({ code: countingLoop(TURNS), design: DESIGNS[design] });
  machine.run(100_000);
  expect(guest.vcpu.inGuest).toBe(true);
  const { statistics } = guest.vcpu;
  const lvtpc = () => machine.hosts[0]!.rdmsr(LVTPC);
  return { machine, guest, statistics, lvtpc };
}

describe('the blend', () => {
  it('keeps the PMU over exits as long as the host has no event there', () => {
    const { machine, statistics, lvtpc } = inTheLoop('blend');
    const before = statistics.puts;
    expect(machine.kernel.onCpu(0, lvtpc)).toBe(TO_GUEST);
    expect(statistics.puts).toBe(before);
  });

  it('gives it back at every exit where the host has one', () => {
    const { machine, statistics, lvtpc } = inTheLoop('blend', [ofTheHost]);
    expect(machine.kernel.onCpu(0, lvtpc)).toBe(TO_NMI);
    expect(statistics.puts).toBe(statistics.loads);
  });

  it('gives it back as soon as the host programs an event, which counts from then on', () => {
    const { machine, guest, statistics, lvtpc } = inTheLoop('blend');
    const event = machine.kernel.onCpu(0, () => {
      const before = statistics.puts;
      const created = machine.perf.create(ofTheHost, { cpu: 0 });
      expect(statistics.puts).toBe(before + 1);
      expect(created.state).toBe(STATE.ACTIVE);
      expect(lvtpc()).toBe(TO_NMI);
      machine.hosts[0]!.work(1_000, 500);
      expect(machine.perf.read(created)!.count).toBeGreaterThanOrEqual(500n);
      return created;
    });
    machine.finish();
    expect(event.state).not.toBe(STATE.ERROR);
    // The enabling WRMSR, MOV ESI, the loop, three MOVs before the WRMSR that disables.
    expect(guest.readings).toEqual([BigInt(1 + 1 + 2 * TURNS + 3)]);
  });

  it('enabled again after it was disabled, the event takes the PMU back, too', () => {
    const { machine, statistics } = inTheLoop('blend');
    const event = machine.kernel.onCpu(0, () =>
      machine.perf.create({ ...ofTheHost, disabled: true }, { cpu: 0 }),
    );
    machine.run(10_000);
    machine.kernel.onCpu(0, () => {
      const before = statistics.puts;
      machine.perf.enable(event);
      expect(statistics.puts).toBe(before + 1);
      expect(event.state).toBe(STATE.ACTIVE);
    });
  });
});

describe('mediated as merged', () => {
  it('has given the PMU back whenever root mode comes by', () => {
    const { machine, statistics, lvtpc } = inTheLoop('mediated');
    expect(machine.kernel.onCpu(0, lvtpc)).toBe(TO_NMI);
    expect(statistics.puts).toBe(statistics.loads);
  });
});
