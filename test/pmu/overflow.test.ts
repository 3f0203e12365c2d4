import { describe, expect, it } from 'vitest';
import { Oracle } from '../../src/cpu/engines/oracle/oracle.ts';
import { Interpreter } from '../../src/cpu/engines/wasm/interpreter.ts';
import { profileNamed, withTiming } from '../../src/machine/profiles.ts';
import { SAPPHIRE_RAPIDS_EVENTS } from '../../src/pmu/events.ts';
import { bytes, CountingProcessor } from './counting-processor.ts';

const INST = 0x00c0;
const INT = 0x10_0000;
const FREEZE_PERFMON_ON_PMI = 1n << 12n;
const [PMC0, PERFEVTSEL0, STATUS, DEBUGCTL] = [0xc1, 0x186, 0x38e, 0x1d9] as const;
const A_PMC0 = 0x4c1;
const FULL = 1n << 48n;

/** Three times round a bit of everything: RSI is data at a line's start, RDI a page further. */
const BODY = bytes(`
  90                                     ; NOP
  48 8b 06                               ; MOV RAX, [RSI]
  48 89 46 3d  48 8b 46 3d               ; over the end of a line
  f0 48 ff 06                            ; LOCK INC [RSI]
  0f 18 0e  0f 18 06  0f 18 16  0f 0d 0e ; PREFETCHT0, NTA, T1, W
  f3 90  0f ae e8                        ; PAUSE, LFENCE
  e8 02 00 00 00  eb 01  c3              ; CALL and RET
  48 8d 05 04 00 00 00  ff d0  eb 01  c3 ; CALL RAX and RET
  31 c0  74 01 90  75 01 90              ; JZ taken, JNZ not taken
  f2 0f 58 c1  f3 0f 58 c1               ; ADDSD, ADDSS
  66 0f 58 c1  0f 58 c1                  ; ADDPD, ADDPS
  db e3  d9 e8  dd d8                    ; FNINIT, FLD1, FSTP
  0f ae 3e  48 8b 06                     ; CLFLUSH, and the load that misses
  0f 20 d8  0f 22 d8  48 8b 87 00 10 00 00 ; MOV CR3, and loads and stores that are walked for
  48 89 87 00 20 00 00
  51  57  b9 05 00 00 00  f3 aa  5f  59  ; REP STOSB of five
`);
const word = (n: number) => [0, 8, 16, 24].map((shift) => (n >> shift) & 0xff);
const PROGRAM = [
  ...[0xb9, ...word(3)],
  ...BODY,
  ...[0xff, 0xc9, 0x0f, 0x85, ...word(-(BODY.length + 8))],
  0xf4,
];

/** What cannot happen in this program: no interrupts, no far transfers, no CPL 3, no LBRs, no AVX. */
const ABSENT = [
  'BR_INST_RETIRED.FAR_BRANCH',
  'CPL_CYCLES.RING0_TRANS',
  'CPL_CYCLES.RING123',
  'FP_ARITH_INST_RETIRED.256B_PACKED_DOUBLE',
  'FP_ARITH_INST_RETIRED.256B_PACKED_SINGLE',
  'FP_ARITH_INST_RETIRED.512B_PACKED_DOUBLE',
  'FP_ARITH_INST_RETIRED.512B_PACKED_SINGLE',
  'FP_ARITH_INST_RETIRED.8_FLOPS',
  'HW_INTERRUPTS.RECEIVED',
  'LBR_INSERTS.ANY',
  'MISC_RETIRED.LBR_INSERTS',
];

const PROFILE = withTiming(profileNamed('sapphire-rapids'));
const encodingOf = ({ event, umask, select = 0n }: (typeof SAPPHIRE_RAPIDS_EVENTS)[number]) =>
  Number(select) | (umask << 8) | event;

const CR4 = 0xe0;
const OSFXSR_OSXMMEXCPT = 0x600n;
const PROCESSORS = {
  oracle: new CountingProcessor(PROFILE, (core) => new Oracle(core)),
  interpreter: new CountingProcessor(PROFILE, (core) => new Interpreter(core)),
};

/** The processor at the start of the program, with the model's caches cold and no event counted. */
function fresh(engine: keyof typeof PROCESSORS): CountingProcessor {
  const cpu = PROCESSORS[engine].restart().load(PROGRAM);
  const { state, instruments } = cpu.processor;
  state.set(CR4, state.get(CR4) | OSFXSR_OSXMMEXCPT);
  instruments.restore({ ...instruments.save(), model: undefined });
  state.totals.fill(0n); // the crystal's phase is that of the ticks
  return cpu;
}

