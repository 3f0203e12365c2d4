import { describe, expect, it } from 'vitest';
import { Predictor } from '../../../src/cpu/models/predictor.ts';

const SHAPE = { directionBits: 10, historyBits: 8, targetBits: 8, returnStack: 4 };

describe('a predictor', () => {
  it('expects a branch that it never saw not to be taken', () => {
    const predictor = new Predictor(SHAPE);
    expect(predictor.direction(0x1000, false)).toBe(true);
  });

  it('is right about a branch that is always taken once its history is full of it', () => {
    const predictor = new Predictor(SHAPE);
    const right = Array.from({ length: 40 }, () => predictor.direction(0x1000, true));
    expect(right.slice(0, 1)).toEqual([false]);
    expect(right.slice(20).every(Boolean)).toBe(true);
  });

  it('learns an alternating branch by its history', () => {
    const predictor = new Predictor(SHAPE);
    const right = Array.from({ length: 100 }, (_, i) => predictor.direction(0x1000, i % 2 === 0));
    expect(right.slice(50).every(Boolean)).toBe(true);
  });

  it('expects an indirect branch where it went last', () => {
    const predictor = new Predictor(SHAPE);
    const went = [0x10, 0x10, 0x20, 0x20].map((to) => predictor.target(0x1000, to));
    expect(went).toEqual([false, true, false, true]);
  });

  it('remembers as many calls as its stack is deep', () => {
    const predictor = new Predictor(SHAPE);
    for (const to of [1, 2, 3, 4, 5]) predictor.call(to);
    expect([5, 4, 3, 2, 1].map((to) => predictor.return(to))).toEqual([
      ...[true, true, true, true],
      false,
    ]);
  });

  it('knows nothing after a barrier', () => {
    const predictor = new Predictor(SHAPE);
    predictor.target(0x1000, 0x10);
    predictor.call(0x20);
    predictor.barrier();
    expect([predictor.target(0x1000, 0x10), predictor.return(0x20)]).toEqual([false, false]);
  });

  it('resumes from what it saved', () => {
    const predictor = new Predictor(SHAPE);
    for (let i = 0; i < 50; i++) predictor.direction(0x1000, i % 3 === 0);
    predictor.target(0x2000, 0x30);
    predictor.call(0x40);
    const twin = new Predictor(SHAPE);
    twin.restore(structuredClone(predictor.save()));
    expect(twin.target(0x2000, 0x30)).toBe(true);
    expect(twin.return(0x40)).toBe(true);
    expect(twin.direction(0x1000, true)).toBe(predictor.direction(0x1000, true));
  });
});
