import { describe, expect, it } from 'vitest';
import {
  checkEventFilter,
  isAllowed,
  type PmuEventFilter,
} from '../../src/kvm/vpmu/event-filter.ts';

/** A selector of event C4H (branches) with a umask, enabled. */
const branches = (umask: bigint) => ({ index: 0, eventsel: 0x43_00c4n | (umask << 8n) });
const fixed = (i: number) => ({ index: 32 + i, eventsel: 0xc0n });
const filter = (told: Partial<PmuEventFilter>): PmuEventFilter => ({
  action: 'allow',
  events: [],
  fixedCounterBitmap: 0,
  ...told,
});

describe('KVM_SET_PMU_EVENT_FILTER', () => {
  it('absent lets everything count', () => {
    expect(isAllowed(undefined, branches(0n))).toBe(true);
  });

  it('allows what is listed, or denies it', () => {
    const events = [0x00c4n];
    expect(isAllowed(filter({ events }), branches(0n))).toBe(true);
    expect(isAllowed(filter({ events }), branches(1n))).toBe(false);
    expect(isAllowed(filter({ action: 'deny', events }), branches(0n))).toBe(false);
    expect(isAllowed(filter({ action: 'deny', events }), branches(1n))).toBe(true);
  });

  it('decides about fixed counters by its bitmap alone', () => {
    const allow = filter({ events: [0xc0n], fixedCounterBitmap: 0b10 });
    expect([0, 1, 2].map((i) => isAllowed(allow, fixed(i)))).toEqual([false, true, false]);
    const deny = filter({ action: 'deny', events: [0xc0n], fixedCounterBitmap: 0b10 });
    expect([0, 1, 2].map((i) => isAllowed(deny, fixed(i)))).toEqual([true, false, true]);
  });

  it('with masked entries matches umasks by mask and value, less what is excluded', () => {
    // Umask mask in 63:56, its match in 15:8, exclude in 55: all umasks with bit 5 but 30H.
    const include = 0xc4n | (0x20n << 8n) | (0x20n << 56n);
    const exclude = 0xc4n | (0x30n << 8n) | (1n << 55n) | (0xffn << 56n);
    const masked = filter({ events: [include, exclude], masked: true });
    const allowed = [0x00n, 0x20n, 0x21n, 0x30n, 0x31n].map((umask) =>
      isAllowed(masked, branches(umask)),
    );
    expect(allowed).toEqual([false, true, true, false, true]);
  });

  it('refuses more than 300 events, and entries with bits that mean nothing', () => {
    const events = Array.from({ length: 301 }, (_, i) => BigInt(i & 0xff));
    expect(() => checkEventFilter(filter({ events }))).toThrow(/E2BIG/);
    expect(() => checkEventFilter(filter({ events: events.slice(1) }))).not.toThrow();
    expect(() => checkEventFilter(filter({ events: [0x1_0000n] }))).toThrow(/EINVAL/);
    expect(() => checkEventFilter(filter({ events: [1n << 54n], masked: true }))).toThrow(/EINVAL/);
  });
});
