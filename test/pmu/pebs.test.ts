import { describe, expect, it } from 'vitest';
import { Interpreter } from '../../src/cpu/engines/wasm/interpreter.ts';
import { profileNamed } from '../../src/machine/profiles.ts';
import { SAPPHIRE_RAPIDS_WHOLE, SKYLAKE_SERVER_WHOLE } from '../../src/pmu/profiles.ts';
import { PmuBench, SOMEWHERE } from './bench.ts';
import { bytes, CODE, CountingProcessor, DATA } from './counting-processor.ts';

const PEBS_ENABLE = 0x3f1;
const PEBS_DATA_CFG = 0x3f2;
const DS_AREA = 0x600;
const STATUS = 0x38e;
const BUFFER = 0x9000n;
const AREA = 0x8000n;
const MINUS_3 = 0xffff_ffff_fffdn;

/** A DS area: room for `room` bytes of records, an interrupt from `threshold` bytes on, −3 as every reset value. */
const area = (room: bigint, threshold: bigint): bigint[] => [
  ...[0n, 0n, 0n, 0n],
  ...[BUFFER, BUFFER, BUFFER + room, BUFFER + threshold],
  ...Array.from({ length: 12 }, () => MINUS_3),
];

function armed(
  profile: typeof SAPPHIRE_RAPIDS_WHOLE,
  counter = 1,
  room = 4096n,
  threshold = 4096n,
) {
  const bench = new PmuBench(profile);
  bench.state = SOMEWHERE;
  bench.store(AREA, ...area(room, threshold));
  bench.write(DS_AREA, AREA);
  bench.write(PEBS_ENABLE, 1n << BigInt(counter));
  bench.write(0x4c1 + counter, MINUS_3);
  bench.write(0x186 + counter, 0x0053_00c0n);
  return bench;
}
const index = (bench: PmuBench) => bench.quadword(AREA + 0x28n) - BUFFER;

