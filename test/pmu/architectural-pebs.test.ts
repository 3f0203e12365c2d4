import { describe, expect, it } from 'vitest';
import { Interpreter } from '../../src/cpu/engines/wasm/interpreter.ts';
import { profileNamed } from '../../src/machine/profiles.ts';
import { perfmonExtendedLeaf } from '../../src/msr/pmu-leaves.ts';
import { ARCHITECTURAL_PROFILES, type PmuProfile } from '../../src/pmu/profiles.ts';
import { PmuBench, SOMEWHERE } from './bench.ts';
import { bytes, CODE, CountingProcessor, DATA } from './counting-processor.ts';

const V6 = ARCHITECTURAL_PROFILES[5]!;
const WITH_LBRS: PmuProfile = {
  ...V6,
  shape: { ...V6.shape, lbr: { kind: 'architectural', depths: 0b1111 } },
};
const [BASE, INDEX] = [0x3f4, 0x3f5];
const CFG_C = (i: number) => 0x1903 + 4 * i;
const [STATUS, RESET, INUSE] = [0x38e, 0x390, 0x392];
const BUFFER = 0x10_0000n;
const EN = 1n << 63n;
const [AUX, GPR, XMM] = [1n << 62n, 1n << 61n, 1n << 49n];
const MINUS_3 = 0xffff_ffff_fffdn;
const RELOAD_3 = 0xffff_fffdn;
const ARCH_PEBS = 1n << 54n;

/** The index register: write offset and threshold in units of 16 bytes. */
const indexOf = (write: bigint, threshold: bigint) =>
  (write << 4n) | (1n << 32n) | (threshold << 36n);

/** Counter 1, which has no precise distribution, three instructions before its overflow. */
function armed(groups = 0n, { profile = V6, counter = 1, size = 0n, threshold = 256n } = {}) {
  const bench = new PmuBench(profile);
  bench.state = SOMEWHERE;
  bench.write(BASE, BUFFER | size);
  bench.write(INDEX, indexOf(0n, threshold));
  bench.write(CFG_C(counter), EN | groups | RELOAD_3);
  bench.write(0x4c1 + counter, MINUS_3);
  bench.write(0x186 + counter, 0x0053_00c0n);
  return bench;
}
const written = (bench: PmuBench) => (bench.read(INDEX) >> 4n) & 0x7f_ffffn;
const record = (bench: PmuBench, count: number) =>
  Array.from({ length: count }, (_, i) => bench.quadword(BUFFER + BigInt(8 * i), bench.physical));

