import { beforeEach, describe, expect, it } from 'vitest';
import { Interpreter } from '../../src/cpu/engines/wasm/interpreter.ts';
import { profileNamed, withTiming } from '../../src/machine/profiles.ts';
import type { TakenBranch } from '../../src/pmu/lbr.ts';
import { SAPPHIRE_RAPIDS_WHOLE, SKYLAKE_SERVER_WHOLE } from '../../src/pmu/profiles.ts';
import { PmuBench } from './bench.ts';
import { bytes, CODE, CountingProcessor } from './counting-processor.ts';

const DEBUGCTL = 0x1d9;
const GLOBAL_STATUS = 0x38e;
const STATUS_RESET = 0x390;
const LBR_CTL = 0x14ce;
const LBR_DEPTH = 0x14cf;
const [INFO0, FROM0, TO0] = [0x1200, 0x1500, 0x1600];
const LBR_SELECT = 0x1c8;
const TOS = 0x1c9;
const [LEGACY_FROM, LEGACY_TO, LEGACY_INFO] = [0x680, 0x6c0, 0xdc0];

const [COND, IND_JMP, REL_JMP, IND_CALL, REL_CALL, RET, OTHER] = [0, 1, 2, 3, 4, 5, 8] as const;
const ALL = 0x7f_0007n; // LBREN, OS, USR and every kind

const branch = (from: number, told: Partial<TakenBranch> = {}): TakenBranch => ({
  kind: REL_JMP,
  from: BigInt(from),
  to: BigInt(from) + 0x100n,
  cplFrom: 0,
  cplTo: 0,
  ...told,
});

let bench: PmuBench;
const froms = (count: number) =>
  Array.from({ length: count }, (_, i) => Number(bench.read(FROM0 + i)));

