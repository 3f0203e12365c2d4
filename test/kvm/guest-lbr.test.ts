import { describe, expect, it } from 'vitest';
import { DESIGNS } from '../../src/kvm/vpmu/designs.ts';
import { GuestCode } from '../../src/lab/scenarios/guest-code.ts';
import { HostMachine } from '../../src/machine/host-machine.ts';
import { profileNamed } from '../../src/machine/profiles.ts';
import { perfEventAttr } from '../../src/perf/attr.ts';
import { STATE } from '../../src/perf/event.ts';
import { SKYLAKE_SERVER_WHOLE } from '../../src/pmu/profiles.ts';

const PROFILE = { ...profileNamed('skylake-server'), pmu: SKYLAKE_SERVER_WHOLE };
const [DEBUGCTL, SELECT, TOS, FROM0, TO0, CAPABILITIES] = [
  0x1d9, 0x1c8, 0x1c9, 0x680, 0x6c0, 0x345,
];
const LBR = 1n;
/** Taken branches at CPL 0 but for the conditional ones, of which a loop is made. */
const KERNEL = 0x6n;
const [MSR_READ, MSR_WRITE] = [31, 32];

/** Three jumps under DEBUGCTL.LBR, with `between` after the second; then, once `stop` is through, TOS and the three entries. */
function recording(
  between: (code: GuestCode) => void = () => {},
  stop: (code: GuestCode) => void = () => {},
) {
  // Linux leaves TOS where another user had it; so does perf's reset.
  const code = new GuestCode().wrmsr(SELECT, KERNEL).wrmsr(TOS, 0n).wrmsr(DEBUGCTL, LBR);
  const jumps: number[] = [];
  const jump = () => {
    jumps.push(code.here);
    code.jump();
  };
  jump();
  jump();
  between(code);
  jump();
  stop(code);
  code.reportMsr(TOS);
  for (const at of [1, 2, 3]) code.reportMsr(FROM0 + at).reportMsr(TO0 + at);
  return { code: code.end().bytes, jumps };
}

/** TOS, then FROM and TO of entries 1 to 3: a two-byte JMP each. */
const records = (jumps: readonly number[]) => [
  3n,
  ...jumps.flatMap((at) => [BigInt(at), BigInt(at + 2)]),
];

const host = (options = {}) => new HostMachine({ profile: PROFILE, ...options });
const start = (machine: HostMachine, code: Uint8Array, cpus = [0]) =>
  machine.start({ code, design: DESIGNS.emulated, exposure: { lbr: true }, cpus });
/** Another wish than the guest's, as `perf record -b` has it. */
const BRANCH_ANY = perfEventAttr({
  config: 0xc4n,
  pinned: true,
  branchSelect: 0n,
  excludeGuest: true,
});

