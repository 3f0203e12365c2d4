import { beforeEach, describe, expect, it } from 'vitest';
import { LocalApic } from '../../src/apic/local-apic.ts';
import type { ApicMessage } from '../../src/apic/message.ts';
import { MsrBus } from '../../src/msr/bus.ts';

const IA32_APIC_BASE = 0x1b;
const IA32_TSC_DEADLINE = 0x6e0;
const TPR = 0x808;
const PPR = 0x80a;
const EOI = 0x80b;
const SIVR = 0x80f;
const ISR = 0x810;
const TMR = 0x818;
const IRR = 0x820;
const ESR = 0x828;
const ICR = 0x830;
const LVT_TIMER = 0x832;
const LVT_PMI = 0x834;
const LVT_LINT0 = 0x835;
const LVT_LINT1 = 0x836;
const LVT_ERROR = 0x837;
const INIT_COUNT = 0x838;
const CUR_COUNT = 0x839;
const DIV_CONF = 0x83e;
const SELF_IPI = 0x83f;

let now: number;
let tscOffset: bigint;
let sent: ApicMessage[];
let ended: number[];
let offered: number | undefined;
let apic: LocalApic;
let bus: MsrBus;

function build(id = 0, bootstrap = true) {
  now = 0;
  tscOffset = 0n;
  sent = [];
  ended = [];
  offered = undefined;
  apic = new LocalApic(
    { id, bootstrap, physicalAddressBits: 46 },
    {
      now: () => now,
      tsc: () => (BigInt(now) + tscOffset) & 0xffff_ffff_ffff_ffffn,
      send: (message) => sent.push(message),
      attention: () => {},
      eoi: (vector) => ended.push(vector),
      external: { pendingVector: () => offered, acknowledge: () => offered ?? -1 },
    },
  );
  bus = new MsrBus();
  apic.attach(bus);
}

const write = (address: number, value: bigint) => expect(bus.wrmsr(address, value)).toBe('done');
const read = (address: number) => bus.rdmsr(address);
const pageRead = (offset: number) => apic.page.read(offset, 4);
const pageWrite = (offset: number, value: bigint) => apic.page.write(offset, 4, value);

function x2apic() {
  write(IA32_APIC_BASE, (read(IA32_APIC_BASE) as bigint) | 0x400n);
  write(SIVR, 0x1ffn);
}

beforeEach(() => build());

describe('IA32_APIC_BASE', () => {
  it('comes up as the bootstrap processor, enabled, in xAPIC mode', () => {
    expect(read(IA32_APIC_BASE)).toBe(0xfee0_0900n);
  });

  it('comes up without the BSP bit on an application processor', () => {
    build(3, false);
    expect(read(IA32_APIC_BASE)).toBe(0xfee0_0800n);
  });

  // biome-ignore format: a table
  it.each([
    ['xAPIC',    [],                           'x2APIC',           0xfee0_0d00n, 'done'],
    ['xAPIC',    [],                           'EXTD without EN',  0xfee0_0500n, '#GP'],
    ['x2APIC',   [0xfee0_0d00n],               'xAPIC',            0xfee0_0900n, '#GP'],
    ['x2APIC',   [0xfee0_0d00n],               'disabled',         0xfee0_0100n, 'done'],
    ['disabled', [0xfee0_0100n],               'x2APIC',           0xfee0_0d00n, '#GP'],
    ['disabled', [0xfee0_0100n],               'xAPIC',            0xfee0_0900n, 'done'],
    ['xAPIC',    [],                           'reserved bit 9',   0xfee0_0b00n, '#GP'],
    ['xAPIC',    [],                           'beyond MAXPHYADDR', (1n << 46n) | 0xfee0_0900n, '#GP'],
  ] as const)('%s → %3$s: %5$s', (_from, path, _to, value, outcome) => {
    for (const step of path) write(IA32_APIC_BASE, step);
    expect(bus.wrmsr(IA32_APIC_BASE, value)).toBe(outcome);
  });

  it('leaves the MSRs of x2APIC mode faulting in xAPIC mode', () => {
    for (const address of [0x802, 0x803, TPR, LVT_PMI]) expect(read(address)).toBe('#GP');
    expect(bus.wrmsr(TPR, 0n)).toBe('#GP');
  });

  it('takes the register page away in x2APIC mode', () => {
    expect(pageRead(0x30)).toBe(0x5_0014n);
    x2apic();
    expect(pageRead(0x30)).toBe(0xffff_ffffn);
  });

  it('forgets the registers when it is switched off', () => {
    pageWrite(0xf0, 0x1ffn);
    pageWrite(0x340, 0x400n);
    write(IA32_APIC_BASE, 0xfee0_0100n);
    expect(apic.enabled()).toBe(false);
    write(IA32_APIC_BASE, 0xfee0_0900n);
    expect(pageRead(0xf0)).toBe(0xffn);
    expect(pageRead(0x340)).toBe(0x1_0000n);
  });
});