describe('architectural LBRs', () => {
  beforeEach(() => {
    bench = new PmuBench(SAPPHIRE_RAPIDS_WHOLE);
  });

  it('ask for branches while LBREN is set, and record none otherwise', () => {
    bench.pmu.branch(branch(1));
    expect(bench.tracing).toBe(false);
    bench.write(LBR_CTL, ALL);
    expect(bench.tracing).toBe(true);
    bench.pmu.branch(branch(2));
    expect(froms(2)).toEqual([2, 0]);
    bench.write(LBR_CTL, 0n);
    expect(bench.tracing).toBe(false);
  });

  it('have the newest record in entry 0 and the others behind it', () => {
    bench.write(LBR_CTL, ALL);
    for (let i = 1; i <= 40; i++) bench.pmu.branch(branch(i));
    expect(froms(32)).toEqual(Array.from({ length: 32 }, (_, i) => 40 - i));
    expect(bench.read(TO0)).toBe(0x100n + 40n);
  });

  it('forget everything when the depth is written, and take only depths that CPUID lists', () => {
    bench.write(LBR_CTL, ALL);
    bench.pmu.branch(branch(1));
    bench.write(LBR_DEPTH, 8n);
    expect(froms(1)).toEqual([0]);
    for (let i = 1; i <= 10; i++) bench.pmu.branch(branch(i));
    expect(froms(10)).toEqual([10, 9, 8, 7, 6, 5, 4, 3, 0, 0]);
    expect([7n, 12n, 40n, 64n].map((depth) => bench.bus.wrmsr(LBR_DEPTH, depth))).toEqual([
      ...['#GP', '#GP'],
      ...['#GP', '#GP'],
    ]);
  });

  it.each([
    [16, COND],
    [17, REL_JMP],
    [18, IND_JMP],
    [19, REL_CALL],
    [20, IND_CALL],
    [21, RET],
    [22, OTHER],
  ])('with bit %i alone record branches of kind %i alone', (bit, kind) => {
    bench.write(LBR_CTL, 7n | (1n << BigInt(bit)));
    for (const each of [COND, IND_JMP, REL_JMP, IND_CALL, REL_CALL, RET, OTHER]) {
      bench.pmu.branch(branch(each + 1, { kind: each }));
    }
    expect(froms(2)).toEqual([kind + 1, 0]);
  });

  it('record what ends at an enabled privilege level, and hide where it came from if that is not', () => {
    bench.write(LBR_CTL, ALL & ~4n); // OS only
    bench.pmu.branch(branch(1, { cplFrom: 3, cplTo: 3 }));
    bench.pmu.branch(branch(2, { kind: OTHER, cplFrom: 3, cplTo: 0 }));
    bench.pmu.branch(branch(3, { kind: OTHER, cplFrom: 0, cplTo: 3 }));
    expect(froms(2)).toEqual([0xffff_ffff, 0]);
    expect(bench.read(TO0)).toBe(0x102n);
  });

  it('tell kind, misprediction and cycles in INFO', () => {
    bench.write(LBR_CTL, ALL);
    bench.pmu.branch(branch(1, { kind: COND, cycles: 1000n }));
    bench.pmu.branch(branch(2, { kind: IND_CALL, cycles: 1010n, mispredicted: true }));
    bench.pmu.branch(branch(3, { kind: RET, cycles: 90_000n }));
    expect(bench.read(INFO0 + 2)).toBe(0n); // the first has nothing to be measured from
    expect(bench.read(INFO0 + 1)).toBe((1n << 63n) | (1n << 60n) | (3n << 56n) | 10n);
    expect(bench.read(INFO0)).toBe((1n << 60n) | (5n << 56n) | 0xffffn);
  });

  it('keep the calls that have not returned, in call-stack mode', () => {
    bench.write(LBR_CTL, ALL | 8n);
    const calls = [
      [1, REL_CALL],
      [2, IND_CALL],
      [3, COND],
      [4, REL_CALL],
      [5, RET],
      [6, RET],
    ] as const;
    for (const [from, kind] of calls) bench.pmu.branch(branch(from, { kind }));
    expect(froms(3)).toEqual([1, 0, 0]);
  });

  it('freeze on a PMI when DEBUGCTL says so, until LBR_FRZ is reset', () => {
    bench.write(LBR_CTL, ALL);
    bench.write(DEBUGCTL, 1n << 11n);
    bench.write(0xc1, 0xffff_ffffn);
    bench.write(0x186, 0x0053_00c0n);
    bench.retire(1);
    expect(bench.read(GLOBAL_STATUS)).toBe((1n << 58n) | 1n);
    bench.pmu.branch(branch(1));
    expect([froms(1), bench.tracing]).toEqual([[0], false]);
    bench.write(STATUS_RESET, 1n << 58n);
    bench.pmu.branch(branch(2));
    expect([froms(1), bench.tracing]).toEqual([[2], true]);
  });

  it('count their inserts as an event', () => {
    bench.write(LBR_CTL, ALL & ~(1n << 16n));
    bench.write(0x186, 0x0043_01e4n);
    for (let i = 0; i < 5; i++) bench.pmu.branch(branch(i));
    bench.pmu.branch(branch(9, { kind: COND }));
    expect(bench.read(0xc1)).toBe(5n);
    expect(bench.armed).toEqual([]);
  });

  it('INIT stops them and keeps what they hold, RESET clears both', () => {
    bench.write(LBR_CTL, ALL);
    bench.pmu.branch(branch(7));
    bench.pmu.reset('init');
    expect([bench.read(LBR_CTL), froms(1)]).toEqual([0n, [7]]);
    bench.write(LBR_DEPTH, 8n);
    bench.pmu.reset('power-up');
    expect([bench.read(LBR_DEPTH), froms(1)]).toEqual([32n, [0]]);
  });

  it('resume from a snapshot', () => {
    bench.write(LBR_CTL, ALL);
    for (let i = 1; i <= 5; i++) bench.pmu.branch(branch(i));
    const saved = structuredClone(bench.pmu.save());
    bench = new PmuBench(SAPPHIRE_RAPIDS_WHOLE);
    bench.pmu.restore(saved);
    bench.pmu.branch(branch(6));
    expect(froms(6)).toEqual([6, 5, 4, 3, 2, 1]);
  });
});

