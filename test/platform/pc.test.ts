import { beforeEach, describe, expect, it } from 'vitest';
import type { ApicMessage } from '../../src/apic/message.ts';
import { PhysicalMemory } from '../../src/memory/physical-memory.ts';
import { Pc } from '../../src/platform/pc.ts';

const MIB = 1 << 20;

let now: number;
let events: string[];
let sent: ApicMessage[];
let pc: Pc;
let memory: PhysicalMemory;

function build(): Pc {
  return new Pc(
    { ramSize: 4 * MIB, apicIds: [0, 1], commandLine: 'x', testDevice: true },
    {
      now: () => now,
      output: (byte) => events.push(`output ${byte}`),
      exit: (value) => events.push(`exit ${value}`),
      shutdown: () => events.push('shutdown'),
      reset: () => events.push('reset'),
      send: (message) => sent.push(message),
      attention: () => {},
    },
  );
}

beforeEach(() => {
  now = 0;
  events = [];
  sent = [];
  pc = build();
  memory = new PhysicalMemory({ ramSize: 4 * MIB });
  pc.attachMemory(memory);
});

const out = (port: number, value: number, size: 1 | 2 | 4 = 1) => pc.ports.write(port, size, value);
const input = (port: number, size: 1 | 2 | 4 = 1) => pc.ports.read(port, size);

/** Routes a pin of the I/O APIC to a vector of processor 0. */
function route(pin: number, vector: number) {
  memory.write(0xfec0_0000, 4, BigInt(0x10 + 2 * pin));
  memory.write(0xfec0_0010, 4, BigInt(vector));
}

function openPic() {
  for (const [port, base, wiring] of [
    [0x20, 0x30, 4],
    [0xa0, 0x38, 2],
  ] as const) {
    out(port, 0x11);
    for (const word of [base, wiring, 1, 0]) out(port + 1, word);
  }
}

describe('the board', () => {
  it('has a console at COM1 and at the debug port', () => {
    out(0x3f8, 0x41);
    out(0xe9, 0x42);
    expect(events).toEqual(['output 65', 'output 66']);
  });

  it.each([0x2f8, 0x3e8, 0x2e8, 0x60])('has nothing at port %i', (port) => {
    expect(input(port)).toBe(0xff);
  });

  // biome-ignore format: a table
  it.each<[string, string, [number, number, (1 | 2 | 4)?][]]>([
    ['the debug exit',              'exit 5',   [[0xf4, 5, 4]]],
    ['the ACPI power control',      'shutdown', [[0x604, 0x2000, 2]]],
    ['the letters of "Shutdown"',   'shutdown', [...'Shutdown'].map((c) => [0x8900, c.charCodeAt(0)])],
    ['the letters, after a slip',   'shutdown', [...'ShutShutdown'].map((c) => [0x8900, c.charCodeAt(0)])],
    ['the keyboard controller',     'reset',    [[0x64, 0xfe]]],
    ['port 92H',                    'reset',    [[0x92, 0x03]]],
    ['the reset control register',  'reset',    [[0xcf9, 0x02], [0xcf9, 0x06]]],
  ])('by %s asks for: %s', (_by, event, writes) => {
    for (const [port, value, size] of writes) out(port, value, size ?? 1);
    expect(events).toEqual([event]);
  });

  it('shows the firmware below 1 MiB again below 4 GiB, where it cannot be written', () => {
    memory.write(0xf_fff0, 4, 0x1234_5678n);
    memory.write(0xffff_fff0, 4, 0n);
    expect(memory.read(0xffff_fff0, 4)).toBe(0x1234_5678n);
    expect(memory.read(0xfffc_0000, 4)).toBe(memory.read(0xc_0000, 4));
  });

  it('has no PCI device, but the configuration mechanism', () => {
    out(0xcf8, 0x8000_0000, 4);
    expect(input(0xcf8, 4)).toBe(0x8000_0000);
    expect(input(0xcfc, 4)).toBe(0xffff_ffff);
    expect(input(0xcfe, 2)).toBe(0xffff);
  });

  it('has a PM timer of 24 bits at 3.579545 MHz', () => {
    now = 3_000_000_000;
    expect(input(0x608, 4)).toBe(3_579_545);
    now *= 5;
    expect(input(0x608, 4)).toBe((5 * 3_579_545) % 2 ** 24);
  });

  it('says when the highest bit of the PM timer has changed, by the SCI if asked', () => {
    route(9, 0xa051); // level, low
    const half = Math.ceil((2 ** 23 * 3_000_000_000) / 3_579_545);
    now = half - 1;
    expect(input(0x600, 2)).toBe(0);
    out(0x602, 1, 2);
    expect(pc.nextDeadline()).toBe(half);
    now = half;
    pc.elapse();
    expect(input(0x600, 4)).toBe(0x1_0001);
    expect(sent.map(({ vector }) => vector)).toEqual([0x51]);
    out(0x600, 1, 2);
    expect(input(0x600, 2)).toBe(0);
    expect(pc.nextDeadline()).toBe(Math.ceil((2 ** 24 * 3_000_000_000) / 3_579_545));
  });

  it('has the test device only where it is asked for', () => {
    out(0xe0, 0x1234_5678, 4);
    expect(input(0xe0, 4)).toBe(0x1234_5678);
    const plain = new Pc(
      { ramSize: 4 * MIB, apicIds: [0] },
      {
        now: () => 0,
        output: () => {},
        exit: () => {},
        shutdown: () => {},
        reset: () => {},
        send: () => {},
        attention: () => {},
      },
    );
    expect(plain.ports.read(0xe0, 4)).toBe(0xffff_ffff);
  });
});

