import { describe, expect, it } from 'vitest';
import { CR4 } from '../../src/cpu/control-registers.ts';
import { Interpreter } from '../../src/cpu/engines/wasm/interpreter.ts';
import { STATE } from '../../src/cpu/state/layout.ts';
import { profileNamed } from '../../src/machine/profiles.ts';
import { PmuBench } from './bench.ts';
import { bytes } from './counting-processor.ts';
import { SystemProcessor } from './system-processor.ts';

/** What CPUID announces of each: counters by index, the AnyThread bits, PERF_METRICS, version 6's bits of selectors. */
// biome-ignore format: a table
const PROFILES = [
  { name: 'perfmon-v2',            gp: [0, 1],                   fixed: [0, 1, 2],          anyThread: false, metrics: false, v6: false },
  { name: 'perfmon-v3',            gp: [0, 1, 2, 3],             fixed: [0, 1, 2],          anyThread: true,  metrics: false, v6: false },
  { name: 'perfmon-v4',            gp: [0, 1, 2, 3],             fixed: [0, 1, 2],          anyThread: true,  metrics: false, v6: false },
  { name: 'perfmon-v5',            gp: [0, 1, 2, 3, 4, 5, 6, 7], fixed: [0, 1, 2, 3],       anyThread: false, metrics: false, v6: false },
  { name: 'perfmon-v6',            gp: [0, 1, 2, 4, 5, 7],       fixed: [0, 1, 2, 4, 5, 6], anyThread: false, metrics: false, v6: true  },
  { name: 'skylake-server',        gp: [0, 1, 2, 3, 4, 5, 6, 7], fixed: [0, 1, 2],          anyThread: true,  metrics: false, v6: false },
  { name: 'skylake-server-whole',  gp: [0, 1, 2, 3, 4, 5, 6, 7], fixed: [0, 1, 2],          anyThread: true,  metrics: false, v6: false },
  { name: 'ice-lake-server',       gp: [0, 1, 2, 3, 4, 5, 6, 7], fixed: [0, 1, 2, 3],       anyThread: false, metrics: true,  v6: false },
  { name: 'sapphire-rapids',       gp: [0, 1, 2, 3, 4, 5, 6, 7], fixed: [0, 1, 2, 3],       anyThread: false, metrics: false, v6: false },
  { name: 'sapphire-rapids-whole', gp: [0, 1, 2, 3, 4, 5, 6, 7], fixed: [0, 1, 2, 3],       anyThread: false, metrics: true,  v6: false },
] as const;

const UNTOUCHED = 0x5555_5555n;
const word = (n: number) => [0, 8, 16, 24].map((shift) => (n >>> shift) & 0xff);

/** MOV EAX; MOV ECX; RDPMC, at CPL 0, or at CPL 3 after SYSRET; then HLT. A #GP skips RDPMC. */
const reading = (ecx: number, cpl: 0 | 3): number[] => [
  ...bytes('41 be 02 00 00 00'), // MOV R14D, 2
  ...[0xb8, ...word(Number(UNTOUCHED))],
  ...(cpl === 3
    ? // LEA R13 behind SYSCALL; LEA RCX; MOV R11D, 2; SYSRET; then MOV ECX; RDPMC; SYSCALL.
      bytes('4c 8d 2d 19 00 00 00  48 8d 0d 09 00 00 00  41 bb 02 00 00 00  48 0f 07')
    : []),
  ...[0xb9, ...word(ecx), 0x0f, 0x33],
  ...(cpl === 3 ? [0x0f, 0x05] : []),
  0xf4,
];

/** Every type of ECX there ever was, each with indices at both ends. */
// biome-ignore format: a table
const FORMS = [
  ...Array.from({ length: 10 }, (_, i) => i), 0xff, 0xffff,
  ...Array.from({ length: 9 }, (_, i) => (0x4000_0000 | i) >>> 0), 0x4000_ffff,
  0x2000_0000, 0x2000_0001, 0x8000_0000, 0xc000_0000, 0x6000_0000, 0x1000_0000, 0x0001_0000, 0x4001_0000, 0xffff_ffff,
];

