import { beforeEach, describe, expect, it } from 'vitest';
import { Oracle } from '../../src/cpu/engines/oracle/oracle.ts';
import { Interpreter } from '../../src/cpu/engines/wasm/interpreter.ts';
import { profileNamed, withTiming } from '../../src/machine/profiles.ts';
import { bytes, CountingProcessor, DATA } from './counting-processor.ts';

const INST = 0x00c0;
const CYCLES = 0x003c;
const MISPREDICTED = 0x00c5;
const LOADS = 0x81d0;
const L1D_MISSES = 0x0151;
const L2_MISSES = 0x3f24;
const LLC_REFERENCES = 0x4f2e;
const LLC_MISSES = 0x412e;
const LOAD_WALKS = 0x0e12;
const [SLOTS, BACK_END, BAD_SPECULATION, MEMORY_BOUND] = [0x01a4, 0x02a4, 0x04a4, 0x10a4];
const [FRONT_END, RETIRING] = [0x019c, 0x02c2];

const word = (n: number) => [0, 8, 16, 24].map((shift) => (n >> shift) & 0xff);
/** `MOV ECX, times; body; DEC ECX; JNZ; HLT`. */
const loop = (times: number, body: string): number[] => {
  const inner = bytes(body);
  return [
    0xb9,
    ...word(times),
    ...inner,
    0xff,
    0xc9,
    0x0f,
    0x85,
    ...word(-(inner.length + 8)),
    0xf4,
  ];
};
/** The same with RBX = 4 MiB before it. */
const walk = (times: number, body: string): number[] => [
  ...bytes('48 c7 c3 00 00 40 00'),
  ...loop(times, body),
];

let cpu: CountingProcessor;
beforeEach(() => {
  cpu = new CountingProcessor(
    withTiming(profileNamed('sapphire-rapids')),
    (core) => new Interpreter(core),
  );
});

function run(code: readonly number[], ...encodings: number[]): number[] {
  cpu
    .restart()
    .load(code)
    .count(...encodings)
    .runToHalt();
  return cpu.counts(encodings.length);
}

describe('cycles', () => {
  it('of a loop of simple instructions are one per instruction, within 3 %', () => {
    const [inst, cycles] = run(loop(5000, '90 90 48 01 d8'), INST, CYCLES) as [number, number];
    expect(inst).toBe(25_002);
    expect(cycles / inst).toBeGreaterThanOrEqual(1);
    expect(cycles / inst).toBeLessThan(1.03);
  });

  it('of a loop of divisions are those of the divider', () => {
    const [inst, cycles] = run(loop(1000, '31 d2 f7 f6'), INST, CYCLES) as [number, number];
    // Eleven cycles more for DIV r32.
    expect(cycles - inst).toBeGreaterThanOrEqual(11_000);
    expect(cycles - inst).toBeLessThan(11_500);
  });

  it('do not pass while the CPU is halted', () => {
    const [inst, cycles] = run([0xf4], INST, CYCLES) as [number, number];
    expect(inst).toBe(1);
    const before = cpu.read(0xc2);
    cpu.processor.cpu.run(100_000);
    expect(cpu.read(0xc2)).toBe(before);
    expect(cycles).toBeGreaterThan(0);
  });
});

describe('caches', () => {
  it('miss once per line on a walk over fresh memory, and find it again in the second level', () => {
    const stride64 = walk(4096, '48 8b 03 48 83 c3 40');
    const events = [L1D_MISSES, L2_MISSES, LLC_REFERENCES, LLC_MISSES, LOADS] as const;
    expect(run(stride64, ...events)).toEqual([4096, 4096 + 1, 4096 + 1, 4096 + 1, 4096]);
    // 256 KiB again: too much for the first level, and the one line of code is there by now.
    expect(run(stride64, ...events)).toEqual([4096, 0, 0, 0, 4096]);
  });

  it('miss every eighth time on a walk by quadwords', () => {
    const stride8 = walk(4096, '48 8b 03 48 83 c3 08');
    expect(run(stride8, L1D_MISSES)).toEqual([512]);
  });

  it('hold what fits: a second walk over 32 KiB misses nothing', () => {
    const small = walk(512, '48 8b 03 48 83 c3 40');
    expect(run(small, L1D_MISSES)).toEqual([512]);
    expect(run(small, L1D_MISSES)).toEqual([0]);
  });

  it('lose a line by CLFLUSH: the next load is a reference and a miss', () => {
    const flushed = loop(100, '48 8b 06 0f ae 3e'); // MOV RAX, [RSI]; CLFLUSH [RSI]
    const [references, misses] = run(flushed, LLC_REFERENCES, LLC_MISSES) as [number, number];
    expect(references).toBeGreaterThanOrEqual(100);
    expect(misses).toBeGreaterThanOrEqual(100);
    expect(misses).toBeLessThanOrEqual(references);
  });

  it('get a line by PREFETCHT0, a load as Intel counts loads, without one having missed', () => {
    const [loads, misses] = run(
      [...bytes('0f 18 0e'), ...loop(10, '48 8b 06')],
      LOADS,
      L1D_MISSES,
    ) as [number, number];
    expect([loads, misses]).toEqual([1 + 10, 0]);
  });
});

