import { slot } from '../../assist.ts';
import { ASSISTS } from '../../assists/assists.ts';
import { type Argument, type Emit, RCX, type RelOperand, type ValueSize } from '../../emit.ts';
import type { Insn } from '../../insn.ts';
import { INTERPRETER, STATE } from '../../state/layout.ts';
import { SEGMENT_INDEX } from '../../state/state.ts';
import type { FunctionWriter } from './assembler/function-writer.ts';
import { BRANCH_CLASS, classOf } from './branch-class.ts';
import { CODE_TLB } from './code-map.ts';
import { MemoryEmit } from './memory-emit.ts';
import type { HandlerMode } from './mode.ts';
import { CS_BASE } from './mode.ts';
import { RECORD, STUB } from './record.ts';
import { LOAD, PARAMETER } from './register-emit.ts';
import { LEAVE, type RuntimeIndices } from './runtime-functions.ts';
import { type Condition, push32, push64, push128, type Value } from './value.ts';

const ASSIST_NUMBERS = new Map(Object.keys(ASSISTS).map((name, i) => [name, i]));
const OFFSET_IN_PAGE = 4095;

/**
 * The emitter that writes interpreter handlers. Where control goes after an instruction is a tail call of the next
 * record's handler, or a return to TypeScript with the state in the state block.
 */
export class WasmEmit extends MemoryEmit implements Emit<Value, Condition> {
  readonly #type: number;
  /** What the current instruction takes off FUEL: 1; 0 for a stub. */
  ticks = 1;
  #over = false;

  /** @param type index of the handler type in the module */
  constructor(
    f: FunctionWriter,
    runtime: RuntimeIndices,
    base: number,
    mode: HandlerMode,
    type: number,
  ) {
    super(f, runtime, base, mode);
    this.#type = type;
  }

  /** Writes one instruction whose record stands `offset` bytes behind the handler's. */
  instruction(insn: Insn, offset: number, done: number, semantics: () => void): void {
    this.insn = insn;
    this.offset = offset;
    this.done = done;
    this.#over = false;
    semantics();
  }

  /** RIP of the instruction itself. */
  ownRip(): Value {
    this.field64(RECORD.RIP);
    return this.take(8);
  }

  /** Whether the instruction's semantics ended it: nothing is to be written behind it. */
  get over(): boolean {
    return this.#over;
  }

  // ---- plain TypeScript

  assist(name: string, results: readonly ValueSize[], args: readonly Argument<Value>[]): Value[] {
    this.#arguments(args.map(({ value }) => value));
    this.pushHandler();
    this.f.i32(this.#number(name)).call(this.runtime.assist);
    return results.map((size, i) => this.#result(size, i));
  }

  effect(name: string, args: readonly Argument<Value>[]): void {
    this.assist(name, [], args);
    const { f, base } = this;
    f.i32(0)
      .memory('i32.load', base + STATE.FLAG_KIND)
      .set(PARAMETER.KIND);
    f.i32(0)
      .memory('i64.load', base + STATE.FLAG_X)
      .set(PARAMETER.X);
    f.i32(0)
      .memory('i64.load', base + STATE.FLAG_Y)
      .set(PARAMETER.Y);
    this.known = undefined;
  }

  vector(name: string, a: Value, b: Value, imm?: Value): Value {
    this.#arguments(imm ? [a, b, imm] : [a, b]);
    this.f.i32(this.#number(name)).call(this.runtime.vector);
    return this.#result(16, 0);
  }

  #arguments(values: readonly Value[]): void {
    for (const [i, value] of values.entries()) {
      this.f.i32(0);
      push128(this.f, value);
      this.f.memory('v128.store', this.base + slot(i));
    }
  }

  #result(size: ValueSize, i: number): Value {
    this.f.i32(0).memory(LOAD[size], this.base + slot(i));
    return this.take(size);
  }

  #number(name: string): number {
    const number = ASSIST_NUMBERS.get(name);
    if (number === undefined) throw new Error(`no assist ${name}`);
    return number;
  }

  // ---- control

