import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { DESIGNS } from '../../src/kvm/vpmu/designs.ts';
import { countingLoop } from '../../src/lab/scenarios/guest-code.ts';
import { createMachine } from '../../src/machine/create.ts';
import { readGuestImage } from '../../src/machine/guest-image.ts';
import { HostMachine } from '../../src/machine/host-machine.ts';
import { perfEventAttr } from '../../src/perf/attr.ts';

/** The enabling WRMSR, MOV ESI, the loop, and three MOVs before the WRMSR that disables. */
const counted = (turns: number) => BigInt(1 + 1 + 2 * turns + 3);

describe.each(['emulated', 'mediated', 'blend', 'opt-out'] as const)(
  'two vCPUs of %s guests',
  (name) => {
    const options = { perf: { hasHardware: name !== 'opt-out' }, kernel: { slice: 300_000 } };

    it('on one processor take turns, and each counts its own instructions only', () => {
      const machine = new HostMachine(options);
      const design = DESIGNS[name];
      const guests = [400_000, 700_000].map((turns) =>
        machine.start({ code: countingLoop(turns), design }),
      );
      machine.finish();
      expect(guests.map(({ readings }) => readings)).toEqual([
        [counted(400_000)],
        [counted(700_000)],
      ]);
      expect(machine.hosts[0]!.account.entry('context-switch').times).toBeGreaterThan(3);
    });

    it('on two processors run beside each other', () => {
      const machine = new HostMachine({ ...options, processors: 2 });
      const design = DESIGNS[name];
      const guests = [400_000, 700_000].map((turns, cpu) =>
        machine.start({ code: countingLoop(turns), design, cpus: [cpu] }),
      );
      machine.finish();
      expect(guests.map(({ readings }) => readings)).toEqual([
        [counted(400_000)],
        [counted(700_000)],
      ]);
      expect(machine.hosts.map(({ account }) => account.entry('context-switch').times)).toEqual([
        1, 1,
      ]);
    });

    it('move between processors without losing a count', () => {
      const machine = new HostMachine({ ...options, processors: 2 });
      const guest = machine.start({ code: countingLoop(900_000), design: DESIGNS[name] });
      for (let to = 1; to < 8; to++) {
        machine.run(200_000);
        machine.kernel.migrate(guest.task, to % 2);
      }
      machine.finish();
      expect(guest.readings).toEqual([counted(900_000)]);
      expect(guest.truth('branches')).toBe(900_000n);
    });
  },
);

/**
 * Reads [200008H], maps 200000H to 0, INVLPG, reads it, reads it again; reports each, with 100,000 turns of a loop between.
 * What was at 200008H is 11H, at 8 22H.
 */
const REMAPPING = Buffer.from(
  '0f20de' + // mov rsi, cr3
    '4881e600f0ffff488b364881e600f0ffff488b364881e600f0ffff' + // rsi: the page directory
    'bb08002000c70311000000bf08000000c70722000000' + // mov [rbx = 200008H], 11H; mov [8], 22H
    'ba002000008b03ef31c0ef' + // report [rbx]
    'b9a0860100ffc975fc' + // the loop
    '488b0e48894e080f013b' + // PDE 1 = PDE 0; invlpg [rbx]
    '8b03ef31c0efb9a0860100ffc975fc8b03ef31c0efe7f4',
  'hex',
);

it('a guest that comes back to a processor finds nothing of the page tables it had there', () => {
  const machine = new HostMachine({ processors: 2 });
  const guest = machine.start({ code: REMAPPING, design: DESIGNS.emulated });
  for (const read of [1, 2]) {
    machine.run(10_000_000, () => guest.readings.length === read);
    machine.kernel.migrate(guest.task, read % 2);
  }
  machine.finish();
  expect(guest.readings).toEqual([0x11n, 0x22n, 0x22n]);
});

it('counters that go on on a processor whose PMU nobody has used count the guest alone', () => {
  const machine = new HostMachine({ processors: 2, guestsMemory: 32 << 20 });
  const code = readGuestImage(new Uint8Array(readFileSync('firmware/count.elf')));
  const guest = machine.start({ code, design: DESIGNS.emulated, memory: 32 << 20 });
  for (let move = 1; !guest.ended; move++) {
    machine.run(211_000, () => guest.ended);
    if (!guest.ended) machine.kernel.migrate(guest.task, move % 2);
  }
  expect(guest.board.console).toContain('SUMMARY: 25 tests\n');
  expect(guest.board.exitValue).toBe(0);
}, 60_000);

