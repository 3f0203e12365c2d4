import { describe, expect, it } from 'vitest';
import { Interpreter } from '../../src/cpu/engines/wasm/interpreter.ts';
import { profileNamed } from '../../src/machine/profiles.ts';
import { perfmonExtendedLeaf } from '../../src/msr/pmu-leaves.ts';
import { ARCHITECTURAL_PROFILES } from '../../src/pmu/profiles.ts';
import { PmuBench } from './bench.ts';
import { bytes, CountingProcessor } from './counting-processor.ts';

const V6 = ARCHITECTURAL_PROFILES[5]!;
const CFG_B = (i: number) => 0x1902 + 4 * i;
const CFG_C = (i: number) => 0x1903 + 4 * i;
const FX_CFG_B = (i: number) => 0x1982 + 4 * i;
const [RELOAD, FIXED_RELOAD] = [0x14c1, 0x1309];
const minus = (n: bigint, width = 48n) => (1n << width) - n;

/** Counter 0 counts instructions from −10 on, counter 1 branches from −100 on; PMIs are asked for by counter 0. */
function counting() {
  const bench = new PmuBench(V6);
  bench.write(0x4c1, minus(10n));
  bench.write(0x4c2, minus(100n));
  bench.write(0x186, 0x0053_00c0n);
  bench.write(0x187, 0x0043_00c4n);
  return bench;
}

describe('auto counter reload', () => {
  it('reloads a counter that names itself, status bit and interrupt as ever', () => {
    const bench = counting();
    bench.write(CFG_B(0), 1n);
    bench.write(CFG_C(0), minus(10n, 32n));
    bench.retire(25);
    expect(bench.read(0x4c1)).toBe(minus(5n));
    expect([bench.interrupts, bench.read(0x38e)]).toEqual([2, 1n]);
  });

  it('reloads counter 1 at every overflow of counter 0 that CFG_B names: branches within ten instructions', () => {
    const bench = counting();
    bench.write(CFG_B(0), 1n);
    bench.write(CFG_C(0), minus(10n, 32n));
    bench.write(CFG_B(1), 1n);
    bench.write(CFG_C(1), minus(100n, 32n));
    bench.happen({ branches: 7 });
    bench.retire(10);
    expect(bench.read(0x4c2)).toBe(minus(100n));
    bench.happen({ branches: 3 });
    bench.retire(5);
    expect([bench.read(0x4c1), bench.read(0x4c2)]).toEqual([minus(5n), minus(97n)]);
  });

  it('does not reload what names nobody who overflows', () => {
    const bench = counting();
    bench.write(CFG_B(1), 0b1_0110n);
    bench.write(CFG_C(1), minus(100n, 32n));
    bench.happen({ branches: 7 });
    bench.retire(15);
    expect([bench.read(0x4c1), bench.read(0x4c2)]).toEqual([5n, minus(93n)]);
  });

  it('reloads fixed counters, and by them', () => {
    const bench = counting();
    bench.write(0x38f, 0x1_0000_00b7n);
    bench.write(0x309, minus(4n));
    bench.write(0x38d, 3n);
    bench.write(FX_CFG_B(0), 1n << 32n);
    bench.write(FIXED_RELOAD, minus(4n, 32n));
    bench.write(CFG_B(0), 1n << 32n);
    bench.write(RELOAD, minus(20n, 32n));
    bench.retire(9);
    expect([bench.read(0x309), bench.read(0x4c1)]).toEqual([minus(3n), minus(19n)]);
    expect(bench.read(0x38e)).toBe(1n << 32n);
  });

  it.each([
    [0n, 0n],
    [0x7fff_ffffn, 0x7fff_ffffn],
    [0x8000_0000n, 0xffff_8000_0000n],
    [0xffff_ffffn, 0xffff_ffff_ffffn],
  ])('extends the sign of reload value %i', (value, counter) => {
    const bench = counting();
    bench.write(CFG_B(0), 1n);
    bench.write(CFG_C(0), value);
    bench.retire(10);
    expect(bench.read(0x4c1)).toBe(counter);
  });

  it('has its reload values under two names', () => {
    const bench = counting();
    bench.write(CFG_C(4), (3n << 61n) | 77n);
    expect(bench.read(RELOAD + 4)).toBe(77n);
    bench.write(RELOAD + 4, 88n);
    expect(bench.read(CFG_C(4))).toBe((3n << 61n) | 88n);
  });

  it('is announced by sub-leaf 2 of CPUID.23H: who can be reloaded, and by whom', () => {
    const leaf = { eax: 0b11_0111, ebx: 0b111, ecx: 0b1011_0111, edx: 0b111 };
    expect(perfmonExtendedLeaf(V6.shape, 2)).toEqual(leaf);
  });

  it('happens at the very instruction on a processor, on what is still to come', () => {
    const cpu = new CountingProcessor(profileNamed('perfmon-v6'), (core) => new Interpreter(core));
    // MOV ECX, 100; LOOP itself: 100 branches, then HLT.
    cpu.load(bytes('b9 64 00 00 00  e2 fe  f4'));
    cpu.write(CFG_B(0), 1n).write(CFG_C(0), minus(7n, 32n)).write(0x4c1, minus(7n));
    cpu.count(0x00c4, 0x00c0).runToHalt();
    // 14 overflows of seven branches each, and two more branches.
    expect([cpu.read(0x4c1), cpu.read(0x4c2)]).toEqual([minus(5n), 102n]);
  });

  it('survives a snapshot', () => {
    const from = counting();
    from.write(CFG_B(0), 1n);
    from.write(CFG_C(0), minus(10n, 32n));
    const to = new PmuBench(V6);
    to.pmu.restore(from.pmu.save());
    to.retire(25);
    expect(to.read(0x4c1)).toBe(minus(5n));
  });
});
