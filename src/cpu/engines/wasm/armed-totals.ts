import type { Insn } from '../../insn.ts';
import { retirement } from '../../retirement.ts';
import { ALWAYS_KEPT, STATE, TOTALS, type Total } from '../../state/layout.ts';
import type { FunctionWriter } from './assembler/function-writer.ts';
import { push32, type Value } from './value.ts';

/** What an instruction may have done with memory, each a local that is 1 once it has. */
const ACCESSES = ['loads', 'stores', 'splitLoads', 'splitStores'] as const;
type Access = (typeof ACCESSES)[number];

const LINE = 64;

const addressOf = (base: number, total: Total): number =>
  base + STATE.TOTALS + 8 * TOTALS.indexOf(total);

/**
 * The dynamic totals of the instruction that is being written, in handlers of a mode that is armed: they move when the
 * instruction retires, whatever it did before it might have faulted.
 */
export class ArmedTotals {
  readonly #f: FunctionWriter;
  readonly #base: number;
  readonly #locals = new Map<Access, number>();
  readonly #used = new Set<Access>();
  #retired = true;

  constructor(f: FunctionWriter, base: number) {
    this.#f = f;
    this.#base = base;
  }

  /** An instruction begins, or one iteration of a REP instruction. */
  begin(): void {
    this.#retired = false;
    this.#used.clear();
    this.again();
  }

  /** Another iteration begins: what counts is what the last one does. */
  again(): void {
    for (const access of ACCESSES) this.#f.i32(0).set(this.#local(access));
  }

  /** An access that went well. */
  accessed(kind: 'load' | 'store', linear: Value, size: number): void {
    const f = this.#f;
    const [once, split] =
      kind === 'load' ? (['loads', 'splitLoads'] as const) : (['stores', 'splitStores'] as const);
    this.#used.add(once);
    f.i32(1).set(this.#local(once));
    if (size === 1) return;
    this.#used.add(split);
    push32(f, linear);
    f.i32(LINE - 1)
      .op('i32.and')
      .i32(LINE - size)
      .op('i32.gt_u');
    f.get(this.#local(split)).op('i32.or').set(this.#local(split));
  }

  /** The instruction retires: once, however many ways lead out of it. */
  retire(insn: Insn): void {
    if (this.#retired) return;
    this.#retired = true;
    for (const access of this.#used) {
      this.#add(access, () => this.#f.get(this.#local(access)).op('i64.extend_i32_u'));
    }
    for (const total of retirement(insn)) {
      if (!ALWAYS_KEPT.has(total)) this.#add(total, () => this.#f.i64(1));
    }
  }

  #add(total: Total, push: () => void): void {
    const at = addressOf(this.#base, total);
    this.#f.i32(0).i32(0).memory('i64.load', at);
    push();
    this.#f.op('i64.add').memory('i64.store', at);
  }

  #local(access: Access): number {
    const local = this.#locals.get(access) ?? this.#f.local('i32');
    this.#locals.set(access, local);
    return local;
  }
}
