import { describe, expect, it } from 'vitest';
import { CODE, Guest } from './guest.ts';
import type { Fields } from './processor.ts';

/** PAUSE-loop exiting, HLT exiting: PAUSEs up to 4 ticks apart are one loop, which may last 20 ticks. */
const LOOPS: Fields = {
  PRIMARY_CONTROLS: 0x8400_61f2n,
  SECONDARY_CONTROLS: 1 << 10,
  PLE_GAP: 4,
  PLE_WINDOW: 20,
};
const PAUSE = 'f3 90';
const NOP = '90';
/** 3 ticks. */
const TURN = `${PAUSE} ${NOP} ${NOP} `;

describe('PAUSE-loop exiting', () => {
  it('exits at the first PAUSE that comes later than the window after the first of its loop', () => {
    const guest = new Guest(LOOPS).code(`${TURN.repeat(10)} f4`);
    expect(guest.exit()).toMatchObject({ reason: 40, length: 2 });
    expect(guest.get('GUEST_RIP')).toBe(BigInt(CODE + 7 * 4));
  });

  it('counts from VM entry: the PAUSE that exited is the first of a new loop', () => {
    const guest = new Guest(LOOPS).code(`${TURN.repeat(20)} f4`);
    guest.exit();
    guest.exit();
    expect(guest.get('GUEST_RIP')).toBe(BigInt(CODE + 14 * 4));
  });

  it('lets a PAUSE that comes later than the gap begin a new loop', () => {
    const rest = `${PAUSE} ${NOP} ${NOP} ${NOP} ${NOP} `;
    expect(new Guest(LOOPS).code(`${rest.repeat(10)} f4`).exit().reason).toBe(12);
  });

  it('gives way to PAUSE exiting', () => {
    const guest = new Guest({ ...LOOPS, PRIMARY_CONTROLS: 0xc400_61f2n }).code(`${PAUSE} f4`);
    expect(guest.exit().reason).toBe(40);
    expect(guest.get('GUEST_RIP')).toBe(BigInt(CODE));
  });
});
