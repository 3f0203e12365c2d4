import { beforeEach, describe, expect, it } from 'vitest';
import { Hpet } from '../../src/platform/hpet.ts';

const CONFIG = 0x10;
const STATUS = 0x20;
const COUNTER = 0xf0;
const timer = (n: number) => ({ config: 0x100 + 0x20 * n, comparator: 0x108 + 0x20 * n });

let now: number;
let log: string[];
let moved: number;
let hpet: Hpet;
beforeEach(() => {
  now = 0;
  log = [];
  moved = 0;
  hpet = new Hpet({
    now: () => now,
    interrupt: (pin, asserted) => log.push(`${now}: pin ${pin} ${asserted ? 'up' : 'down'}`),
    legacyInterrupt: (irq, asserted) => log.push(`${now}: IRQ ${irq} ${asserted ? 'up' : 'down'}`),
    moved: () => moved++,
  });
});

const write = (offset: number, value: bigint) => hpet.write(offset, 8, value);
const read = (offset: number) => hpet.read(offset, 8);
const ups = () => log.filter((line) => line.endsWith('up'));

function run(end: number) {
  for (;;) {
    const next = hpet.nextDeadline();
    if (next > end) break;
    now = next;
    hpet.elapse();
  }
  now = end;
}

describe('the HPET', () => {
  it('tells its period of 10 ns, three timers of 64 bits, legacy replacement', () => {
    expect(read(0)).toBe(0x0098_9680_8086_a201n);
    expect(hpet.read(4, 4)).toBe(10_000_000n);
  });

  it('counts once every 30 ticks while enabled', () => {
    now = 300;
    expect(read(COUNTER)).toBe(0n);
    write(CONFIG, 1n);
    now = 900;
    expect(read(COUNTER)).toBe(20n);
    write(CONFIG, 0n);
    now = 9000;
    expect(read(COUNTER)).toBe(20n);
  });

  it('takes a counter value only while stopped', () => {
    write(COUNTER, 1000n);
    write(CONFIG, 1n);
    write(COUNTER, 0n);
    expect(read(COUNTER)).toBe(1000n);
  });

  it('interrupts once when a one-shot timer matches', () => {
    write(timer(1).config, (16n << 9n) | 4n);
    write(timer(1).comparator, 100n);
    write(CONFIG, 1n);
    run(100_000);
    expect(ups()).toEqual(['3000: pin 16 up']);
  });

  it('interrupts again and again in periodic mode', () => {
    write(timer(0).config, (17n << 9n) | 0x4cn); // periodic, value set, enabled
    write(timer(0).comparator, 100n);
    write(timer(0).comparator, 50n);
    write(CONFIG, 1n);
    run(30 * 220);
    expect(ups()).toEqual(['3000: pin 17 up', '4500: pin 17 up', '6000: pin 17 up']);
    expect(read(timer(0).comparator)).toBe(250n);
  });

  it('has no periodic mode in the other timers', () => {
    write(timer(2).config, 0x8n);
    expect(read(timer(2).config) & 0x18n).toBe(0n);
    expect(read(timer(0).config) & 0x10n).toBe(0x10n);
  });

  it('replaces the timer and the clock in legacy mode', () => {
    write(timer(0).config, 4n);
    write(timer(0).comparator, 10n);
    write(timer(1).config, 4n);
    write(timer(1).comparator, 20n);
    write(CONFIG, 3n);
    expect(hpet.replacesLegacy).toBe(true);
    run(1000);
    expect(ups()).toEqual(['300: IRQ 0 up', '600: IRQ 8 up']);
  });

  it('holds a level-triggered interrupt until its status bit is cleared', () => {
    write(timer(1).config, (18n << 9n) | 6n);
    write(timer(1).comparator, 10n);
    write(CONFIG, 1n);
    run(300);
    expect(read(STATUS)).toBe(2n);
    expect(log).toEqual(['300: pin 18 up']);
    write(STATUS, 2n);
    expect(read(STATUS)).toBe(0n);
    expect(log).toEqual(['300: pin 18 up', '300: pin 18 down']);
  });

  it('compares 32 bits in 32-bit mode', () => {
    write(COUNTER, 0x1_ffff_fff0n);
    write(timer(2).config, (16n << 9n) | 0x104n);
    write(timer(2).comparator, 0x10n);
    write(CONFIG, 1n);
    run(32 * 30);
    expect(ups()).toEqual(['960: pin 16 up']);
  });

  it('says when its next deadline may have moved: a slice under way ends', () => {
    read(COUNTER);
    expect(moved).toBe(0);
    write(CONFIG, 1n);
    write(timer(1).config, 4n);
    write(timer(1).comparator, 7n);
    expect(moved).toBe(3);
    expect(hpet.nextDeadline()).toBe(210);
  });

  it('is restored with its counter and comparators', () => {
    write(timer(1).config, (16n << 9n) | 4n);
    write(timer(1).comparator, 100n);
    write(CONFIG, 1n);
    now = 1500;
    const saved = structuredClone(hpet.save());
    const silent = { interrupt: () => {}, legacyInterrupt: () => {}, moved: () => {} };
    const other = new Hpet({ now: () => now, ...silent });
    other.restore(saved);
    expect(other.save()).toEqual(saved);
    expect(other.read(COUNTER, 8)).toBe(50n);
    expect(other.nextDeadline()).toBe(3000);
  });
});
