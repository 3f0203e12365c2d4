import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Insn } from '../../../src/cpu/insn.ts';
import { MicroArchitecture, MODELLED } from '../../../src/cpu/models/micro-architecture.ts';
import { GOLDEN_COVE } from '../../../src/cpu/models/parameters.ts';
import { INTERPRETER } from '../../../src/cpu/state/layout.ts';
import { State } from '../../../src/cpu/state/state.ts';
import { type PlainInsn, PlainModel, type PlainShape } from './plain-model.ts';

const pages = INTERPRETER.SIZE / 65536;
const linear = new WebAssembly.Memory({ initial: pages, maximum: pages });
const state = new State(linear, 0);

/** Tables so small that random programs fill them. */
const PARAMETERS = {
  ...GOLDEN_COVE,
  caches: {
    l1d: { bytes: 512, ways: 2 },
    l1i: { bytes: 512, ways: 2 },
    l2: { bytes: 1024, ways: 4 },
    llc: { bytes: 4096, ways: 4 },
  },
  tlbs: {
    dtlb: { entries: 4, ways: 2 },
    itlb: { entries: 4, ways: 2 },
    stlb: { entries: 8, ways: 4 },
  },
  predictor: { directionBits: 4, historyBits: 3, targetBits: 3, returnStack: 3 },
};
const SHAPE: PlainShape = {
  sets: { l1d: 4, l1i: 4, l2: 4, llc: 16, dtlb: 2, itlb: 2, stlb: 2 },
  ways: { l1d: 2, l1i: 2, l2: 4, llc: 4, dtlb: 2, itlb: 2, stlb: 4 },
  cycles: { l2: 5, llc: 20, memory: 50, stlb: 3, walk: 12, mispredict: 17 },
  ...{ directionBits: 4, historyBits: 3, targetBits: 3, returnStack: 3 },
};

/** What the model sees of each branch. */
const INSNS: Readonly<Record<string, Pick<Insn, 'op'> & { operands: unknown[] }>> = {
  cond: { op: 'JCC', operands: [{ kind: 'rel' }] },
  call: { op: 'CALL', operands: [{ kind: 'rel' }] },
  jump: { op: 'JMP', operands: [{ kind: 'gpr' }] },
  icall: { op: 'CALL', operands: [{ kind: 'gpr' }] },
  return: { op: 'RET', operands: [] },
};
/** Eleven cycles more for the division, none for the other. */
const PLAIN = { 11: 'DIV', 0: 'ADD' } as const;

const address = fc.integer({ min: 0x1000, max: 0x1000 + 40 * 64 * 7 });
const insn: fc.Arbitrary<PlainInsn> = fc.record({
  at: fc.oneof(address, fc.integer({ min: 0x1000, max: 0x10ff })),
  length: fc.integer({ min: 1, max: 15 }),
  accesses: fc.array(
    fc.record({ at: address, size: fc.constantFrom(1, 4, 8, 16), store: fc.boolean() }),
    { maxLength: 2 },
  ),
  extra: fc.constant(0),
  branch: fc.record({
    kind: fc.constantFrom('cond', 'call', 'jump', 'icall', 'return' as const),
    taken: fc.boolean(),
    to: fc.integer({ min: 0x1000, max: 0x1010 }),
  }),
});
const simple = fc.record({
  at: address,
  length: fc.constant(4),
  accesses: fc.constant([]),
  extra: fc.constantFrom(0, 11),
});
const step = fc.oneof(
  { weight: 20, arbitrary: fc.oneof(insn, simple) },
  { weight: 1, arbitrary: fc.constantFrom('flush TLBs' as const, 'save and restore' as const) },
  { weight: 1, arbitrary: address },
);

describe('the generated model', () => {
  it('counts what the published rules make of any program', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400, size: 'max' }), (steps) => {
        state.totals.fill(0n);
        let rip = 0;
        const around = {
          ...{ state, memory: linear },
          page: (page: bigint) => Number(page),
          linearRip: () => BigInt(rip),
          operandAddress: () => BigInt(rip),
        };
        const model = new MicroArchitecture(PARAMETERS, around);
        const plain = new PlainModel(SHAPE);
        for (const what of steps) {
          if (what === 'flush TLBs') {
            model.flushed({});
            plain.flushTlbs();
          } else if (what === 'save and restore') {
            const saved = structuredClone(model.save());
            model.restore(saved);
          } else if (typeof what === 'number') {
            rip = what;
            const flush = { op: 'CLFLUSH', operands: [{ kind: 'mem' }], length: 4 };
            model.retired({
              insn: flush as never,
              linear: 0x1000n,
              next: 0n,
              taken: false,
              repeats: false,
            });
            plain.retire({ at: 0x1000, length: 4, accesses: [], extra: 4 });
            plain.flushLine(Math.floor(what / 64));
          } else {
            const branch = 'branch' in what ? what.branch : undefined;
            const seen = branch
              ? INSNS[branch.kind]!
              : { op: PLAIN[what.extra as 0 | 11], operands: [] };
            for (const { at, size, store } of what.accesses) {
              model.accessed(store ? 'store' : 'load', BigInt(at), size);
            }
            rip = branch?.to ?? 0;
            const taken = branch !== undefined && (branch.kind !== 'cond' || branch.taken);
            const whole = { ...seen, lock: false, size: 4, length: what.length };
            model.retired({
              insn: whole as never,
              linear: BigInt(what.at),
              next: BigInt(rip),
              taken,
              repeats: false,
            });
            plain.retire(what);
          }
        }
        for (const total of MODELLED) {
          expect([total, Number(state.total(total))]).toEqual([total, plain.totals[total] ?? 0]);
        }
      }),
      { numRuns: 60 },
    );
  });
});