describe('registers', () => {
  it('start as after power-up', () => {
    write(IA32_APIC_BASE, 0xfee0_0d00n);
    expect(read(0x803)).toBe(0x5_0014n);
    expect(read(SIVR)).toBe(0xffn);
    for (let lvt = LVT_TIMER; lvt <= LVT_ERROR; lvt++) expect(read(lvt)).toBe(0x1_0000n);
  });

  it('have an x2APIC ID of 32 bits and the logical ID that follows from it', () => {
    build(0x25, false);
    x2apic();
    expect(read(0x802)).toBe(0x25n);
    expect(read(0x80d)).toBe(0x2_0020n);
  });

  // biome-ignore format: a table
  it.each([
    ['EOI takes only 0',                     EOI,       1n],
    ['ESR takes only 0',                     ESR,       1n],
    ['TPR bit 8 is reserved',                TPR,       0x100n],
    ['the ID is read-only',                  0x802,     0n],
    ['PPR is read-only',                     PPR,       0n],
    ['the current count is read-only',       CUR_COUNT, 0n],
    ['ICR bit 13 is reserved',               ICR,       0x2000n],
    ['LVT PMI has no trigger mode',          LVT_PMI,   0x8000n],
    ['LVT timer has no delivery mode',       LVT_TIMER, 0x400n],
    ['the divide configuration has no bit 2', DIV_CONF, 4n],
    ['self IPI has 8 bits',                  SELF_IPI,  0x140n],
  ])('#GP: %s', (_why, address, value) => {
    x2apic();
    expect(bus.wrmsr(address, value)).toBe('#GP');
  });

  it('#GP: EOI and self IPI cannot be read', () => {
    x2apic();
    expect(read(EOI)).toBe('#GP');
    expect(read(SELF_IPI)).toBe('#GP');
  });

  it('are the same by the page of xAPIC mode', () => {
    pageWrite(0xf0, 0x1ffn);
    pageWrite(0x80, 0x20n);
    pageWrite(0x340, 0x432n);
    expect(pageRead(0x80)).toBe(0x20n);
    expect(pageRead(0xa0)).toBe(0x20n);
    expect(pageRead(0x340)).toBe(0x432n);
    write(IA32_APIC_BASE, 0xfee0_0d00n);
    expect(read(LVT_PMI)).toBe(0x432n);
  });

  it('have logical destination and format in xAPIC mode', () => {
    pageWrite(0xd0, 0x12ff_ffffn);
    pageWrite(0xe0, 0n);
    expect(pageRead(0xd0)).toBe(0x1200_0000n);
    expect(pageRead(0xe0)).toBe(0x0fff_ffffn);
  });

  it('report an access beyond them in ESR bit 7 at the next write of ESR', () => {
    pageWrite(0xf0, 0x1ffn);
    pageRead(0x40);
    expect(pageRead(0x280)).toBe(0n);
    pageWrite(0x280, 0n);
    expect(pageRead(0x280)).toBe(0x80n);
    pageWrite(0x280, 0n);
    expect(pageRead(0x280)).toBe(0n);
  });
});

