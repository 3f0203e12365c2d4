import type { RelOperand } from '../../emit.ts';
import type { Insn } from '../../insn.ts';
import type { ModelCode, Placement } from '../../models/model-code.ts';
import { INTERPRETER } from '../../state/layout.ts';
import { SEGMENT_INDEX } from '../../state/state.ts';
import type { FunctionWriter, Label } from './assembler/function-writer.ts';
import { BRANCH_CLASS, classOf } from './branch-class.ts';
import { CODE_TLB } from './code-map.ts';
import { MemoryEmit } from './memory-emit.ts';
import { CS_BASE, type HandlerMode } from './mode.ts';
import { RECORD, STUB } from './record.ts';
import { PARAMETER } from './register-emit.ts';
import type { Outcome } from './report.ts';
import { LEAVE, type RuntimeIndices } from './runtime-functions.ts';
import { type Condition, push32, push64, type Value } from './value.ts';

const OFFSET_IN_PAGE = 4095;

/** An instruction of a handler, and where it lies for the model. */
export interface PlacedInsn {
  readonly insn: Insn;
  readonly placement: Placement;
}

/**
 * Control of the emitter. Where control goes after an instruction is a tail call of the handler of the next record, or
 * a return to TypeScript with the state in the state block.
 */
export class ControlEmit extends MemoryEmit {
  readonly #type: number;
  /** What the current instruction takes off FUEL: 1; 0 for a stub. */
  ticks = 1;
  /** In a handler of a whole block: the loop that a branch to the block's own start goes back to. */
  protected start: Label | undefined;
  #over = false;

  /** @param type index of the handler type in the module; @param model what an observed mode reports to */
  constructor(
    f: FunctionWriter,
    runtime: RuntimeIndices,
    base: number,
    mode: HandlerMode,
    type: number,
    model?: ModelCode,
  ) {
    super(f, runtime, base, mode, model);
    this.#type = type;
  }

  /** Writes one instruction whose record stands `offset` bytes behind the handler's. */
  instruction(
    { insn, placement }: PlacedInsn,
    offset: number,
    done: number,
    semantics: () => void,
  ): void {
    this.insn = insn;
    this.offset = offset;
    this.done = done;
    this.#over = false;
    this.maySlow = false;
    this.armed?.begin();
    this.report?.begin(placement);
    semantics();
    if (!this.#over) this.#retire();
  }

  /** Whether the instruction's semantics ended it: nothing is to be written behind it. */
  get over(): boolean {
    return this.#over;
  }

  /** The instruction transfers control, so its semantics are at an end. */
  protected end(): void {
    this.#over = true;
  }

  /** RIP of the instruction itself. */
  ownRip(): Value {
    this.field64(RECORD.RIP);
    return this.take(8);
  }

  jump(_operand: RelOperand, taken?: Condition): void {
    this.#retire(taken && { taken });
    if (!taken) {
      this.#count(classOf(this.insn));
      this.#branch();
      this.end();
      return;
    }
    this.f.get(taken.local).if(undefined, () => {
      this.#count(BRANCH_CLASS.TAKEN);
      this.#branch();
    });
    this.#count(BRANCH_CLASS.NOT_TAKEN);
  }

  jumpTo(target: Value): void {
    this.#retire({ target });
    this.#count(classOf(this.insn));
    this.goRip(target);
    this.end();
  }

  /** Goes on with the next record in line. */
  goNext(): void {
    this.#go(() =>
      this.f
        .get(PARAMETER.RECORD)
        .i32(this.offset + RECORD.SIZE)
        .op('i32.add'),
    );
  }

  /** Goes on at the record or stub of the edge. */
  goEdge(): void {
    this.#go(() => this.#edge());
  }

  /** Goes on at an instruction pointer: through the code TLB, or back to TypeScript. */
  goRip(rip: Value): void {
    const { f, base } = this;
    const entry = f.local('i32');
    const record = f.local('i32');
    const linear = this.#linearIp(rip);
    push64(f, linear);
    f.i64(12 - CODE_TLB.ENTRY_SHIFT).op('i64.shr_u', 'i32.wrap_i64');
    f.i32((CODE_TLB.ENTRIES - 1) << CODE_TLB.ENTRY_SHIFT).op('i32.and');
    f.i32(0)
      .memory('i32.load', base + INTERPRETER.CODE_SET)
      .op('i32.add')
      .set(entry);
    push64(f, linear);
    f.i64(-4096).op('i64.and');
    f.i32(0)
      .memory('i64.load32_u', base + INTERPRETER.CONTEXT)
      .op('i64.or');
    f.get(entry)
      .memory('i64.load', base + INTERPRETER.CODE_TLB + CODE_TLB.TAG)
      .op('i64.eq');
    f.if(undefined, () => {
      push64(f, linear);
      f.op('i32.wrap_i64').i32(OFFSET_IN_PAGE).op('i32.and').i32(2).op('i32.shl');
      f.get(entry)
        .memory('i32.load', base + INTERPRETER.CODE_TLB + CODE_TLB.SLOTS)
        .op('i32.add');
      f.memory('i32.load', 0).tee(record);
      f.if(undefined, () => this.#arrive(record));
    });
    this.#leave(() => push64(f, rip), LEAVE.MISS, this.done + this.ticks);
  }

  #linearIp(ip: Value): Value {
    if (this.mode.codeSize === 8 || (this.mode.flat & (1 << SEGMENT_INDEX.CS)) !== 0) return ip;
    this.f.i32(0).memory('i32.load', this.base + CS_BASE);
    push32(this.f, ip);
    this.f.op('i32.add');
    return this.take(4);
  }

