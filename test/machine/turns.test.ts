import { describe, expect, it } from 'vitest';
import { Turns, type TurnTaker } from '../../src/machine/turns.ts';

/** A processor that executes for ever, and says at which tick each of its turns ended. */
function busy(ends: bigint[]): TurnTaker {
  let now = 0n;
  return {
    now: () => now,
    run: ({ ticks }) => {
      now += ticks;
      ends.push(now);
      return false;
    },
    wait: (until) => {
      now = until;
    },
    wakes: () => true,
  };
}

describe('processors that take turns', () => {
  it('all reach the end of a round before any goes on', () => {
    const ends: bigint[][] = [[], [], []];
    const turns = new Turns(ends.map(busy));
    for (let i = 0; i < 3 * 4; i++) turns.run({ ticks: 1n << 40n, instructions: 1n << 40n });
    expect(ends[1]).toEqual(ends[0]);
    expect(ends[2]).toEqual(ends[0]);
    expect(ends[0]).toHaveLength(4);
  });

  it('end them at every place of a loop, however long it is', () => {
    for (let length = 2n; length <= 256n; length++) {
      const ends: bigint[] = [];
      const turns = new Turns([busy(ends)]);
      for (let i = 0n; i < length; i++) turns.run({ ticks: 1n << 40n, instructions: 1n << 40n });
      expect(new Set(ends.map((end) => end % length)).size).toBe(Number(length));
    }
  });
});
