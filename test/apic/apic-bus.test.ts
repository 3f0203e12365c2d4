import { beforeEach, describe, expect, it } from 'vitest';
import { ApicBus } from '../../src/apic/apic-bus.ts';
import { LocalApic } from '../../src/apic/local-apic.ts';
import type { ApicMessage } from '../../src/apic/message.ts';
import { MsrBus } from '../../src/msr/bus.ts';

let bus: ApicBus;
let apics: LocalApic[];
let msrs: MsrBus[];

beforeEach(() => {
  bus = new ApicBus();
  msrs = [];
  apics = [0, 1, 2, 3].map((id) => {
    const apic: LocalApic = new LocalApic(
      { id, bootstrap: id === 0, physicalAddressBits: 46 },
      {
        now: () => 0,
        tsc: () => 0n,
        send: (message) => bus.send(message, apic),
        attention: () => {},
      },
    );
    bus.attach(apic);
    const msr = new MsrBus();
    apic.attach(msr);
    msr.wrmsr(0x1b, (msr.rdmsr(0x1b) as bigint) | 0x400n);
    msr.wrmsr(0x80f, 0x1ffn);
    msrs.push(msr);
    return apic;
  });
});

const pending = () => apics.map((apic) => apic.pendingVector());

// biome-ignore format: a table
it.each([
  ['to one',             0x0000_0002_0000_4041n, [undefined, undefined, 0x41, undefined]],
  ['to all but self',    0x0000_0000_000c_4041n, [undefined, 0x41, 0x41, 0x41]],
  ['to all',             0x0000_0000_0008_4041n, [0x41, 0x41, 0x41, 0x41]],
  ['to self',            0x0000_0000_0004_4041n, [0x41, undefined, undefined, undefined]],
  ['by broadcast ID',    0xffff_ffff_0000_4041n, [0x41, 0x41, 0x41, 0x41]],
  ['to logical 1 and 3', 0x0000_000a_0000_4841n, [undefined, 0x41, undefined, 0x41]],
  ['to nobody',          0x0000_0009_0000_4041n, [undefined, undefined, undefined, undefined]],
])('an IPI %s', (_to, icr, vectors) => {
  msrs[0]!.wrmsr(0x830, icr);
  expect(pending()).toEqual(vectors);
});

describe('lowest priority', () => {
  const message: ApicMessage = {
    mode: 1,
    vector: 0x41,
    level: false,
    assert: true,
    logical: true,
    shorthand: 0,
    destination: 0xf,
    broadcast: 0xff,
  };

  it('goes to the processor with the lowest priority, the first of equals', () => {
    msrs[0]!.wrmsr(0x808, 0x20n);
    msrs[1]!.wrmsr(0x808, 0x30n);
    bus.send(message);
    expect(pending()).toEqual([undefined, undefined, 0x41, undefined]);
  });

  it('never goes to a disabled APIC', () => {
    for (const msr of msrs.slice(0, 3)) msr.wrmsr(0x80f, 0xffn);
    bus.send(message);
    expect(pending()).toEqual([undefined, undefined, undefined, 0x41]);
  });
});

it('INIT and SIPI reach all others, the bootstrap processor goes on', () => {
  msrs[0]!.wrmsr(0x830, 0x0000_0000_000c_4500n);
  msrs[0]!.wrmsr(0x830, 0x0000_0000_000c_4608n);
  expect(apics[0]!.pendingSignal()).toBeUndefined();
  for (const apic of apics.slice(1)) {
    expect(apic.pendingSignal()).toBe('INIT');
    apic.takeSignal();
    expect(apic.pendingSignal()).toEqual({ sipi: 8 });
  }
});