describe('interrupts', () => {
  beforeEach(x2apic);

  it('go from IRR to ISR at acknowledgement and leave ISR at EOI', () => {
    write(SELF_IPI, 0x41n);
    expect(read(IRR + 2)).toBe(2n);
    expect(apic.pendingVector()).toBe(0x41);
    expect(apic.acknowledge()).toBe(0x41);
    expect(read(IRR + 2)).toBe(0n);
    expect(read(ISR + 2)).toBe(2n);
    write(EOI, 0n);
    expect(read(ISR + 2)).toBe(0n);
  });

  it('come highest vector first', () => {
    write(SELF_IPI, 0x41n);
    write(SELF_IPI, 0xf1n);
    write(SELF_IPI, 0x5fn);
    expect([apic.acknowledge(), apic.pendingVector()]).toEqual([0xf1, undefined]);
    write(EOI, 0n);
    expect(apic.acknowledge()).toBe(0x5f);
    write(EOI, 0n);
    expect(apic.acknowledge()).toBe(0x41);
  });

  it('wait for EOI of their own class, interrupt a lower one', () => {
    write(SELF_IPI, 0x51n);
    apic.acknowledge();
    write(SELF_IPI, 0x5fn);
    expect(apic.pendingVector()).toBeUndefined();
    write(SELF_IPI, 0x60n);
    expect(apic.pendingVector()).toBe(0x60);
  });

  it('wait below the task priority', () => {
    write(SELF_IPI, 0x5fn);
    write(TPR, 0x50n);
    expect(apic.pendingVector()).toBeUndefined();
    expect(apic.taskPriority()).toBe(5);
    apic.setTaskPriority(4);
    expect(read(TPR)).toBe(0x40n);
    expect(apic.pendingVector()).toBe(0x5f);
  });

  it('give PPR: TPR where its class is as high, else the class in service', () => {
    write(TPR, 0x23n);
    expect(read(PPR)).toBe(0x23n);
    write(SELF_IPI, 0x47n);
    apic.acknowledge();
    expect(read(PPR)).toBe(0x40n);
    write(TPR, 0x4fn);
    expect(read(PPR)).toBe(0x4fn);
  });

  it('with a vector below 16 are an error, with its own interrupt', () => {
    write(LVT_ERROR, 0x55n);
    write(LVT_TIMER, 0x0fn);
    write(DIV_CONF, 0xbn);
    write(INIT_COUNT, 10n);
    now = 10;
    apic.elapse();
    expect(apic.pendingVector()).toBe(0x55);
    write(ESR, 0n);
    expect(read(ESR)).toBe(0x40n);
  });

  it('do not arrive while the APIC is software-disabled, whose LVT stays masked', () => {
    write(LVT_PMI, 0x40n);
    write(SIVR, 0xffn);
    expect(read(LVT_PMI)).toBe(0x1_0040n);
    write(LVT_PMI, 0x40n);
    expect(read(LVT_PMI)).toBe(0x1_0040n);
    write(SELF_IPI, 0x50n);
    write(SIVR, 0x1ffn);
    expect(apic.pendingVector()).toBeUndefined();
  });

  it('answer the spurious vector when nothing is pending any more', () => {
    expect(apic.acknowledge()).toBe(0xff);
  });
});

describe('LVT PMI', () => {
  beforeEach(x2apic);

  it('delivers a fixed vector and masks itself', () => {
    write(LVT_PMI, 0x40n);
    apic.raisePmi();
    expect(apic.pendingVector()).toBe(0x40);
    expect(read(LVT_PMI)).toBe(0x1_0040n);
  });

  it('delivers an NMI and masks itself', () => {
    write(LVT_PMI, 0x400n);
    apic.raisePmi();
    expect(apic.nmiPending()).toBe(true);
    expect(read(LVT_PMI)).toBe(0x1_0400n);
    apic.takeNmi();
    expect(apic.nmiPending()).toBe(false);
  });

  it('loses a request while masked, and unmasking replays nothing', () => {
    write(LVT_PMI, 0x1_0040n);
    apic.raisePmi();
    write(LVT_PMI, 0x40n);
    expect(apic.pendingVector()).toBeUndefined();
  });
});

