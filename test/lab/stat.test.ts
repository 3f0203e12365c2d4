import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { startStat, stat } from '../../src/lab/stat.ts';

const image = (name: string) =>
  new Uint8Array(readFileSync(new URL(`../../firmware/${name}.elf`, import.meta.url)));

describe('stat on the bare machine', () => {
  it('is the truth, for all of the time', () => {
    const { lines, truth, seconds, end } = stat(image('count'), {
      events: 'instructions,r01c3,LONGEST_LAT_CACHE.MISS',
    });
    expect(truth).toEqual([1_017_984n, undefined, undefined]);
    expect(lines[0]).toMatchObject({ event: 'instructions', value: 1_017_984n });
    expect(lines[0]!.enabled).toBe(lines[0]!.running);
    // No such encoding; and misses that only the timing model could count: not a silent 0.
    expect(lines.slice(1).map(({ value }) => value)).toEqual(['unsupported', 'unsupported']);
    expect(seconds).toBeCloseTo(1_018_083 / 3e9, 12);
    expect(end).toMatchObject({ reason: 'exit', exitValue: 0 });
  });

  it('knows instructions per cycle, as perf prints it', () => {
    const { lines } = stat(image('count'), { events: 'cycles,instructions' });
    expect(lines[1]!.metric?.name).toBe('insn per cycle');
    expect(lines[1]!.metric?.value).toBeCloseTo(1_017_984 / 1_018_083, 3);
  });
});

describe('stat on the bare machine', () => {
  it('does not count what the machine does not tell apart: privilege levels, and a host there is not', () => {
    const events = 'instructions:u,instructions:k,instructions:H,instructions:uk,instructions:G';
    const { lines } = stat(image('count'), { events });
    expect(lines.map(({ value }) => value)).toEqual([
      ...['unsupported', 'unsupported', 'unsupported'],
      ...[1_017_984n, 1_017_984n],
    ]);
  });
});

describe('stat on a host', () => {
  it('sees guest and host apart by their modifiers, and their sum without', () => {
    const alone = (events: string) => {
      const { lines, truth } = stat(image('count'), { machine: 'emulated', events });
      const { value, enabled, running } = lines[0]!;
      return {
        value: value as bigint,
        counted: ((value as bigint) * running) / enabled,
        truth: truth[0],
      };
    };
    const [guest, host, both] = ['instructions:G', 'instructions:H', 'instructions'].map(alone);
    expect(host!.truth).toBe(undefined);
    expect(guest!.value + host!.value).toBe(both!.value);
    // KVM completed some 1,570 instructions for the guest, which no host counter saw in it.
    expect(guest!.truth).toBe(1_017_984n);
    expect(1_017_984n - guest!.counted).toBeGreaterThan(1_500n);
    expect(1_017_984n - guest!.counted).toBeLessThan(1_700n);
  });

  it('watches a host program, or all of the processor, instead of the guest’s thread', () => {
    const value = (of: 'program' | 'cpu', events: string) =>
      stat(image('count'), { machine: 'emulated', of, events }).lines[0]!.value as bigint;
    expect(value('program', 'instructions:G')).toBe(0n);
    expect(value('program', 'instructions:H')).toBeGreaterThan(1_000_000n);
    const { lines } = stat(image('count'), { machine: 'emulated', events: 'instructions' });
    expect(value('cpu', 'instructions')).toBeGreaterThan(lines[0]!.value as bigint);
    expect(() => stat(image('count'), { of: 'cpu' })).toThrow(/no host/);
  });

  it('is refused what does not exclude guests while a mediated VM exists', () => {
    const { lines, refused } = stat(image('count'), {
      machine: 'passthrough',
      events: 'instructions,instructions:H',
    });
    expect(lines[0]!.value).toBe('unsupported');
    expect(lines[1]!.value).toBeGreaterThan(1_000_000n);
    expect(refused).toHaveLength(1);
    expect(refused[0]).toContain('EOPNOTSUPP');
  });

  it('shares counters in turns, and says for how much of the time each event had one', () => {
    const { lines } = stat(image('multiplex'), {
      machine: 'emulated',
      events: 'r00c4,r02c4,r08c4,r10c4,r20c4,r40c4',
    });
    for (const { running, enabled } of lines) expect(running).toBeLessThan(enabled);
  });

  it('refuses an event list that cannot be read, naming the place', () => {
    expect(() => stat(image('count'), { events: 'instructions,no-such-event' })).toThrow(
      /no-such-event/,
    );
  });
});

/** Bare code, started in 64-bit mode. */
const flat = (hex: string, machine: string, maxInstructions = 1_000_000n) =>
  stat(Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex')), {
    machine,
    events: 'instructions:H',
    memory: 4 << 20,
    boot: { format: 'flat' },
    budget: { maxInstructions },
  });

it('counts the same however the run is cut', () => {
  const counts = (step: bigint) => {
    const run = startStat(image('count'), { machine: 'emulated', events: 'cycles,instructions:G' });
    for (let at = step; run.advance({ maxInstructions: at }); at += step);
    const { lines, truth, seconds } = run.report();
    return { lines, truth, seconds };
  };
  expect(counts(77_777n)).toEqual(counts(10_000_000n));
});

describe.each(['bare', 'emulated', 'passthrough'])('a guest under stat: %s', (machine) => {
  it.each([
    ['sleeps for ever', 'fa f4', 'halted-forever', 0x10_0002n],
    ['has no handler for #UD', '90 0f 0b', 'triple-fault', 0x10_0001n],
    ['resets its machine', 'b0 06 66 ba f9 0c ee', 'reset', undefined],
  ])('%s', (_what, code, reason, rip) => {
    const { end } = flat(code, machine);
    expect(end.reason).toBe(reason);
    if (rip !== undefined) expect(end.rip).toBe(rip);
    if (reason === 'triple-fault') expect(end.faults[0]).toMatchObject({ vector: 6, rip });
  });

  it('is left at the instruction that the budget names', () => {
    const { end, truth } = stat(image('count'), {
      machine,
      events: 'instructions',
      budget: { maxInstructions: 100_000n },
    });
    expect(end.reason).toBe('budget');
    expect(truth).toEqual([100_000n]);
  });
});
