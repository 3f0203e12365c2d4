import { describe, expect, it } from 'vitest';
import { FunctionWriter } from '../../../src/cpu/engines/wasm/assembler/function-writer.ts';
import { Predictor } from '../../../src/cpu/models/predictor.ts';
import { generate, modelArea } from './generated.ts';

const SHAPE = { directionBits: 10, historyBits: 8, targetBits: 8, returnStack: 4 };

function make() {
  const area = modelArea();
  const predictor = new Predictor(area, SHAPE);
  const f = new FunctionWriter(['i32', 'i32'], ['i32']);
  predictor.direction(
    f,
    () => f.get(0),
    () => f.get(1),
  );
  const { direction, target, call, ret } = generate(area, {
    direction: f,
    target: predictor.target(),
    call: predictor.call(),
    ret: predictor.return(),
  });
  return {
    predictor,
    direction: (address: number, taken: boolean) => direction!(address, taken ? 1 : 0) === 1,
    target: (address: number, to: bigint) => target!(address, to) === 1,
    call: (returnTo: bigint) => call!(returnTo),
    return: (to: bigint) => ret!(to) === 1,
  };
}

describe('a predictor', () => {
  it('expects a branch that it never saw not to be taken', () => {
    expect(make().direction(0x1000, false)).toBe(true);
  });

  it('is right about a branch that is always taken once its history is full of it', () => {
    const { direction } = make();
    const right = Array.from({ length: 40 }, () => direction(0x1000, true));
    expect(right.slice(0, 1)).toEqual([false]);
    expect(right.slice(20).every(Boolean)).toBe(true);
  });

  it('learns an alternating branch by its history', () => {
    const { direction } = make();
    const right = Array.from({ length: 100 }, (_, i) => direction(0x1000, i % 2 === 0));
    expect(right.slice(50).every(Boolean)).toBe(true);
  });

  it('expects an indirect branch where it went last', () => {
    const { target } = make();
    const went = [0x10n, 0x10n, 0x20n, 0x20n].map((to) => target(0x1000, to));
    expect(went).toEqual([false, true, false, true]);
  });

  it('remembers as many calls as its stack is deep, and of those beyond the newest', () => {
    const predictor = make();
    for (const to of [1n, 2n, 3n, 4n, 5n]) predictor.call(to);
    expect([5n, 4n, 3n, 2n, 1n].map((to) => predictor.return(to))).toEqual([
      ...[true, true, true, true],
      false,
    ]);
  });

  it('tells addresses apart by all of their 64 bits', () => {
    const predictor = make();
    predictor.call(0xffff_8000_0000_1000n);
    expect(predictor.return(0x8000_0000_1000n)).toBe(false);
  });

  it('knows nothing after a barrier', () => {
    const predictor = make();
    predictor.target(0x1000, 0x10n);
    predictor.call(0x20n);
    predictor.predictor.barrier();
    expect([predictor.target(0x1000, 0x10n), predictor.return(0x20n)]).toEqual([false, false]);
  });

  it('resumes from what it saved', () => {
    const first = make();
    for (let i = 0; i < 50; i++) first.direction(0x1000, i % 3 === 0);
    first.target(0x2000, 0x30n);
    for (const to of [0x10n, 0x20n, 0x30n, 0x40n, 0x50n]) first.call(to);
    const twin = make();
    twin.predictor.restore(structuredClone(first.predictor.save()));
    expect(twin.target(0x2000, 0x30n)).toBe(true);
    expect([0x50n, 0x40n, 0x30n, 0x20n, 0x10n].map((to) => twin.return(to))).toEqual([
      ...[true, true, true, true],
      false,
    ]);
    expect(twin.direction(0x1000, true)).toBe(first.direction(0x1000, true));
  });
});