describe('translations', () => {
  it('are walked for once per page while the TLBs hold them', () => {
    const stride4096 = walk(1024, '48 8b 03 48 81 c3 00 10 00 00');
    expect(run(stride4096, LOAD_WALKS)).toEqual([1024]);
    expect(run(stride4096, LOAD_WALKS)).toEqual([0]);
  });

  it('are forgotten when CR3 is written', () => {
    const reload = loop(10, '48 8b 06 0f 20 d8 0f 22 d8'); // load; MOV RAX, CR3; MOV CR3, RAX
    expect(run(reload, LOAD_WALKS)).toEqual([10]);
  });
});

describe('branch prediction', () => {
  it('learns a loop: a long one is mispredicted a handful of times', () => {
    const [missed] = run(loop(10_000, '90'), MISPREDICTED) as [number];
    expect(missed).toBeGreaterThan(0);
    expect(missed).toBeLessThan(40);
  });

  it('cannot learn random directions: between 40 % and 60 % are mispredicted', () => {
    // XORSHIFT of RAX, then a branch on its lowest bit.
    const random = `
      48 89 c2  48 c1 e2 0d  48 31 d0
      48 89 c2  48 c1 ea 07  48 31 d0
      48 89 c2  48 c1 e2 11  48 31 d0
      a8 01  74 01  90`;
    const seeded = [...bytes('48 c7 c0 39 30 00 00'), ...loop(4000, random)];
    const [missed] = run(seeded, MISPREDICTED) as [number];
    expect(missed).toBeGreaterThan(1600);
    expect(missed).toBeLessThan(2400);
  });

  it('learns a pattern of four', () => {
    const pattern = 'f6 c1 03  74 01  90'; // TEST CL, 3; JZ
    const [missed] = run(loop(8000, pattern), MISPREDICTED) as [number];
    expect(missed).toBeLessThan(200);
  });

  it('knows where a return goes, and where an indirect call went last', () => {
    const call = '48 8d 05 04 00 00 00  ff d0  eb 01  c3';
    const [missed] = run(loop(1000, call), MISPREDICTED) as [number];
    expect(missed).toBeLessThan(40);
  });

  it('mispredicts again after an indirect branch prediction barrier', () => {
    const call = '48 8d 05 04 00 00 00  ff d0  eb 01  c3';
    const barrier = 'b8 01 00 00 00  31 d2  51  b9 49 00 00 00  0f 30  59';
    const [learnt] = run(loop(200, call), MISPREDICTED) as [number];
    const [barred] = run(loop(200, `${call} ${barrier}`), MISPREDICTED) as [number];
    expect(barred).toBeGreaterThanOrEqual(200);
    expect(barred).toBeGreaterThan(learnt);
  });
});

describe('top-down', () => {
  it.each([
    ['simple instructions', loop(2000, '90 90 90')],
    ['a walk through memory', walk(2000, '48 8b 03 48 83 c3 40')],
    ['divisions', loop(500, '31 d2 f7 f6')],
  ])('gives every slot of %s to one of four categories', (_name, code) => {
    const [slots, ...four] = run(code, SLOTS!, RETIRING!, BAD_SPECULATION!, FRONT_END!, BACK_END!);
    expect(four.reduce((a, b) => a + b, 0)).toBe(slots);
  });

  it('finds simple instructions retiring, a walk memory bound, divisions back-end bound', () => {
    const share = (code: readonly number[], event: number) => {
      const [slots, part] = run(code, SLOTS!, event) as [number, number];
      return part / slots;
    };
    expect(share(loop(5000, '90 90 90'), RETIRING!)).toBeGreaterThan(0.95);
    expect(share(walk(4000, '48 8b 03 48 83 c3 40'), MEMORY_BOUND!)).toBeGreaterThan(0.8);
    expect(share(loop(5000, '31 d2 f7 f6'), BACK_END!)).toBeGreaterThan(0.6);
    expect(share(loop(5000, '31 d2 f7 f6'), MEMORY_BOUND!)).toBeLessThan(0.02);
  });
});

it('is the same on both engines, and when it is looked at with other events beside', () => {
  const code = walk(500, '48 8b 03 48 83 c3 40');
  const interpreted = run(code, CYCLES, LLC_MISSES);
  cpu = new CountingProcessor(
    withTiming(profileNamed('sapphire-rapids')),
    (core) => new Oracle(core),
  );
  expect(run(code, CYCLES, LLC_MISSES, LOADS, MISPREDICTED).slice(0, 2)).toEqual(interpreted);
});

it('survives a snapshot: what was cached stays cached', () => {
  const code = walk(256, '48 8b 03 48 83 c3 40');
  run(code, L1D_MISSES);
  const saved = structuredClone(cpu.processor.instruments.save());
  cpu.processor.instruments.restore(saved);
  expect(run(code, L1D_MISSES)).toEqual([0]);
});

describe('without the timing model', () => {
  it('an instruction takes one cycle, and events that need it say that they do', () => {
    cpu = new CountingProcessor(profileNamed('sapphire-rapids'), (core) => new Interpreter(core));
    expect(run(loop(100, '48 8b 06'), INST, CYCLES, SLOTS!, LLC_MISSES)).toEqual([
      302, 302, 302, 0,
    ]);
    expect(cpu.processor.pmu.unsupportedEvents()).toEqual([
      { event: 0x2e, umask: 0x41, why: 'needs the timing model' },
    ]);
    expect(cpu.processor.state.gpr[6]).toBe(BigInt(DATA));
  });
});