describe('the timer', () => {
  beforeEach(x2apic);

  it('counts down once at the divided clock', () => {
    write(DIV_CONF, 0x3n); // by 16
    write(LVT_TIMER, 0x30n);
    write(INIT_COUNT, 100n);
    expect(apic.nextDeadline()).toBe(1600);
    now = 160;
    expect(read(CUR_COUNT)).toBe(90n);
    now = 1599;
    apic.elapse();
    expect(apic.pendingVector()).toBeUndefined();
    now = 1600;
    apic.elapse();
    expect(apic.pendingVector()).toBe(0x30);
    expect(read(CUR_COUNT)).toBe(0n);
    expect(apic.nextDeadline()).toBe(Infinity);
  });

  // biome-ignore format: a table
  it.each([[0b0000, 2], [0b0001, 4], [0b0010, 8], [0b0011, 16], [0b1000, 32], [0b1001, 64], [0b1010, 128], [0b1011, 1]])(
    'with divide configuration %i divides by %i', (configuration, divisor) => {
      write(DIV_CONF, BigInt(configuration));
      write(INIT_COUNT, 1n);
      expect(apic.nextDeadline()).toBe(divisor);
    },
  );

  it('repeats in periodic mode without drift', () => {
    write(DIV_CONF, 0xbn);
    write(LVT_TIMER, 0x2_0030n);
    write(INIT_COUNT, 1000n);
    now = 1003;
    apic.elapse();
    expect(apic.nextDeadline()).toBe(2000);
    now = 5500;
    apic.elapse();
    expect(apic.nextDeadline()).toBe(6000);
  });

  it('stops when the initial count is set to 0', () => {
    write(INIT_COUNT, 1000n);
    write(INIT_COUNT, 0n);
    expect(apic.nextDeadline()).toBe(Infinity);
  });

  it('runs on while masked and interrupts nobody', () => {
    write(DIV_CONF, 0xbn);
    write(INIT_COUNT, 10n);
    now = 10;
    apic.elapse();
    expect(apic.pendingVector()).toBeUndefined();
    expect(apic.nextDeadline()).toBe(Infinity);
  });

  it('goes on from its count when the divisor changes', () => {
    write(DIV_CONF, 0xbn);
    write(INIT_COUNT, 100n);
    now = 40;
    write(DIV_CONF, 0x0n);
    expect(apic.nextDeadline()).toBe(40 + 60 * 2);
  });

  it('in TSC-deadline mode fires when the TSC gets there, and disarms', () => {
    tscOffset = 1_000_000n;
    write(LVT_TIMER, 0x4_0030n);
    write(IA32_TSC_DEADLINE, 1_000_500n);
    expect(apic.nextDeadline()).toBe(500);
    now = 500;
    apic.elapse();
    expect(apic.pendingVector()).toBe(0x30);
    expect(read(IA32_TSC_DEADLINE)).toBe(0n);
    expect(apic.nextDeadline()).toBe(Infinity);
  });

  it('in TSC-deadline mode fires at once for a deadline in the past', () => {
    now = 900;
    write(LVT_TIMER, 0x4_0030n);
    write(IA32_TSC_DEADLINE, 500n);
    expect(apic.nextDeadline()).toBe(900);
    apic.elapse();
    expect(apic.pendingVector()).toBe(0x30);
  });

  it('keeps no TSC deadline in the other modes and no count in this one', () => {
    write(IA32_TSC_DEADLINE, 500n);
    expect(read(IA32_TSC_DEADLINE)).toBe(0n);
    write(LVT_TIMER, 0x4_0030n);
    write(INIT_COUNT, 500n);
    expect(apic.nextDeadline()).toBe(Infinity);
    expect(read(CUR_COUNT)).toBe(0n);
  });

  it('is disarmed by a change of mode', () => {
    write(LVT_TIMER, 0x4_0030n);
    write(IA32_TSC_DEADLINE, 500n);
    write(LVT_TIMER, 0x30n);
    expect(apic.nextDeadline()).toBe(Infinity);
    expect(read(IA32_TSC_DEADLINE)).toBe(0n);
  });
});

