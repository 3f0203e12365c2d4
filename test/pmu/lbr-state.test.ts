import { describe, expect, it } from 'vitest';
import { Interpreter } from '../../src/cpu/engines/wasm/interpreter.ts';
import { STATE } from '../../src/cpu/state/layout.ts';
import { profileNamed } from '../../src/machine/profiles.ts';
import { SAPPHIRE_RAPIDS_WHOLE, SKYLAKE_SERVER_WHOLE } from '../../src/pmu/profiles.ts';
import { PmuBench } from './bench.ts';
import { bytes, CODE, CountingProcessor, DATA } from './counting-processor.ts';

const XSS = 0xda0;
const LBR_CTL = 0x14ce;
const LBR_DEPTH = 0x14cf;
const [INFO0, FROM0, TO0] = [0x1200, 0x1500, 0x1600];
const ALL = 0x7f_0007n; // LBREN, OS, USR and every kind
const ARCH_LBR = 0x8000n;
const COMPACTED = 1n << 63n;
const REL_JMP = 2n << 56n; // BR_TYPE of IA32_LBR_x_INFO

/** EDX:EAX = component 15, then XSAVES64 or XRSTORS64 of what RSI points to. */
const ASK = 'b8 00 80 00 00  31 d2';
const XSAVES = `${ASK}  48 0f c7 2e`;
const XRSTORS = `${ASK}  48 0f c7 1e`;

/** A processor with IA32_XSS and CR4.OSXSAVE set. */
function processor(profile = 'sapphire-rapids-whole') {
  const cpu = new CountingProcessor(profileNamed(profile), (core) => new Interpreter(core));
  return xsaving(cpu);
}
function xsaving(cpu: CountingProcessor) {
  const { state } = cpu.processor;
  state.set(STATE.CR4, state.get(STATE.CR4) | (1n << 18n));
  state.set(STATE.XCR0, 3n);
  return cpu.write(XSS, ARCH_LBR);
}
const quadwords = (cpu: CountingProcessor, at: number, count: number) =>
  Array.from({ length: count }, (_, i) => cpu.hardware.memory.read(DATA + at + 8 * i, 8));

describe('XSAVES of component 15', () => {
  it('writes CTL, DEPTH, three quadwords of last events, and FROM, TO, INFO from the newest on', () => {
    const cpu = processor();
    cpu
      .load(bytes(`eb 00  eb 00  ${XSAVES}  f4`))
      .write(LBR_CTL, ALL)
      .runToHalt();
    expect(quadwords(cpu, 512, 8)).toEqual([
      ARCH_LBR,
      COMPACTED | ARCH_LBR,
      0n,
      0n,
      0n,
      0n,
      0n,
      0n,
    ]);
    const [second, first] = [BigInt(CODE + 2), BigInt(CODE)];
    // biome-ignore format: a table
    expect(quadwords(cpu, 576, 12)).toEqual([
      ALL, 32n, 0n, 0n, 0n,
      second, second + 2n, REL_JMP,
      first, first + 2n, REL_JMP,
      0n,
    ]);
  });

  it('leaves it out while nothing records and nothing is recorded', () => {
    const cpu = processor();
    cpu.load(bytes(`${XSAVES}  f4`)).hardware.memory.write(DATA + 576, 8, 0x77n);
    cpu.runToHalt();
    expect(quadwords(cpu, 512, 2)).toEqual([0n, COMPACTED | ARCH_LBR]);
    expect(quadwords(cpu, 576, 1)).toEqual([0x77n]);
  });
});

describe('XRSTORS of component 15', () => {
  it('puts back what XSAVES wrote, and recording goes on from there', () => {
    const cpu = processor();
    cpu
      .load(bytes(`eb 00  ${XSAVES}  f4`))
      .write(LBR_CTL, ALL)
      .runToHalt();
    xsaving(cpu.restart().load(bytes(`${XRSTORS}  eb 00  f4`))).runToHalt();
    expect(cpu.read(LBR_CTL)).toBe(ALL);
    const froms = [0, 1, 2].map((i) => cpu.read(FROM0 + i));
    expect(froms).toEqual([BigInt(CODE + 11), BigInt(CODE), 0n]);
    expect([cpu.read(TO0 + 1), cpu.read(INFO0 + 1)]).toEqual([BigInt(CODE + 2), REL_JMP]);
  });

  it('of the initial configuration stops and empties the stack, and keeps its depth', () => {
    const cpu = processor();
    cpu.write(LBR_DEPTH, 16n).write(LBR_CTL, ALL);
    cpu.hardware.memory.write(DATA + 520, 8, COMPACTED | ARCH_LBR);
    cpu.load(bytes(`eb 00  ${XRSTORS}  eb 00  f4`)).runToHalt();
    expect([LBR_CTL, LBR_DEPTH, FROM0].map((address) => cpu.read(address))).toEqual([0n, 16n, 0n]);
  });
});

describe('the state of architectural LBRs', () => {
  const recorded = (count: number, depth: bigint) => {
    const bench = new PmuBench(SAPPHIRE_RAPIDS_WHOLE);
    bench.write(LBR_DEPTH, depth);
    bench.write(LBR_CTL, ALL);
    for (let i = 1n; i <= count; i++) {
      bench.pmu.branch({ kind: 2, from: i, to: 0x100n + i, cplFrom: 0, cplTo: 0 });
    }
    return bench;
  };

  it.each([
    [3, 8n],
    [8, 8n],
    [19, 16n],
    [100, 32n],
  ])('goes to another processor whole: %i branches in a stack of %i', (count, depth) => {
    const from = recorded(count, depth);
    const to = recorded(5, 32n);
    expect(to.pmu.lbrState!.restore(from.pmu.lbrState!.save()!)).toBeUndefined();
    const registers = [LBR_CTL, LBR_DEPTH];
    for (let i = 0; i < 32; i++) registers.push(FROM0 + i, TO0 + i, INFO0 + i);
    expect(registers.map((r) => to.read(r))).toEqual(registers.map((r) => from.read(r)));
    expect(to.tracing).toBe(true);
  });

  it.each([
    ['a reserved bit of IA32_LBR_CTL', 0, 1n << 4n],
    ['a depth that CPUID does not list', 1, 40n],
    ['a depth of 0', 1, 0n],
    ['a reserved bit of IA32_LBR_0_INFO', 7, 1n << 16n],
  ])('cannot be %s, and nothing changes', (_what, at, value) => {
    const bench = recorded(3, 8n);
    const before = bench.pmu.lbrState!.save()!;
    expect(bench.pmu.lbrState!.restore(before.with(at, value))).toBe('#GP');
    expect(bench.pmu.lbrState!.save()).toEqual(before);
  });

  it('is nothing that XSAVES knows where LBRs are legacy or hidden', () => {
    expect(new PmuBench(SKYLAKE_SERVER_WHOLE).pmu.lbrState).toBeUndefined();
    for (const name of ['sapphire-rapids', 'skylake-server-whole']) {
      const { processor } = new CountingProcessor(profileNamed(name), (c) => new Interpreter(c));
      expect(processor.wrmsr(XSS, ARCH_LBR)).toBe('#GP');
    }
    const whole = processor().processor;
    expect(whole.wrmsr(XSS, ARCH_LBR | 1n)).toBe('#GP');
  });
});