describe('legacy LBRs', () => {
  beforeEach(() => {
    bench = new PmuBench(SKYLAKE_SERVER_WHOLE);
    bench.write(DEBUGCTL, 1n);
  });

  it('are a ring of 32 whose newest record TOS names', () => {
    for (let i = 1; i <= 33; i++) bench.pmu.branch(branch(i));
    expect(bench.read(TOS)).toBe(1n);
    expect(bench.read(LEGACY_FROM + 1)).toBe(33n);
    expect(bench.read(LEGACY_TO + 1)).toBe(0x121n);
    expect(bench.read(LEGACY_FROM)).toBe(32n);
    expect(bench.read(LEGACY_FROM + 2)).toBe(2n);
  });

  it.each([
    [2, COND],
    [3, REL_CALL],
    [4, IND_CALL],
    [5, RET],
    [6, IND_JMP],
    [7, REL_JMP],
    [8, OTHER],
  ])('with bit %i of LBR_SELECT leave branches of kind %i out', (bit, kind) => {
    bench.write(LBR_SELECT, 1n << BigInt(bit));
    bench.pmu.branch(branch(1, { kind }));
    expect(bench.read(TOS)).toBe(0n);
    bench.pmu.branch(branch(2, { kind: kind === COND ? RET : COND }));
    expect(bench.read(TOS)).toBe(1n);
  });

  it('filter by privilege level', () => {
    bench.write(LBR_SELECT, 1n); // nothing that ends in ring 0
    bench.pmu.branch(branch(1));
    bench.pmu.branch(branch(2, { cplFrom: 3, cplTo: 3 }));
    expect([bench.read(TOS), bench.read(LEGACY_FROM + 1)]).toEqual([1n, 2n]);
  });

  it('tell misprediction and cycles in INFO, and no kind', () => {
    bench.pmu.branch(branch(1, { cycles: 5n }));
    bench.pmu.branch(branch(2, { kind: RET, cycles: 12n, mispredicted: true }));
    expect(bench.read(LEGACY_INFO + 2)).toBe((1n << 63n) | 7n);
  });

  it('move TOS back on a return in call-stack mode', () => {
    bench.write(LBR_SELECT, 1n << 9n);
    bench.pmu.branch(branch(1, { kind: REL_CALL }));
    bench.pmu.branch(branch(2, { kind: REL_CALL }));
    bench.pmu.branch(branch(3, { kind: RET }));
    expect(bench.read(TOS)).toBe(1n);
  });
});

describe('on a processor', () => {
  const sapphire = profileNamed('sapphire-rapids');
  const whole = { ...withTiming(sapphire), pmu: SAPPHIRE_RAPIDS_WHOLE };

  it('the records are the branches that the code took', () => {
    const cpu = new CountingProcessor(whole, (core) => new Interpreter(core));
    // 0 CALL +2 (to 7); 5 JMP +1 (to 8); 7 RET; 8 XOR EAX, EAX; A JZ +1 (to D); D JNZ; F HLT
    cpu.load(bytes('e8 02 00 00 00  eb 01  c3  31 c0  74 01 90  75 00  f4'));
    cpu.write(LBR_CTL, ALL).runToHalt();
    const at = (base: number, i: number) => Number(cpu.read(base + i)) - CODE;
    const records = [0, 1, 2, 3].map((i) => [at(FROM0, i), at(TO0, i)]);
    expect(records).toEqual([
      [0xa, 0xd],
      [5, 8],
      [7, 5],
      [0, 7],
    ]);
    expect(cpu.read(FROM0 + 4)).toBe(0n);
    const kinds = [0, 1, 2, 3].map((i) => Number((cpu.read(INFO0 + i) >> 56n) & 0xfn));
    expect(kinds).toEqual([COND, REL_JMP, RET, REL_CALL]);
  });
});