describe('the pins', () => {
  beforeEach(x2apic);

  it('LINT0 as ExtINT passes on what the i8259 pair offers', () => {
    offered = 0x08;
    expect(apic.pendingVector()).toBeUndefined();
    write(LVT_LINT0, 0x700n);
    expect(apic.pendingVector()).toBe(0x08);
    expect(apic.acknowledge()).toBe(0x08);
    expect(read(ISR)).toBe(0n);
  });

  it('LINT0 is INTR while the APIC is off', () => {
    offered = 0x21;
    write(IA32_APIC_BASE, 0xfee0_0100n);
    expect(apic.pendingVector()).toBe(0x21);
  });

  it('LINT1 as NMI latches one NMI an edge', () => {
    write(LVT_LINT1, 0x400n);
    apic.setPin(1, true);
    apic.takeNmi();
    apic.setPin(1, true);
    expect(apic.nmiPending()).toBe(false);
    apic.setPin(1, false);
    apic.setPin(1, true);
    expect(apic.nmiPending()).toBe(true);
  });

  it('a level-triggered pin repeats after EOI while it is asserted, and tells of the EOI', () => {
    write(LVT_LINT0, 0x8060n);
    apic.setPin(0, true);
    expect(read(LVT_LINT0)).toBe(0xc060n); // remote IRR
    expect(apic.acknowledge()).toBe(0x60);
    expect(read(TMR + 3)).toBe(1n);
    write(EOI, 0n);
    expect(ended).toEqual([0x60]);
    expect(apic.acknowledge()).toBe(0x60);
    apic.setPin(0, false);
    write(EOI, 0n);
    expect(apic.pendingVector()).toBeUndefined();
    expect(read(LVT_LINT0)).toBe(0x8060n);
  });
});

describe('interprocessor interrupts', () => {
  it('are sent from the 64-bit ICR of x2APIC mode', () => {
    x2apic();
    write(ICR, 0x0000_0007_0000_4041n);
    expect(sent).toEqual([
      {
        mode: 0,
        vector: 0x41,
        level: false,
        assert: true,
        logical: false,
        shorthand: 0,
        destination: 7,
        broadcast: 0xffff_ffff,
      },
    ]);
    expect(read(ICR)).toBe(0x0000_0007_0000_4041n);
  });

  it('are sent by the write of the low half in xAPIC mode', () => {
    pageWrite(0x310, 0x0300_0000n);
    expect(sent).toEqual([]);
    pageWrite(0x300, 0x4500n); // INIT, assert
    expect(sent).toMatchObject([{ mode: 5, destination: 3, broadcast: 0xff, assert: true }]);
    expect(pageRead(0x300)).toBe(0x4500n);
    expect(pageRead(0x310)).toBe(0x0300_0000n);
  });

  it('to self stay inside', () => {
    x2apic();
    write(ICR, 0x4_4041n);
    expect(sent).toEqual([]);
    expect(apic.pendingVector()).toBe(0x41);
  });

  it('with a vector below 16 are not sent but logged', () => {
    x2apic();
    write(ICR, 0x400fn);
    expect(sent).toEqual([]);
    write(ESR, 0n);
    expect(read(ESR)).toBe(0x20n);
  });

  it('INIT level de-assert is heeded by nobody', () => {
    pageWrite(0x300, 0x8500n);
    expect(sent).toMatchObject([{ mode: 5, assert: false }]);
    apic.deliver(sent[0]!);
    expect(apic.pendingSignal()).toBeUndefined();
  });
});