  #edge(): void {
    this.f.get(PARAMETER.RECORD).memory('i32.load', this.offset + RECORD.EDGE);
  }

  /** Follows the direct edge; within the function where it leads back to the start of the block. */
  #branch(): void {
    const { f } = this;
    const target = f.local('i32');
    this.#edge();
    f.set(target);
    if (this.start) {
      f.get(target).get(PARAMETER.RECORD).op('i32.eq');
      if (this.maySlow) f.get(this.slowed()).op('i32.eqz', 'i32.and');
      f.if(undefined, () => {
        this.#pushFuel();
        f.set(PARAMETER.FUEL).branch(this.start!);
      });
    }
    this.#arrive(target);
  }

  /** Goes on at the target of a branch, and counts how often until its block has a handler of its own. */
  #arrive(target: number): void {
    const { f } = this;
    const heat = f.local('i32');
    f.get(target).memory('i32.load', RECORD.SINGLE).op('i32.eqz');
    f.if(undefined, () => {
      f.get(target).get(target).memory('i32.load', RECORD.HEAT).i32(1).op('i32.add').tee(heat);
      f.memory('i32.store', RECORD.HEAT);
      f.get(heat).op('i32.eqz');
      f.if(undefined, () => {
        const rip = () => f.get(target).memory('i64.load', RECORD.RIP);
        this.#leave(rip, LEAVE.HOT, this.done + this.ticks);
      });
    });
    this.#go(() => f.get(target));
  }

  /** The instruction retires, for the totals and the observer of the mode. */
  #retire(outcome?: Outcome): void {
    this.armed?.retire(this.insn);
    this.report?.retire(this.insn, this.offset, {
      ...outcome,
      ...(outcome?.target && { target: this.#linearIp(outcome.target) }),
    });
  }

  /** One branch of a class retires. */
  #count(branchClass: number): void {
    this.increment(INTERPRETER.BRANCHES + 8 * branchClass);
  }

  /** Adds 1 to a u64 behind the state block. */
  protected increment(offset: number): void {
    const at = this.base + offset;
    this.f.i32(0).i32(0).memory('i64.load', at).i64(1).op('i64.add').memory('i64.store', at);
  }

  /** Tail-calls the handler of the record that `pushRecord` puts on the stack; this instruction is done. */
  #go(pushRecord: () => void): void {
    const { f } = this;
    const record = f.local('i32');
    pushRecord();
    f.tee(record);
    this.#pushFuel();
    this.pushFlags();
    f.get(record).memory('i32.load', RECORD.HANDLER).returnCallIndirect(this.#type);
  }

  /** What is left of the fuel when this instruction is done. */
  #pushFuel(): void {
    this.f.get(PARAMETER.FUEL);
    const ticks = this.done + this.ticks;
    if (ticks > 0) this.f.i32(ticks).op('i32.sub');
  }

  /** Back to TypeScript before the instruction has done anything. */
  leaveBefore(why: number): void {
    this.#leave(() => this.field64(RECORD.RIP), why, this.done);
  }

  #leave(pushRip: () => void, why: number, ticks: number): void {
    const { f } = this;
    f.get(PARAMETER.RECORD);
    if (this.offset > 0) f.i32(this.offset).op('i32.add');
    f.get(PARAMETER.FUEL);
    if (ticks > 0) f.i32(ticks).op('i32.sub');
    this.pushFlags();
    pushRip();
    f.i32(why).call(this.runtime.leave).op('return');
  }

  /** Leaves if there is no tick for the instruction. */
  checkHorizon(): void {
    this.f
      .get(PARAMETER.FUEL)
      .op('i32.eqz')
      .if(undefined, () => this.leaveBefore(LEAVE.HORIZON));
  }

  /**
   * Writes a handler that executes a block of `count` instructions in one go, as often as it branches back to its own
   * start. With less fuel than that, the first instruction's own handler goes on alone.
   */
  block(count: number, body: () => void): void {
    const { f } = this;
    f.loop((start) => {
      this.start = start;
      f.get(PARAMETER.FUEL)
        .i32(count)
        .op('i32.lt_u')
        .if(undefined, () => {
          f.get(PARAMETER.RECORD).get(PARAMETER.FUEL);
          this.pushFlags();
          f.get(PARAMETER.RECORD).memory('i32.load', RECORD.SINGLE).returnCallIndirect(this.#type);
        });
      this.known = undefined;
      body();
    });
    this.start = undefined;
  }

  /** After a slow path in the middle of a block: it may have overwritten code, or ended the slice. */
  splitAfterSlowPath(): void {
    const { f } = this;
    if (!this.maySlow) return;
    f.get(this.slowed()).if(undefined, () => {
      f.i32(0).set(this.slowed());
      f.get(PARAMETER.FUEL)
        .i32(this.done + 1)
        .op('i32.le_u');
      f.get(PARAMETER.RECORD).memory('i32.load', this.offset + RECORD.SIZE + RECORD.HANDLER);
      f.i32(STUB.STALE).op('i32.eq', 'i32.or');
      f.if(undefined, () => this.goNext());
    });
  }
}