describe('its interrupts', () => {
  it('reach both controllers; the timer is pin 2 of the I/O APIC', () => {
    openPic();
    route(2, 0x52);
    route(4, 0x54);
    out(0x43, 0x34);
    out(0x40, 100);
    out(0x40, 0);
    expect(pc.nextDeadline()).toBe(251_429); // 100 cycles of 1,193,182 Hz
    now = pc.nextDeadline();
    pc.elapse();
    expect(pc.external.acknowledge()).toBe(0x30);
    expect(sent.map(({ vector }) => vector)).toEqual([0x52]);

    out(0x3fc, 0x08);
    out(0x3f9, 0x01);
    pc.com1.receive([0x61]);
    expect(sent.map(({ vector }) => vector)).toEqual([0x52, 0x54]);
  });

  it('can be raised by the test device', () => {
    route(20, 0x60);
    out(0x2014, 1);
    expect(sent.map(({ vector }) => vector)).toEqual([0x60]);
  });

  it('of the timer give way to the HPET in legacy mode', () => {
    route(2, 0x52);
    memory.write(0xfed0_0010, 8, 2n);
    out(0x43, 0x34);
    out(0x40, 100);
    out(0x40, 0);
    now = pc.nextDeadline();
    pc.elapse();
    expect(sent).toEqual([]);
  });
});

describe('its memory', () => {
  it('holds the tables of the firmware and the BIOS data area', () => {
    expect(new TextDecoder().decode(memory.slice(0xf_0000, 8))).toBe('RSD PTR ');
    expect(memory.read(0x40e, 2)).toBe(0x9fc0n);
    expect(memory.read(0x413, 2)).toBe(639n);
  });

  it('has the I/O APIC and the HPET at their places', () => {
    memory.write(0xfec0_0000, 4, 1n);
    expect(memory.read(0xfec0_0010, 4)).toBe(0x17_0020n);
    expect(memory.read(0xfed0_0000, 8)).toBe(0x0098_9680_8086_a201n);
  });
});

it('save and restore bring back every device', () => {
  openPic();
  out(0x43, 0x34);
  out(0x40, 0x34);
  out(0x40, 0x12);
  out(0x3fc, 0x08);
  out(0x3f9, 0x01);
  pc.com1.receive([1, 2, 3]);
  out(0xcf8, 0x8000_1000, 4);
  out(0xe0, 77, 4);
  out(0x8900, 'S'.charCodeAt(0));
  out(0x510, 5, 2);
  route(4, 0x54);
  const saved = structuredClone(pc.save());
  pc = build();
  pc.restore(saved);
  expect(pc.save()).toEqual(saved);
  expect(pc.external.pendingVector()).toBe(0x34);
});
