import { describe, expect, it } from 'vitest';
import { Predictor } from '../../../src/cpu/models/predictor.ts';

const SHAPE = { directionBits: 10, historyBits: 8, targetBits: 8, returnStack: 4 };

describe('a predictor', () => {
  it('expects a branch that it never saw not to be taken', () => {
    const predictor = new Predictor(SHAPE);
    expect(predictor.direction(0x1000n, false)).toBe(true);
  });

  it('is right about a branch that is always taken once its history is full of it', () => {
    const predictor = new Predictor(SHAPE);
    const right = Array.from({ length: 40 }, () => predictor.direction(0x1000n, true));
    expect(right.slice(0, 1)).toEqual([false]);
    expect(right.slice(20).every(Boolean)).toBe(true);
  });

  it('learns an alternating branch by its history', () => {
    const predictor = new Predictor(SHAPE);
    const right = Array.from({ length: 100 }, (_, i) => predictor.direction(0x1000n, i % 2 === 0));
    expect(right.slice(50).every(Boolean)).toBe(true);
  });

  it('expects an indirect branch where it went last', () => {
    const predictor = new Predictor(SHAPE);
    const went = [0x10n, 0x10n, 0x20n, 0x20n].map((to) => predictor.target(0x1000n, to));
    expect(went).toEqual([false, true, false, true]);
  });

  it('remembers as many calls as its stack is deep', () => {
    const predictor = new Predictor(SHAPE);
    for (const to of [1n, 2n, 3n, 4n, 5n]) predictor.call(to);
    expect([5n, 4n, 3n, 2n, 1n].map((to) => predictor.return(to))).toEqual([
      ...[true, true, true, true],
      false,
    ]);
  });

  it('knows nothing after a barrier', () => {
    const predictor = new Predictor(SHAPE);
    predictor.target(0x1000n, 0x10n);
    predictor.call(0x20n);
    predictor.barrier();
    expect([predictor.target(0x1000n, 0x10n), predictor.return(0x20n)]).toEqual([false, false]);
  });

  it('resumes from what it saved', () => {
    const predictor = new Predictor(SHAPE);
    for (let i = 0; i < 50; i++) predictor.direction(0x1000n, i % 3 === 0);
    predictor.target(0x2000n, 0x30n);
    predictor.call(0x40n);
    const twin = new Predictor(SHAPE);
    twin.restore(structuredClone(predictor.save()));
    expect(twin.target(0x2000n, 0x30n)).toBe(true);
    expect(twin.return(0x40n)).toBe(true);
    expect(twin.direction(0x1000n, true)).toBe(predictor.direction(0x1000n, true));
  });
});