describe('architectural PEBS', () => {
  it('records the event after the overflow in physical memory and reloads the counter', () => {
    const bench = armed();
    expect(bench.sampling).toBe(true);
    bench.retire(3);
    expect(written(bench)).toBe(0n);
    bench.retire(1);
    expect([written(bench), bench.read(0x4c2)]).toEqual([4n, MINUS_3]);
    expect([bench.interrupts, bench.read(STATUS)]).toEqual([0, 0n]);
    expect(bench.memory.size).toBe(0);
    bench.retire(4);
    expect(written(bench)).toBe(8n);
  });

  it('has a header of groups, mode and size, and always the basic group', () => {
    const bench = armed();
    bench.retire(4);
    // biome-ignore format: a table
    expect(record(bench, 8)).toEqual([
      EN | (1n << 30n) | 64n, 0n,        // basic, 64-bit code, 64 bytes
      0x4002n, 2n, 77n, 0n, 0n, 0n,      // eventing IP, counters, TSC
    ]);
  });

  it('records the overflowing event itself on a counter with precise distribution', () => {
    const bench = armed(0n, { counter: 0 });
    bench.retire(2);
    expect(written(bench)).toBe(0n);
    bench.retire(1);
    expect([written(bench), bench.read(0x4c1)]).toEqual([4n, MINUS_3]);
  });

  it('appends address, registers and XMM in that order', () => {
    const bench = armed(AUX | GPR | XMM);
    bench.retire(4);
    const size = 64n + 64n + 160n + 272n;
    expect(written(bench)).toBe(size / 16n);
    const all = record(bench, Number(size / 8n));
    expect(all[0]).toBe(EN | AUX | GPR | XMM | (1n << 30n) | size);
    expect(all.slice(8, 16)).toEqual([0x5000n, 0n, 0n, 0n, 0n, 0n, 0n, 0n]);
    expect(all.slice(16, 20)).toEqual([0x246n, 0x4005n, 0x100n, 0x101n]);
    expect(all.slice(33, 36)).toEqual([0x10fn, 0n, 0n]); // R15, SSP, reserved
    expect(all.slice(36, 42)).toEqual([2n, 0n, 0xabcn, 0n, 0xabcn, 1n]);
  });

  it.each([
    [1n, 8],
    [2n, 16],
    [3n, 32],
  ])('with LBR = %i has %i entries behind CTL and DEPTH', (lbr, entries) => {
    const bench = armed(lbr << 40n, { profile: WITH_LBRS });
    bench.write(0x14ce, 0x7f_0007n);
    bench.pmu.branch({ kind: 2, from: 0x10n, to: 0x20n, cplFrom: 0, cplTo: 0 });
    bench.retire(4);
    expect(written(bench)).toBe(BigInt((64 + 48 + 24 * entries) / 16));
    const group = record(bench, 18).slice(8);
    expect(group).toEqual([0n, 0x7f_0007n, 32n, 0n, 0n, 0n, 0x10n, 0x20n, 2n << 56n, 0n]);
  });

  it('sets status bit 54 and interrupts once the write offset has reached the threshold', () => {
    const bench = armed(0n, { threshold: 8n });
    bench.retire(4);
    expect([bench.interrupts, bench.read(STATUS)]).toEqual([0, 0n]);
    bench.retire(4);
    expect([bench.interrupts, bench.read(STATUS)]).toEqual([1, ARCH_PEBS]);
    bench.write(RESET, ARCH_PEBS);
    expect(bench.read(STATUS)).toBe(0n);
  });

  it('is full when a record does not fit, says so, and writes no more', () => {
    const bench = armed(0n, { threshold: 0x7f_ffffn });
    bench.write(INDEX, indexOf(252n, 0x7f_ffffn));
    bench.retire(4);
    expect([written(bench), bench.interrupts]).toEqual([256n, 0]);
    bench.retire(4);
    expect(bench.read(INDEX) & (1n << 31n)).toBe(1n << 31n);
    expect([written(bench), bench.interrupts, bench.read(STATUS)]).toEqual([256n, 1, ARCH_PEBS]);
    bench.retire(8);
    expect([written(bench), bench.interrupts]).toEqual([256n, 1]);
  });

  it('has a buffer of 4 KiB shifted left by SIZE', () => {
    const bench = armed(0n, { size: 4n, threshold: 0x7f_ffffn });
    bench.write(INDEX, indexOf(4092n, 0x7f_ffffn));
    bench.retire(4);
    expect(written(bench)).toBe(4096n);
    bench.retire(4);
    expect(written(bench)).toBe(4096n);
  });

  it('writes nothing while IA32_PEBS_INDEX.EN is clear', () => {
    const bench = armed();
    bench.write(INDEX, 0n);
    bench.retire(8);
    expect([bench.physical.size, bench.read(INDEX)]).toEqual([0, 0n]);
  });

  it('shows in GLOBAL_INUSE, and stops when EN of the counter is cleared', () => {
    const bench = armed();
    bench.write(0x187, 0x0043_00c0n);
    expect(bench.read(INUSE)).toBe((1n << 63n) | 2n);
    bench.write(CFG_C(1), RELOAD_3);
    expect([bench.read(INUSE), bench.sampling]).toEqual([2n, false]);
    bench.retire(4);
    expect([bench.physical.size, bench.read(STATUS)]).toEqual([0, 2n]);
  });

  it('is announced by CPUID.23H: groups in sub-leaf 4, counters in sub-leaf 5', () => {
    expect(perfmonExtendedLeaf(V6.shape, 0).eax).toBe(0b11_1111);
    expect(perfmonExtendedLeaf(V6.shape, 4).ebx >>> 0).toBe(0x6002_0000);
    expect(perfmonExtendedLeaf(WITH_LBRS.shape, 4).ebx >>> 0).toBe(0x6002_0300);
    expect(perfmonExtendedLeaf(V6.shape, 5)).toEqual({ eax: 0xb7, ebx: 1, ecx: 0x77, edx: 1 });
    const without = { ...V6.shape, architecturalPebs: undefined } as never;
    expect(perfmonExtendedLeaf(without, 0).eax).toBe(0b00_1111);
    expect(perfmonExtendedLeaf(without, 5)).toEqual({ eax: 0, ebx: 0, ecx: 0, edx: 0 });
  });

  it('on a processor writes where the base says, whatever the page tables map there', () => {
    const cpu = new CountingProcessor(profileNamed('perfmon-v6'), (core) => new Interpreter(core));
    const { memory } = cpu.hardware;
    // INC EAX four times, a load the third
    cpu.load(bytes('ff c0  ff c0  48 8b 0e  ff c0  ff c0  f4'));
    cpu.write(BASE, 0x60_0000n).write(INDEX, indexOf(0n, 256n));
    // 600000H is mapped to 400000H by the third 2-MiB entry.
    memory.write(0x1000 + 0x2000 + 8 * 3, 8, 0x40_0087n);
    cpu
      .write(0x1903, EN | AUX | GPR)
      .write(0x4c1, MINUS_3)
      .write(0x186, 0x43_00c0n)
      .runToHalt();
    const at = (offset: number) => memory.read(0x60_0000 + offset, 8);
    expect(at(16)).toBe(BigInt(CODE + 4)); // eventing IP: the load
    expect(at(64)).toBe(BigInt(DATA)); // what it read
    expect([at(136), at(144)]).toEqual([BigInt(CODE + 7), 2n]); // RIP after it, RAX
    expect(memory.read(0x40_0000, 8)).toBe(0n);
  });
});
