import { beforeEach, describe, expect, it } from 'vitest';
import { Oracle } from '../../src/cpu/engines/oracle/oracle.ts';
import { Interpreter } from '../../src/cpu/engines/wasm/interpreter.ts';
import { STATE } from '../../src/cpu/state/layout.ts';
import { profileNamed, withDeviations } from '../../src/machine/profiles.ts';
import { IDEAL } from '../../src/pmu/silicon.ts';
import { bytes, CODE, CountingProcessor, DATA } from './counting-processor.ts';

const GDT = 0x5000;
const IDT = 0x6000;
const HANDLER = 0x2_0000;
const NMI_HANDLER = 0x2_1000;
const LVTPC = 0xfee0_0340;
const SPURIOUS = 0xfee0_00f0;
const MASKED = 0x1_0000n;
const VECTOR = 0x40;
const STATUS = 0x38e;

/** MOV ECX, 38EH; RDMSR; INC EBX; MOV [RSI], EAX; then what follows. */
const LOOK = 'b9 8e 03 00 00  0f 32  ff c3  89 06';

describe.each([
  ['oracle', Oracle],
  ['interpreter', Interpreter],
] as const)('a PMI on the %s', (_name, Engine) => {
  let cpu: CountingProcessor;

  const gate = (vector: number, handler: number) => {
    const { memory } = cpu.hardware;
    const low = BigInt(handler & 0xffff) | (0x10n << 16n) | (0x8e00n << 32n);
    memory.write(IDT + 16 * vector, 8, low | (BigInt(handler >>> 16) << 48n));
    memory.write(IDT + 16 * vector + 8, 8, 0n);
  };

  beforeEach(() => {
    cpu = new CountingProcessor(profileNamed('sapphire-rapids'), (core) => new Engine(core));
    const { memory } = cpu.hardware;
    const { state } = cpu.processor;
    memory.write(GDT + 0x10, 8, 0x00af_9b00_0000_ffffn);
    memory.write(GDT + 0x18, 8, 0x00cf_9300_0000_ffffn);
    state.set(STATE.GDTR_BASE, BigInt(GDT));
    state.set32(STATE.GDTR_LIMIT, 0x1f);
    state.set(STATE.IDTR_BASE, BigInt(IDT));
    state.set32(STATE.IDTR_LIMIT, 0xfff);
    gate(VECTOR, HANDLER);
    gate(2, NMI_HANDLER);
    cpu.load(bytes(`${LOOK} f4`), HANDLER).load(bytes(`${LOOK} f4`), NMI_HANDLER);
    memory.write(SPURIOUS, 4, 0x1ffn);
  });

  const lvtpc = () => cpu.hardware.memory.read(LVTPC, 4);
  /** What delivery pushed as RIP, from the start of the code. */
  const interrupted = () =>
    Number(cpu.hardware.memory.read(Number(cpu.processor.state.gpr[4]), 8)) - CODE;
  const overflowAfter = (instructions: number) =>
    cpu.write(0xc1, BigInt(-instructions) & 0xffff_ffffn).count(0x10_00c0);

  it.each([2, 3, 6])(
    'as a fixed interrupt comes right after instruction %i, with the status bit set and LVTPC masked',
    (n) => {
      cpu.hardware.memory.write(LVTPC, 4, BigInt(VECTOR));
      cpu.load([0xfb, ...Array.from({ length: 10 }, () => 0x90), 0xf4]); // STI; NOP …
      overflowAfter(n).runToHalt();
      expect(interrupted()).toBe(n);
      expect(cpu.hardware.memory.read(DATA, 4)).toBe(1n);
      expect(lvtpc()).toBe(MASKED | BigInt(VECTOR));
      expect(cpu.processor.state.gpr[3]).toBe(1n);
    },
  );

  it('waits for the instruction after STI', () => {
    cpu.hardware.memory.write(LVTPC, 4, BigInt(VECTOR));
    cpu.load([0xfb, 0x90, 0x90, 0xf4]);
    overflowAfter(1).runToHalt();
    expect(interrupted()).toBe(2);
  });

  it('as an NMI does not ask for IF', () => {
    cpu.hardware.memory.write(LVTPC, 4, 0x400n);
    cpu.load([...Array.from({ length: 10 }, () => 0x90), 0xf4]);
    overflowAfter(4).runToHalt();
    expect([interrupted(), lvtpc()]).toEqual([4, MASKED | 0x400n]);
  });

  it('while LVTPC is masked is lost: the status bit stays, and unmasking replays nothing', () => {
    cpu.hardware.memory.write(LVTPC, 4, MASKED | BigInt(VECTOR));
    cpu.load([0xfb, ...Array.from({ length: 10 }, () => 0x90), 0xf4]);
    overflowAfter(4).processor.cpu.run(1000);
    expect([cpu.read(STATUS), cpu.processor.state.gpr[3]]).toEqual([1n, 0n]);
    cpu.hardware.memory.write(LVTPC, 4, BigInt(VECTOR));
    cpu.processor.cpu.run(1000);
    expect(cpu.processor.state.gpr[3]).toBe(0n);
  });

  it('comes once for two counters that overflow together', () => {
    cpu.hardware.memory.write(LVTPC, 4, BigInt(VECTOR));
    cpu.load([0xfb, ...Array.from({ length: 10 }, () => 0x90), 0xf4]);
    cpu.write(0xc1, 0xffff_fffcn).write(0xc2, 0xffff_fffcn).count(0x10_00c0, 0x10_00c0);
    cpu.runToHalt();
    expect([cpu.read(STATUS), cpu.processor.state.gpr[3]]).toEqual([3n, 1n]);
    expect(interrupted()).toBe(4);
  });

  it('of a counter of interrupts is asked for before the first instruction of the handler', () => {
    gate(VECTOR + 1, HANDLER);
    cpu.hardware.memory.write(0xfee0_0300, 4, 0x4_4000n | BigInt(VECTOR + 1)); // to itself
    cpu.load([0xfb, ...Array.from({ length: 10 }, () => 0x90), 0xf4]);
    // FREEZE_PERFMON_ON_PMI: the second counter stops with the overflow of the first.
    cpu
      .write(0x1d9, 1n << 12n)
      .write(0xc1, 0xffff_ffffn)
      .count(0x10_01cb, 0x00c0)
      .runToHalt();
    expect(interrupted()).toBe(2);
    expect(cpu.counts(2)).toEqual([0, 2]);
  });

  it('counts nothing itself, and its handler counts like any code', () => {
    cpu.hardware.memory.write(LVTPC, 4, BigInt(VECTOR));
    cpu.load([0xfb, 0x90, 0x90, 0x90, 0xf4]);
    cpu.write(0xc1, 0xffff_fffdn).count(0x10_00c0, 0x00c0, 0x00c4, 0x40c4);
    cpu.runToHalt();
    // Three before the interrupt; MOV, RDMSR, INC, MOV and HLT in the handler.
    expect(cpu.counts(4)).toEqual([5, 8, 0, 0]);
  });
});

it('on silicon with skid an interrupt comes that many instructions later', () => {
  const profile = withDeviations(profileNamed('sapphire-rapids'), { ...IDEAL, skid: 3 });
  const cpu = new CountingProcessor(profile, (core) => new Interpreter(core));
  expect(cpu.processor.pmu.counting).toBe('silicon (skid 3)');
  // FREEZE_PERFMON_ON_PMI: the second counter stops when the interrupt is requested.
  cpu.load([...Array.from({ length: 20 }, () => 0x90), 0xf4]).write(0x1d9, 1n << 12n);
  cpu.write(0xc1, 0xffff_fffbn).count(0x10_00c0, 0x00c0).runToHalt();
  expect(cpu.counts(2)).toEqual([3, 8]);
});