  jump(_operand: RelOperand, taken?: Condition): void {
    if (!taken) {
      this.#count(classOf(this.insn));
      this.goEdge();
      this.#over = true;
      return;
    }
    this.f.get(taken.local).if(undefined, () => {
      this.#count(BRANCH_CLASS.TAKEN);
      this.goEdge();
    });
    this.#count(BRANCH_CLASS.NOT_TAKEN);
  }

  jumpTo(target: Value): void {
    this.#count(classOf(this.insn));
    this.goRip(target);
    this.#over = true;
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

  /** Goes on at the record or stub of the direct edge. */
  goEdge(): void {
    this.#go(() => this.f.get(PARAMETER.RECORD).memory('i32.load', this.offset + RECORD.EDGE));
  }

  /** Goes on at an instruction pointer: through the code TLB, or back to TypeScript. */
  goRip(rip: Value): void {
    const { f, base } = this;
    const entry = f.local('i32');
    const record = f.local('i32');
    const csFlat = this.mode.codeSize === 8 || (this.mode.flat & (1 << SEGMENT_INDEX.CS)) !== 0;
    const linear = csFlat ? rip : this.#inCodeSegment(rip);
    push64(f, linear);
    f.i64(12 - CODE_TLB.ENTRY_SHIFT).op('i64.shr_u', 'i32.wrap_i64');
    f.i32((CODE_TLB.ENTRIES - 1) << CODE_TLB.ENTRY_SHIFT)
      .op('i32.and')
      .set(entry);
    push64(f, linear);
    f.i64(-4096)
      .op('i64.and')
      .i32(0)
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
      f.if(undefined, () => this.#go(() => f.get(record)));
    });
    this.#leave(() => push64(f, rip), LEAVE.MISS, this.done + this.ticks);
  }

  #inCodeSegment(ip: Value): Value {
    this.f.i32(0).memory('i32.load', this.base + CS_BASE);
    push32(this.f, ip);
    this.f.op('i32.add');
    return this.take(4);
  }

  /** One branch of a class retires. */
  #count(branchClass: number): void {
    this.#increment(INTERPRETER.BRANCHES + 8 * branchClass);
  }

  #increment(offset: number): void {
    const at = this.base + offset;
    this.f.i32(0).i32(0).memory('i64.load', at).i64(1).op('i64.add').memory('i64.store', at);
  }

  /** Tail-calls the handler of the record that `pushRecord` puts on the stack; this instruction is done. */
  #go(pushRecord: () => void): void {
    const { f } = this;
    const record = f.local('i32');
    pushRecord();
    f.tee(record)
      .get(PARAMETER.FUEL)
      .i32(this.done + this.ticks)
      .op('i32.sub');
    this.pushFlags();
    f.get(record).memory('i32.load', RECORD.HANDLER).returnCallIndirect(this.#type);
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

  repeat(addressSize: 2 | 4 | 8, body: () => void, again?: () => Condition): void {
    const { f } = this;
    this.known = undefined;
    f.block((finished) => {
      f.loop((next) => {
        f.get(this.isZero(addressSize, this.reg(addressSize, RCX)).local).branchIf(finished);
        body();
        const left = this.bin(
          'sub',
          addressSize,
          this.reg(addressSize, RCX),
          this.const(addressSize, 1),
        );
        this.setReg(addressSize, RCX, left);
        f.get(this.isZero(addressSize, left).local).branchIf(finished);
        if (again) f.get(this.not(again()).local).branchIf(finished);
        this.#increment(INTERPRETER.ITERATIONS);
        f.get(PARAMETER.FUEL).i32(1).op('i32.sub').set(PARAMETER.FUEL);
        // An iteration may have overwritten the instruction.
        f.get(this.slowed()).if(undefined, () => {
          f.i32(0).set(this.slowed());
          f.get(PARAMETER.RECORD).memory('i32.load', RECORD.HANDLER).i32(STUB.STALE).op('i32.eq');
          f.if(undefined, () => this.leaveBefore(LEAVE.MISS));
        });
        f.get(PARAMETER.FUEL).branchIf(next);
        this.leaveBefore(LEAVE.HORIZON);
      });
    });
    this.known = undefined;
  }

  system(): void {
    this.leaveBefore(LEAVE.SYSTEM);
    this.#over = true;
  }
}