describe('a guest’s last branch records on a host with a legacy stack', () => {
  it('are announced by their format in IA32_PERF_CAPABILITIES', () => {
    const machine = host();
    const guest = start(machine, new GuestCode().reportMsr(CAPABILITIES).end().bytes);
    machine.finish();
    expect(guest.readings[0]! & 0x3fn).toBe(5n);
  });

  it('hold its branches, and after the first access cost no exit', () => {
    const machine = host();
    const { code, jumps } = recording();
    const guest = start(machine, code);
    machine.finish();
    expect(guest.readings).toEqual(records(jumps));
    const { exits, msrExits } = guest.vcpu.statistics;
    // LBR_SELECT makes the claim; a write of DEBUGCTL always exits; the seven reads do not.
    expect(msrExits.get(SELECT)).toEqual({ reads: 0, writes: 1 });
    expect([exits.get(MSR_WRITE), exits.get(MSR_READ)]).toEqual([2, undefined]);
  });

  it('are claimed by a pinned event of the vCPU’s thread that excludes the host, on index 58', () => {
    const machine = host();
    start(machine, new GuestCode().wrmsr(DEBUGCTL, LBR).loop(100_000).end().bytes);
    machine.run(150_000);
    const [event] = [...machine.perf.events];
    expect(event!.attr).toMatchObject({
      config: 0x1b00n,
      pinned: true,
      excludeHost: true,
      branchSelect: 0x3c5n,
    });
    expect([event!.state, event!.hw.index]).toEqual([STATE.ACTIVE, 58]);
    machine.finish();
  });

  it('survive other guests on the same processor, and hold nothing of theirs', () => {
    const machine = host({ kernel: { slice: 60_000 } });
    const guests = [0, 1].map(() => {
      const { code, jumps } = recording((guest) => guest.cpuid().loop(200_000));
      return { guest: start(machine, code), jumps };
    });
    machine.finish(50_000_000);
    for (const { guest, jumps } of guests) expect(guest.readings).toEqual(records(jumps));
    expect(machine.hosts[0]!.account.entry('context-switch').times).toBeGreaterThan(4);
  });

  it('move to another processor with the thread, whose old stack is nobody’s', () => {
    const machine = host({ processors: 2 });
    const { code, jumps } = recording((guest) => guest.loop(150_000));
    const guest = start(machine, code);
    for (const to of [1, 0, 1]) {
      machine.run(70_000);
      machine.kernel.migrate(guest.task, to);
    }
    machine.finish();
    expect(guest.readings).toEqual(records(jumps));
  });

  it('are lost to a CPU-pinned host user of the stack: reads give 0, writes nothing, without a fault', () => {
    const machine = host();
    machine.perf.create(BRANCH_ANY, { cpu: 0 });
    const { code } = recording();
    const guest = start(machine, code);
    machine.finish();
    expect(guest.readings).toEqual([0n, 0n, 0n, 0n, 0n, 0n, 0n]);
    expect([...machine.perf.events].map(({ state }) => state)).toEqual([STATE.ACTIVE, STATE.ERROR]);
    expect(guest.vcpu.statistics.exits.get(MSR_READ)).toBe(7);
  });

  it('outrank a host user that is not pinned, which waits', () => {
    const machine = host();
    const waiting = machine.perf.create({ ...BRANCH_ANY, pinned: false }, { cpu: 0 });
    const { code, jumps } = recording((guest) => guest.loop(50_000));
    const guest = start(machine, code);
    machine.run(60_000);
    expect(waiting.state).toBe(STATE.INACTIVE);
    machine.finish();
    expect(guest.readings).toEqual(records(jumps));
  });

  it('are gone if a slice ends after the guest has stopped recording and before it has read them', () => {
    const machine = host({ kernel: { slice: 60_000 } });
    const stop = (guest: GuestCode) => guest.wrmsr(DEBUGCTL, 0n).loop(60_000);
    const { code } = recording(() => {}, stop);
    const guest = start(machine, code);
    start(machine, new GuestCode().loop(100_000).end().bytes);
    machine.finish();
    expect(guest.readings).toEqual([3n, 0n, 0n, 0n, 0n, 0n, 0n]);
  });

  it('are given back when a scheduling slice ends without DEBUGCTL.LBR', () => {
    const machine = host({ kernel: { slice: 60_000 } });
    start(machine, new GuestCode().wrmsr(SELECT, KERNEL).loop(300_000).end().bytes);
    start(machine, new GuestCode().loop(300_000).end().bytes);
    machine.finish();
    expect([...machine.perf.events]).toEqual([]);
  });

  it('freeze on a PMI where DEBUGCTL asks, as a PMU of version 2 does it', () => {
    const FREEZE = 0x800n;
    const machine = host();
    const code = new GuestCode()
      .wrmsr(0x38f, 0n)
      .wrmsr(DEBUGCTL, LBR | FREEZE)
      .wrmsr(0x186, 0x53_00c0n)
      .wrmsr(0xc1, 0xffff_fc18n)
      .wrmsr(0x38f, 1n)
      .loop(2_000)
      .wrmsr(0x38f, 0n)
      .reportMsr(DEBUGCTL)
      .end();
    const guest = start(machine, code.bytes);
    machine.finish();
    expect(guest.readings).toEqual([FREEZE]);
  });

  it('do not exist unless the VM asks, nor on a host with architectural ones', () => {
    const code = new GuestCode().onInterrupts([[13, (handler) => handler.reportMsr(0x1b).end()]]);
    code.rdmsr(TOS).end();
    for (const [profile, lbr] of [
      [PROFILE, false],
      [profileNamed('sapphire-rapids'), true],
    ] as const) {
      const machine = new HostMachine({ profile });
      const guest = machine.start({
        code: code.bytes,
        design: DESIGNS.emulated,
        exposure: { lbr },
      });
      machine.finish();
      // The handler of #GP has spoken.
      expect(guest.readings).toHaveLength(1);
    }
  });
});

describe('a saved guest with last branch records', () => {
  it('goes on with its claim', () => {
    const make = () => {
      const machine = host({ kernel: { slice: 60_000 } });
      const parts = [0, 1].map(() => recording((guest) => guest.loop(150_000)));
      const guests = parts.map(({ code }) => start(machine, code));
      return { machine, guests, jumps: parts[0]!.jumps };
    };
    const { machine, guests, jumps } = make();
    machine.run(150_000);
    const saved = machine.save();
    const other = make();
    other.machine.restore(saved);
    other.machine.finish();
    machine.finish();
    for (const guest of [...guests, ...other.guests]) {
      expect(guest.readings).toEqual(records(jumps));
    }
    expect(other.machine.hosts[0]!.now()).toBe(machine.hosts[0]!.now());
  });
});