describe('destinations', () => {
  const message = (destination: number, logical: boolean, broadcast = 0xff): ApicMessage => ({
    mode: 0,
    vector: 0x40,
    level: false,
    assert: true,
    logical,
    shorthand: 0,
    destination,
    broadcast,
  });

  it('physical: the ID or all', () => {
    build(5, false);
    expect(apic.isDestination(message(5, false))).toBe(true);
    expect(apic.isDestination(message(4, false))).toBe(false);
    expect(apic.isDestination(message(0xff, false))).toBe(true);
    expect(apic.isDestination(message(0xff, false, 0xffff_ffff))).toBe(false);
  });

  it('logical, flat model: any common bit', () => {
    pageWrite(0xd0, 0x0400_0000n);
    expect(apic.isDestination(message(0x06, true))).toBe(true);
    expect(apic.isDestination(message(0x03, true))).toBe(false);
  });

  it('logical, cluster model: the cluster and a common bit', () => {
    pageWrite(0xe0, 0x0fff_ffffn);
    pageWrite(0xd0, 0x2400_0000n);
    expect(apic.isDestination(message(0x24, true))).toBe(true);
    expect(apic.isDestination(message(0x34, true))).toBe(false);
    expect(apic.isDestination(message(0x21, true))).toBe(false);
    expect(apic.isDestination(message(0xf4, true))).toBe(true);
  });

  it('logical, x2APIC: cluster in the upper half', () => {
    build(0x25, false);
    x2apic();
    expect(apic.isDestination(message(0x2_0020, true, 0xffff_ffff))).toBe(true);
    expect(apic.isDestination(message(0x1_0020, true, 0xffff_ffff))).toBe(false);
    expect(apic.isDestination(message(0x2_0001, true, 0xffff_ffff))).toBe(false);
  });
});

describe('INIT and SIPI', () => {
  const signal = (mode: number, vector = 0) =>
    apic.deliver({
      mode,
      vector,
      level: false,
      assert: true,
      logical: false,
      shorthand: 0,
      destination: 1,
      broadcast: 0xff,
    });

  beforeEach(() => build(1, false));

  it('an application processor waits for SIPI from power-up', () => {
    signal(6, 0x9f);
    expect(apic.pendingSignal()).toEqual({ sipi: 0x9f });
    apic.takeSignal();
    expect(apic.pendingSignal()).toBeUndefined();
  });

  it('INIT comes before the SIPI that follows it, and resets the registers', () => {
    signal(6, 0x01);
    apic.takeSignal();
    x2apic();
    write(LVT_PMI, 0x40n);
    signal(5);
    signal(6, 0x9f);
    expect(apic.pendingSignal()).toBe('INIT');
    apic.takeSignal();
    expect(read(LVT_PMI)).toBe(0x1_0000n);
    expect(read(IA32_APIC_BASE)).toBe(0xfee0_0c00n);
    expect(apic.pendingSignal()).toEqual({ sipi: 0x9f });
  });

  it('a processor that runs ignores SIPI', () => {
    signal(6, 0x01);
    apic.takeSignal();
    signal(6, 0x02);
    expect(apic.pendingSignal()).toBeUndefined();
  });
});

describe('save and restore', () => {
  it('bring back every register and what is pending', () => {
    x2apic();
    write(TPR, 0x10n);
    write(LVT_PMI, 0x400n);
    write(LVT_TIMER, 0x2_0030n);
    write(DIV_CONF, 0xbn);
    write(INIT_COUNT, 1000n);
    write(SELF_IPI, 0x41n);
    apic.acknowledge();
    write(SELF_IPI, 0x61n);
    apic.raiseNmi();
    const saved = structuredClone(apic.save());
    build();
    apic.restore(saved);
    expect(apic.save()).toEqual(saved);
    expect(apic.pendingVector()).toBe(0x61);
    expect(apic.nmiPending()).toBe(true);
    expect(apic.nextDeadline()).toBe(1000);
    expect(read(LVT_PMI)).toBe(0x400n);
  });
});