describe('PEBS', () => {
  it('records the event after the overflow, reloads the counter and asks for no interrupt', () => {
    const bench = armed(SKYLAKE_SERVER_WHOLE);
    expect(bench.sampling).toBe(true);
    bench.retire(3);
    expect([index(bench), bench.read(0xc2)]).toEqual([0n, 0n]);
    expect(bench.pmu.horizon()).toBe(1);
    bench.retire(1);
    expect([index(bench), bench.read(0xc2)]).toEqual([200n, MINUS_3]);
    expect([bench.interrupts, bench.read(STATUS)]).toEqual([0, 0n]);
    bench.retire(4);
    expect(index(bench)).toBe(400n);
  });

  it('records the overflowing event itself on a counter with precise distribution', () => {
    const bench = armed(SAPPHIRE_RAPIDS_WHOLE, 0);
    bench.retire(2);
    expect(index(bench)).toBe(0n);
    bench.retire(1);
    expect([index(bench), bench.read(0xc1)]).toEqual([32n, MINUS_3]);
  });

  it('in format 3 writes flags, RIP, registers, counter, address, eventing IP and TSC', () => {
    const bench = armed(SKYLAKE_SERVER_WHOLE);
    bench.retire(4);
    const record = Array.from({ length: 25 }, (_, i) => bench.quadword(BUFFER + BigInt(8 * i)));
    // biome-ignore format: a table
    expect(record).toEqual([
      0x246n, 0x4005n,                           // RFLAGS, RIP
      0x100n, 0x103n, 0x101n, 0x102n,            // RAX, RBX, RCX, RDX
      0x106n, 0x107n, 0x105n, 0x104n,            // RSI, RDI, RBP, RSP
      0x108n, 0x109n, 0x10an, 0x10bn, 0x10cn, 0x10dn, 0x10en, 0x10fn,
      2n, 0x5000n, 0n, 0n, 0x4002n, 0n, 77n,     // counters, data address, source, latency, eventing IP, TSX, TSC
    ]);
  });

  it('in the adaptive format writes the basic group alone unless the counter asks for more', () => {
    const bench = armed(SAPPHIRE_RAPIDS_WHOLE);
    bench.write(PEBS_DATA_CFG, 0xfn);
    bench.retire(4);
    expect(index(bench)).toBe(32n);
    const record = [0n, 8n, 16n, 24n].map((at) => bench.quadword(BUFFER + at));
    expect(record).toEqual([32n << 48n, 0x4002n, 2n, 77n]);
  });

  it('in the adaptive format appends memory, register, XMM and LBR groups in that order', () => {
    const bench = armed(SAPPHIRE_RAPIDS_WHOLE);
    bench.write(0x14ce, 0x7f_0007n);
    bench.pmu.branch({ kind: 2, from: 0x10n, to: 0x20n, cplFrom: 0, cplTo: 0 });
    bench.write(PEBS_DATA_CFG, 0x0100_000fn); // two LBR entries
    bench.write(0x187, 0x4_0053_00c0n);
    bench.retire(4);
    const size = 32n + 32n + 144n + 256n + 48n;
    expect(index(bench)).toBe(size);
    expect(bench.quadword(BUFFER)).toBe((size << 48n) | 0xfn);
    expect(bench.quadword(BUFFER + 32n)).toBe(0x5000n);
    expect(bench.quadword(BUFFER + 64n)).toBe(0x246n);
    expect(bench.quadword(BUFFER + 64n + 16n + 8n)).toBe(0x101n); // RCX follows RAX
    expect(bench.quadword(BUFFER + 208n + 24n)).toBe(1n); // upper half of XMM1
    expect([0n, 8n].map((at) => bench.quadword(BUFFER + 464n + at))).toEqual([0x10n, 0x20n]);
    expect(bench.quadword(BUFFER + 488n)).toBe(0n); // there was one branch only
  });

  it('sets OVF_BUFFER and interrupts when the index reaches the threshold', () => {
    const bench = armed(SKYLAKE_SERVER_WHOLE, 1, 4096n, 400n);
    bench.retire(4);
    expect(bench.interrupts).toBe(0);
    bench.retire(4);
    expect([bench.interrupts, bench.read(STATUS)]).toEqual([1, 1n << 62n]);
  });

  it('drops records that do not fit', () => {
    const bench = armed(SKYLAKE_SERVER_WHOLE, 1, 300n, 4096n);
    bench.retire(12);
    expect(index(bench)).toBe(200n);
  });

  it('shows in GLOBAL_INUSE that a counter asks for interrupts', () => {
    const bench = armed(SKYLAKE_SERVER_WHOLE);
    bench.write(0x187, 0x0043_00c0n);
    expect(bench.read(0x392)).toBe((1n << 63n) | 2n);
  });

  it('on a processor shows the registers after the very instruction', () => {
    const profile = { ...profileNamed('sapphire-rapids'), pmu: SAPPHIRE_RAPIDS_WHOLE };
    const cpu = new CountingProcessor(profile, (core) => new Interpreter(core));
    const { memory } = cpu.hardware;
    area(4096n, 4096n).forEach((value, i) => {
      memory.write(DATA + 8 * i, 8, i >= 4 && i < 8 ? value - BUFFER + 0x9_0000n : value);
    });
    // INC EAX five times, two bytes each, the third one a load in between
    cpu.load(bytes('ff c0  ff c0  48 8b 0e  ff c0  ff c0  f4'));
    cpu.write(DS_AREA, BigInt(DATA)).write(PEBS_DATA_CFG, 3n).write(PEBS_ENABLE, 1n);
    cpu.write(0x4c1, MINUS_3).write(0x186, 0x4_0043_00c0n).runToHalt();
    const at = (offset: number) => memory.read(0x9_0000 + offset, 8);
    expect(at(8)).toBe(BigInt(CODE + 4)); // eventing IP: the load
    expect(at(32)).toBe(BigInt(DATA)); // what it read
    expect(at(72)).toBe(BigInt(CODE + 7)); // RIP after it
    expect(at(80)).toBe(2n); // RAX
  });
});
