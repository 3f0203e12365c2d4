import { beforeEach, describe, expect, it } from 'vitest';
import { Rtc } from '../../src/platform/rtc.ts';

const SECOND = 3_000_000_000;
const EPOCH = Date.UTC(2026, 1, 28, 23, 59, 58) / 1000;

let now: number;
let line: boolean;
let rtc: Rtc;
beforeEach(() => {
  now = 0;
  line = false;
  rtc = new Rtc({ epoch: EPOCH, ramSize: 128 << 20 }, { now: () => now }, (asserted) => {
    line = asserted;
  });
});

const read = (index: number) => {
  rtc.write(0, index);
  return rtc.read(1);
};
const write = (index: number, value: number) => {
  rtc.write(0, index);
  rtc.write(1, value);
};
const date = () =>
  [0x32, 9, 8, 7, 4, 2, 0].map((index) => read(index).toString(16).padStart(2, '0')).join('');
const elapseTo = (tick: number) => {
  now = tick;
  rtc.elapse();
};

describe('the clock', () => {
  it('shows the date in BCD and goes with the machine', () => {
    expect(date()).toBe('20260228235958');
    now = 2 * SECOND;
    expect(date()).toBe('20260301000000');
    expect(read(6)).toBe(1); // Sunday
  });

  it('starts at the beginning of 2026 unless told', () => {
    rtc = new Rtc({ ramSize: 64 << 20 }, { now: () => now }, () => {});
    expect(date()).toBe('20260101000000');
  });

  it('shows binary numbers and hours of twelve when asked', () => {
    write(11, 0x04);
    expect([read(9), read(7), read(4), read(2)]).toEqual([26, 28, 0x80 | 11, 59]);
  });

  it('is set by writing it', () => {
    write(7, 0x01);
    write(4, 0x12);
    expect(date()).toBe('20260201125958');
    now = 3 * SECOND;
    expect(date()).toBe('20260201130001');
  });

  it('stands still while it is set field by field, whatever the date in between', () => {
    rtc = new Rtc(
      { epoch: Date.UTC(2026, 0, 31, 12) / 1000, ramSize: 64 << 20 },
      { now: () => now },
      () => {},
    );
    write(11, 0x82); // SET
    write(8, 0x02); // 31 February
    now = 10 * SECOND;
    expect(date()).toBe('20260231120000');
    write(7, 0x15);
    write(11, 0x02);
    expect(date()).toBe('20260215120000');
    now = 11 * SECOND;
    expect(date()).toBe('20260215120001');
  });

  it('is saved in the middle of being set', () => {
    write(11, 0x82);
    write(9, 0x30);
    const saved = structuredClone(rtc.save());
    write(9, 0x99);
    rtc.restore(saved);
    write(11, 0x02);
    expect(date()).toBe('20300228235958');
  });

  it('announces an update 244 µs ahead', () => {
    expect(read(10)).toBe(0x26);
    now = SECOND - 732_000;
    expect(read(10)).toBe(0xa6);
    now = SECOND;
    expect(read(10)).toBe(0x26);
  });

  it('is valid, and its status D is read-only', () => {
    write(13, 0);
    expect(read(13)).toBe(0x80);
  });
});

describe('its interrupts', () => {
  it('are off at first', () => {
    expect(rtc.nextDeadline()).toBe(Infinity);
  });

  it('come at the end of each update, until status C is read', () => {
    write(11, 0x12);
    expect(rtc.nextDeadline()).toBe(SECOND);
    elapseTo(SECOND);
    expect(line).toBe(true);
    expect(read(12)).toBe(0xd0); // the periodic flag is set too, enabled or not
    expect(line).toBe(false);
    expect(read(12)).toBe(0);
  });

  it('come at the alarm', () => {
    write(5, 0x00);
    write(3, 0x00);
    write(1, 0x01);
    write(11, 0x22);
    elapseTo(2 * SECOND);
    expect(line).toBe(false);
    elapseTo(3 * SECOND);
    expect(line).toBe(true);
    expect(read(12) & 0xa0).toBe(0xa0);
  });

  it('come every second with an alarm of "don\'t care"', () => {
    for (const index of [1, 3, 5]) write(index, 0xff);
    write(11, 0x22);
    elapseTo(SECOND);
    expect(line).toBe(true);
  });

  // biome-ignore format: a table
  it.each([[6, 1024], [15, 2], [3, 8192], [1, 256]])('of rate %i come %i times a second', (rate, times) => {
    write(10, 0x20 | rate);
    write(11, 0x42);
    let count = 0;
    while (rtc.nextDeadline() <= SECOND) {
      elapseTo(rtc.nextDeadline());
      expect(read(12)).toBe(0xc0 | (now === SECOND ? 0x10 : 0));
      count += 1;
    }
    expect(count).toBe(times);
  });
});

it('CMOS memory holds what it is given and the size of memory', () => {
  write(0x40, 0xa5);
  expect(read(0x40)).toBe(0xa5);
  expect(read(0x15) | (read(0x16) << 8)).toBe(640);
  expect(read(0x34) | (read(0x35) << 8)).toBe((112 << 20) / 65_536);
});

it('is restored with the time that software set', () => {
  write(9, 0x30);
  const saved = structuredClone(rtc.save());
  const other = new Rtc({ epoch: EPOCH, ramSize: 128 << 20 }, { now: () => now }, () => {});
  other.restore(saved);
  expect(other.save()).toEqual(saved);
  rtc = other;
  expect(date().slice(0, 4)).toBe('2030');
});
