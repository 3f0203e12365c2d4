import { beforeEach, describe, expect, it } from 'vitest';
import { Pit } from '../../src/platform/i8254.ts';

/** Ticks of 3 GHz in n cycles of 1,193,182 Hz, rounded up. */
const cycles = (n: number) => Math.ceil((n * 3_000_000_000) / 1_193_182);

let now: number;
let edges: number[];
let level: boolean;
let pit: Pit;
beforeEach(() => {
  now = 0;
  edges = [];
  level = false;
  pit = new Pit({ now: () => now }, (asserted) => {
    if (asserted && !level) edges.push(now);
    level = asserted;
  });
});

function program(channel: number, mode: number, count: number) {
  pit.write(3, (channel << 6) | 0x30 | (mode << 1));
  pit.write(channel, count & 0xff);
  pit.write(channel, count >> 8);
}

function latched(channel: number): number {
  pit.write(3, channel << 6);
  return pit.read(channel) | (pit.read(channel) << 8);
}

/** Lets the clock go from deadline to deadline up to `end`. */
function run(end: number) {
  for (;;) {
    const next = pit.nextDeadline();
    if (next > end) break;
    now = next;
    pit.elapse();
  }
  now = end;
}

describe('counter 0', () => {
  it('is silent until it is programmed', () => {
    expect(pit.nextDeadline()).toBe(Infinity);
  });

  it.each([2, 3])('in mode %i interrupts every count, without drift', (mode) => {
    program(0, mode, 11_932);
    run(cycles(11_932 * 5));
    expect(edges).toEqual([1, 2, 3, 4, 5].map((n) => cycles(11_932 * n)));
  });

  it('in mode 0 interrupts once', () => {
    program(0, 0, 1000);
    run(cycles(5000));
    expect(edges).toEqual([cycles(1000)]);
    expect(pit.nextDeadline()).toBe(Infinity);
  });

  it('counts 65,536 for a count of 0', () => {
    program(0, 2, 0);
    expect(pit.nextDeadline()).toBe(cycles(65_536));
  });

  it('stops when its mode is set anew', () => {
    program(0, 2, 1000);
    pit.write(3, 0x30);
    expect(pit.nextDeadline()).toBe(Infinity);
  });
});

describe('a count', () => {
  it('goes down one a cycle, and reads low byte first', () => {
    program(0, 2, 0x1234);
    now = cycles(0x34);
    expect([pit.read(0), pit.read(0)]).toEqual([0x00, 0x12]);
  });

  it('goes down by two in mode 3', () => {
    program(0, 3, 1000);
    now = cycles(100);
    expect(latched(0)).toBe(800);
  });

  it('goes on below 0 in mode 0', () => {
    program(0, 0, 10);
    now = cycles(11);
    expect(latched(0)).toBe(0xffff);
  });

  it('stands still once latched until it has been read', () => {
    program(0, 2, 1000);
    pit.write(3, 0x00);
    now = cycles(400);
    expect(pit.read(0) | (pit.read(0) << 8)).toBe(1000);
    expect(pit.read(0) | (pit.read(0) << 8)).toBe(600);
  });

  it('is read with its status by the read-back command', () => {
    program(0, 2, 1000);
    now = cycles(10);
    pit.write(3, 0xc2); // count and status of counter 0
    expect(pit.read(0)).toBe(0xb4); // OUT high, both bytes, mode 2
    expect(pit.read(0) | (pit.read(0) << 8)).toBe(990);
  });

  it('in BCD is decimal', () => {
    pit.write(3, 0x35);
    pit.write(0, 0x00);
    pit.write(0, 0x10);
    now = cycles(1);
    expect(latched(0)).toBe(0x0999);
  });

  it('of one byte loads at once', () => {
    pit.write(3, 0x14);
    pit.write(0, 100);
    expect(pit.nextDeadline()).toBe(cycles(100));
  });
});

describe('counter 2 and port 61H', () => {
  const output = () => (pit.port61.read(0) >> 5) & 1;

  it('calibrates as Linux does: gate up, mode 0, output rises at the end', () => {
    pit.port61.write(0, 0x01);
    program(2, 0, 59_659); // 50 ms
    expect(output()).toBe(0);
    now = cycles(59_659) - 1;
    expect(output()).toBe(0);
    now = cycles(59_659);
    expect(output()).toBe(1);
  });

  it.each([
    [1, 'its output falls with the trigger and rises after the count', 0, 99],
    [5, 'its output falls for one cycle after the count', 100, 100],
  ])('in mode %i waits for its gate to rise: %s', (mode, _what, low, high) => {
    const output = () => (pit.port61.read(0) & 0x20) !== 0;
    program(2, mode, 100);
    now = cycles(500);
    expect(output()).toBe(true);
    pit.write(3, 0xe8); // read back: no count in the counting element
    expect(pit.read(2) & 0x40).toBe(0x40);
    pit.port61.write(0, 1);
    const start = now;
    for (const cycle of [0, 50, 99, 100, 101, 300]) {
      now = start + cycles(cycle);
      expect([cycle, output()]).toEqual([cycle, cycle < low || cycle > high]);
    }
    pit.write(3, 0xe8);
    expect(pit.read(2) & 0x40).toBe(0);
  });

  it('in mode 1 takes a new count with the next trigger', () => {
    program(2, 1, 100);
    pit.port61.write(0, 1);
    pit.write(2, 10);
    pit.write(2, 0);
    now = cycles(50);
    expect(pit.port61.read(0) & 0x20).toBe(0);
    pit.port61.write(0, 0);
    pit.port61.write(0, 1);
    now += cycles(11);
    expect(pit.port61.read(0) & 0x20).toBe(0x20);
  });

  it('counts only while its gate is up', () => {
    program(2, 0, 1000);
    now = cycles(5000);
    expect(latched(2)).toBe(1000);
    pit.port61.write(0, 0x01);
    now += cycles(100);
    expect(latched(2)).toBe(900);
    pit.port61.write(0, 0x00);
    now += cycles(100);
    expect(latched(2)).toBe(900);
  });

  it('shows gate and speaker, toggles refresh, reports no NMI', () => {
    pit.port61.write(0, 0xff);
    expect(pit.port61.read(0) & 0xc3).toBe(0x03);
    const before = pit.port61.read(0) & 0x10;
    now += 45_000;
    expect(pit.port61.read(0) & 0x10).not.toBe(before);
  });
});

it('is restored with its latches and the edge it waits for', () => {
  program(0, 2, 1000);
  run(cycles(1500));
  pit.write(3, 0x00);
  const saved = structuredClone(pit.save());
  const other = new Pit({ now: () => now }, () => {});
  other.restore(saved);
  expect(other.save()).toEqual(saved);
  expect(other.nextDeadline()).toBe(cycles(2000));
  expect(other.read(0) | (other.read(0) << 8)).toBe(500);
});