/** Counts of these events after each tick of the program, one tick at a time. */
function traced(...encodings: number[]): number[][] {
  const cpu = fresh('oracle').count(...encodings);
  const counts: number[][] = [];
  for (;;) {
    const stop = cpu.processor.cpu.run(1);
    counts.push(cpu.counts(encodings.length));
    if (stop.reason === 'halted') return counts;
    if (stop.reason !== 'budget') throw new Error(`stopped: ${stop.reason}`);
  }
}

/** The first tick at which an event has happened `n` times, and the counts there. */
const reached = (trace: readonly number[][], n: number) => trace.find(([count]) => count! >= n);

describe('every event of the table', () => {
  const total = new Map(
    SAPPHIRE_RAPIDS_EVENTS.map((row) => [row, traced(encodingOf(row)).at(-1)![0]!] as const),
  );

  it('happens in the program but for those that cannot', () => {
    const absent = [...total].filter(([, count]) => count === 0).map(([{ name }]) => name);
    expect(absent.sort()).toEqual(ABSENT);
  });

  const happening = [...total].filter(([, count]) => count > 0);
  describe.each(happening.map(([row, count]) => ({ name: row.name, row, count })))(
    '$name',
    ({ row, count }) => {
      const encoding = encodingOf(row);
      const trace = traced(encoding, INST);
      const presets = [...new Set([1, Math.ceil(count / 2), count])];

      it.each(presets)('preset to −%i overflows at the instruction of that occurrence', (n) => {
        const [seen, instructions] = reached(trace, n)!;
        for (const engine of ['oracle', 'interpreter'] as const) {
          const cpu = fresh(engine).write(DEBUGCTL, FREEZE_PERFMON_ON_PMI);
          cpu
            .write(A_PMC0, FULL - BigInt(n))
            .count(encoding | INT, INST)
            .runToHalt();
          // What an instruction has beyond the overflowing occurrence is counted with it.
          expect([engine, ...cpu.counts(2)]).toEqual([engine, seen! - n, instructions]);
          expect(cpu.read(STATUS)).toBe((1n << 59n) | 1n);
        }
      });
    },
  );
});

describe('several counters at once', () => {
  const EVENTS = [INST, 0x00c4, 0x81d0, 0x82d0, 0x003c, 0x0151] as const;
  const trace = traced(...EVENTS);

  it.each([
    ['instructions first', [10, 50, 50, 50, 5000, 50]],
    ['a branch first', [100, 3, 50, 50, 5000, 50]],
    ['cycles first', [200, 50, 50, 50, 300, 50]],
    ['a miss first', [200, 50, 50, 50, 5000, 2]],
    ['loads and stores, whichever comes first', [200, 50, 4, 4, 5000, 50]],
  ] as const)('%s: the first to overflow freezes them all', (_name, presets) => {
    const at = trace.find((counts) => counts.some((count, i) => count >= presets[i]!))!;
    const status = presets.reduce(
      (bits, n, i) => (at[i]! >= n ? bits | (1n << BigInt(i)) : bits),
      0n,
    );
    for (const engine of ['oracle', 'interpreter'] as const) {
      const cpu = fresh(engine).write(DEBUGCTL, FREEZE_PERFMON_ON_PMI);
      presets.forEach((n, i) => void cpu.write(A_PMC0 + i, FULL - BigInt(n)));
      cpu.count(...EVENTS.map((event) => event | INT)).runToHalt();
      const counted = presets.map((n, i) => Number((cpu.read(PMC0 + i) + BigInt(n)) % FULL));
      expect([engine, counted, cpu.read(STATUS)]).toEqual([engine, at, (1n << 59n) | status]);
    }
  });

  it.each([
    0n,
    1n,
    0x7fff_ffffn,
    0x8000_0000n,
    0xffff_ffffn,
    0x1_0000_0000n,
    (1n << 47n) - 1n,
    1n << 47n,
    FULL - 1000n,
    FULL - 2n,
    FULL - 1n,
  ])('a counter preset to %d wraps at 2^48 and nowhere else', (preset) => {
    const instructions = BigInt(trace.at(-1)![0]!);
    const cpu = fresh('interpreter').write(A_PMC0, preset).count(INST).runToHalt();
    expect(cpu.read(A_PMC0)).toBe((preset + instructions) % FULL);
    expect(cpu.read(STATUS)).toBe(preset + instructions >= FULL ? 1n : 0n);
    expect(cpu.read(PERFEVTSEL0)).toBe(0x43_00c0n);
  });
});