describe.each(PROFILES)('$name', ({ name, gp, fixed, anyThread, metrics, v6 }) => {
  const cpu = new SystemProcessor(profileNamed(name), (core) => new Interpreter(core));
  const rdpmc = (ecx: number, { cpl, pce }: { cpl: 0 | 3; pce: boolean }) => {
    cpu.restart().load(reading(ecx, cpl));
    if (pce) cpu.processor.state.set(STATE.CR4, cpu.processor.state.get(STATE.CR4) | CR4.PCE);
    for (const i of gp) cpu.write(0xc1 + i, BigInt(0x100 + i));
    for (const i of fixed) cpu.write(0x309 + i, BigInt(0x200 + i));
    cpu.runToHalt(1000);
    const eax = cpu.processor.state.gpr[0]! & 0xffff_ffffn;
    return eax === UNTOUCHED ? '#GP' : Number(eax);
  };
  const there = FORMS.map((ecx) => {
    const index = ecx & 0xffff;
    const type = ecx >>> 16;
    if (type === 0 && (gp as readonly number[]).includes(index)) return 0x100 + index;
    if (type === 0x4000 && (fixed as readonly number[]).includes(index)) return 0x200 + index;
    return ecx === 0x2000_0000 && metrics ? 0 : '#GP';
  });

  it('RDPMC reads the counters that exist and PERF_METRICS, and knows no other form', () => {
    expect(FORMS.map((ecx) => rdpmc(ecx, { cpl: 0, pce: false }))).toEqual(there);
  });

  it('RDPMC at CPL 3 does the same where CR4.PCE lets it, and is #GP where not', () => {
    expect(FORMS.map((ecx) => rdpmc(ecx, { cpl: 3, pce: true }))).toEqual(there);
    expect(FORMS.map((ecx) => rdpmc(ecx, { cpl: 3, pce: false }))).toEqual(FORMS.map(() => '#GP'));
  });

  it(`has ${anyThread ? '' : 'no '}AnyThread bits, which count nothing else on one thread`, () => {
    const { pmu, bus } = bench();
    expect(bus.wrmsr(0x186, 0x63_00c0n)).toBe(anyThread ? 'done' : '#GP');
    expect(bus.wrmsr(0x38d, 7n)).toBe(anyThread ? 'done' : '#GP');
    expect(pmu.unsupportedEvents()).toEqual([]);
    if (anyThread) expect(counted(0x20_00c0n)).toBe(10n);
  });

  // In 25 cycles ten instructions retire, one in a cycle at most.
  // biome-ignore format: a table
  it.each([
    ['counts all without CMASK',       0x0000_00c0n, 10n],
    ['ignores INV without CMASK',      0x0080_00c0n, 10n],
    ['finds ten cycles with one',      0x0100_00c0n, 10n],
    ['finds none with two',            0x0200_00c0n, 0n],
    ['finds fifteen with less than 1', 0x0180_00c0n, 15n],
    ['finds all below two',            0x0280_00c0n, 25n],
    ['finds all below the greatest',   0xff80_00c0n, 25n],
    ['counts edges',                   0x0004_00c0n, 10n],
    ['counts edges over one',          0x0104_00c0n, 10n],
    ['counts no edges over two',       0x0204_00c0n, 0n],
    ['counts edges under one',         0x0184_00c0n, 10n],
    ['has cycles in every cycle',      0x0100_003cn, 25n],
    ['has no two cycles in one',       0x0200_003cn, 0n],
  ] as const)('%s', (_what, select, count) => {
    expect(counted(select)).toBe(count);
  });

  it(`has ${v6 ? '' : 'no '}EQ, RDPMC user disable and UMASK2`, () => {
    const { bus } = bench();
    const outcomes = [36n, 37n, 40n, 47n].map((at) => bus.wrmsr(0x186, 0x43_00c0n | (1n << at)));
    expect(outcomes).toEqual(Array(4).fill(v6 ? 'done' : '#GP'));
    if (v6) expect(counted((1n << 36n) | 0x0200_00c0n)).toBe(0n);
  });

  const bench = () => new PmuBench(profileNamed(name).pmu);
  function counted(select: bigint): bigint {
    const device = bench();
    device.write(0x186, 0x43_0000n | select);
    device.write(0x38f, 1n);
    device.happen({ instructions: 10, cycles: 25, slots: 25, unhaltedTicks: 25 });
    return device.read(0xc1);
  }
});