describe('a VM of four vCPUs', () => {
  const image = readGuestImage(new Uint8Array(readFileSync('firmware/kernels/counters.elf')));
  const bare = () => {
    const machine = createMachine(new Uint8Array(readFileSync('firmware/kernels/counters.elf')), {
      processors: 4,
    });
    machine.run();
    return machine.board.console;
  };

  it.each([
    ['emulated', [0, 0, 0, 0]],
    ['emulated', [0, 1, 1, 0]],
    ['mediated', [0, 0, 1, 1]],
  ] as const)(
    'counts on each what it counts on the bare machine: %s, threads on processors %j',
    (design, cpus) => {
      const machine = new HostMachine({ processors: 2, kernel: { slice: 50_000 } });
      const guest = machine.start({ code: image, design: DESIGNS[design], cpus });
      machine.finish();
      expect(guest.board.exitValue).toBe(0);
      expect(guest.board.console).toBe(bare());
      expect(guest.board.console).toContain('processor 3: 8005 instructions, 4000 branches');
      const sum = [0, 1, 2, 3].reduce((n, vcpu) => n + guest.truth('branches', vcpu), 0n);
      expect(guest.truth('branches')).toBe(sum);
    },
    60_000,
  );

  it('moves its threads between processors while they count', () => {
    const machine = new HostMachine({ processors: 2, kernel: { slice: 50_000 } });
    const guest = machine.start({ code: image, design: DESIGNS.emulated, cpus: [0, 0, 1, 1] });
    for (let move = 0; !guest.ended; move++) {
      machine.run(40_000, () => guest.ended);
      if (!guest.ended) machine.kernel.migrate(guest.tasks[move % 4]!, (move >> 2) % 2);
    }
    expect(guest.board.console).toBe(bare());
  }, 60_000);
});

describe('the timer tick of the host', () => {
  it('interrupts a guest as often as it ticks, and the guest counts on', () => {
    const machine = new HostMachine({ kernel: { hz: 1000 } });
    const guest = machine.start({ code: countingLoop(6_000_000), design: DESIGNS.emulated });
    machine.finish();
    expect(guest.readings).toEqual([counted(6_000_000)]);
    // Twelve million ticks at one an instruction, a tick of the timer every three million.
    expect(guest.vcpu.statistics.exits.get(1)).toBe(4);
  });
});

describe('a host program', () => {
  it('is counted by the events on its thread, while it runs only', () => {
    const machine = new HostMachine({ kernel: { slice: 100_000 } });
    const [first, second] = ['first', 'second'].map((name) =>
      machine.startProgram(name, { ticks: 2000, instructions: 1000 }),
    );
    const events = [first!, second!].map(({ task }) =>
      machine.perf.create(perfEventAttr({ config: 0xc0n }), { task }),
    );
    machine.run(4_000_000);
    const counts = events.map((event) => Number(machine.perf.read(event)!.count));
    for (const count of counts) {
      expect(count).toBeGreaterThan(900_000);
      expect(count).toBeLessThan(1_200_000);
    }
  });
});

describe('a saved host machine', () => {
  it.each(['emulated-sides', 'mediated', 'opt-out'] as const)(
    'goes on as it would have, wherever it was saved: %s',
    (name) => {
      const make = () => {
        const machine = new HostMachine({
          processors: 2,
          kernel: { slice: 100_000, hz: 1000 },
          perf: { hasHardware: name !== 'opt-out', sharesSides: name === 'emulated-sides' },
        });
        if (name !== 'opt-out') {
          const attr = perfEventAttr({ config: 0xc4n, excludeGuest: true });
          for (let i = 0; i < 3; i++) machine.perf.create(attr, { cpu: 0 });
        }
        for (const [at, turns] of [40_000, 70_000, 50_000].entries()) {
          const design = DESIGNS[name];
          machine.start({ code: countingLoop(turns), design, cpus: [at % 2] });
        }
        return machine;
      };
      // A moment when all guests have ended: when they end, an idle processor stands wherever it was looked at last.
      const toTheEnd = (machine: HostMachine) => machine.kernel.run(8_000_000n);
      const outcome = (machine: HostMachine) => ({
        readings: machine.guests.map(({ readings }) => readings),
        ticks: machine.hosts.map((host) => host.now()),
        accounts: machine.hosts.map(({ account }) => account.save()),
        exits: machine.guests.map(({ vcpu }) => [...vcpu.statistics.exits]),
        events: [...machine.perf.events].map((event) => machine.perf.read(event)),
      });
      const whole = make();
      toTheEnd(whole);
      const expected = outcome(whole);
      for (const at of [61_234, 222_222]) {
        const first = make();
        first.run(at);
        const saved = first.save();
        toTheEnd(first);
        expect(outcome(first)).toEqual(expected);
        first.restore(saved);
        toTheEnd(first);
        expect(outcome(first)).toEqual(expected);
        const second = make();
        second.restore(structuredClone(saved));
        toTheEnd(second);
        expect(outcome(second)).toEqual(expected);
      }
    },
    60_000,
  );
});
