import type { ImmOperand, IntegerSize, RelOperand, ValueSize } from '../../emit.ts';
import { type Exception, VECTORS } from '../../fault.ts';
import type { Memory } from '../../insn.ts';
import type { ModelCode } from '../../models/model-code.ts';
import { INTERPRETER, SEGMENT, type SegmentName, STATE } from '../../state/layout.ts';
import { SEGMENT_INDEX } from '../../state/state.ts';
import { ArmedTotals } from './armed-totals.ts';
import type { FunctionWriter } from './assembler/function-writer.ts';
import { DATA_TLB } from './data-tlb.ts';
import { FlagEmit } from './flag-emit.ts';
import type { HandlerMode } from './mode.ts';
import { RECORD } from './record.ts';
import { LOAD, PARAMETER, STORE } from './register-emit.ts';
import { Report } from './report.ts';
import { ACCESS, type RuntimeIndices } from './runtime-functions.ts';
import { SEGMENT_LIMITS } from './segment-limits.ts';
import { type Condition, push, push32, push64, push128, type Value } from './value.ts';

/** Where a read-modify-write found its operand. */
interface Place {
  readonly host: number;
  readonly linear: Value;
  readonly size: ValueSize;
}

/**
 * Memory of the emitter: effective and linear addresses, the inline check of the software TLB, and calls of the
 * slow paths, which throw through the handler. They get the handler's parameters as they were before the
 * instruction and leave them in the state block, so that a fault finds everything in place.
 */
export class MemoryEmit extends FlagEmit {
  protected readonly mode: HandlerMode;
  /** The dynamic totals, where the mode is armed. */
  protected readonly armed: ArmedTotals | undefined;
  /** What an observer is told, where the mode has one. */
  protected readonly report: Report | undefined;
  /** Instructions of this handler that are done when the current one starts: ticks to be taken off FUEL. */
  protected done = 0;
  #place: Place | undefined;
  #slowed: number | undefined;
  /** Whether the current instruction has a slow path. */
  protected maySlow = false;

  constructor(
    f: FunctionWriter,
    runtime: RuntimeIndices,
    base: number,
    mode: HandlerMode,
    model: ModelCode | undefined,
  ) {
    super(f, runtime, base);
    this.mode = mode;
    this.armed = mode.armed ? new ArmedTotals(f, base) : undefined;
    this.report = model && new Report(f, model);
  }

  #accessed(kind: 'load' | 'store', linear: Value, size: number): void {
    this.armed?.accessed(kind, linear, size);
    this.report?.accessed(kind, linear, size);
  }

  get stackSize(): 2 | 4 | 8 {
    return this.mode.stackSize;
  }

  get virtual8086(): boolean {
    return this.mode.virtual8086;
  }

  // ---- what the record holds

  imm(size: IntegerSize, operand: ImmOperand): Value {
    const first = this.insn.operands.find(({ kind }) => kind === 'imm') === operand;
    this.field64(first ? RECORD.IMMEDIATE : RECORD.DISPLACEMENT);
    return this.low(size, this.take(8));
  }

  next(): Value {
    if (!this.insn.operands.some(({ kind }) => kind === 'imm')) this.field64(RECORD.IMMEDIATE);
    else {
      this.field64(RECORD.RIP);
      this.f
        .get(PARAMETER.RECORD)
        .memory('i64.load32_u', this.offset + RECORD.LENGTH)
        .op('i64.add');
      if (this.mode.codeSize < 8) this.f.i64(0xffff_ffff).op('i64.and');
    }
    return this.take(8);
  }

  /** Direct branches with a target that would fault are no records (block-decoder.ts). */
  relative(_operand: RelOperand): Value {
    this.field64(RECORD.DISPLACEMENT);
    return { ...this.take(8), checked: true };
  }

  address(operand: Memory): Value {
    const { f } = this;
    const size = this.insn.addressSize;
    // MOVS and CMPS have two, at the registers that the mnemonic implies.
    const implied = this.insn.operands.filter(({ kind }) => kind === 'mem').length > 1;
    if (implied) return this.reg(size, operand.base);
    this.field64(RECORD.DISPLACEMENT);
    if (operand.base >= 0 && operand.base < 16) {
      this.#part(RECORD.BASE);
      f.op('i64.add');
    }
    if (operand.index >= 0) {
      this.#part(RECORD.INDEX);
      if (operand.scale > 0) f.i64(operand.scale).op('i64.shl');
      f.op('i64.add');
    }
    if (size === 8) return this.take(8);
    f.op('i32.wrap_i64');
    if (size === 2) f.i32(0xffff).op('i32.and');
    return this.take(size);
  }

  #part(field: number): void {
    this.f
      .get(PARAMETER.RECORD)
      .memory('i32.load16_u', this.offset + field)
      .memory('i64.load', this.base);
  }

  /** Puts an 8-byte field of the record on the stack. */
  protected field64(field: number): void {
    this.f.get(PARAMETER.RECORD).memory('i64.load', this.offset + field);
  }

  // ---- traps

  load(size: ValueSize, segment: SegmentName, offset: Value, aligned?: boolean): Value {
    const { f } = this;
    const linear = this.#linear(size, segment, offset, false);
    const entry = this.#lookup(linear, size, DATA_TLB.READ_TAG, aligned);
    const type = size === 16 ? 'v128' : size === 8 ? 'i64' : 'i32';
    f.if(
      type,
      () => {
        this.#host(linear, entry);
        f.memory(LOAD[size], 0);
      },
      () => {
        this.#slow(linear, size, segment, aligned);
        f.call(this.runtime.load);
        this.reloadFuel();
        if (size === 16)
          f.op('drop')
            .i32(0)
            .memory('v128.load', this.base + INTERPRETER.OPERAND);
        else if (size < 8) f.op('i32.wrap_i64');
      },
    );
    const value = this.take(size);
    this.#accessed('load', linear, size);
    return value;
  }

  store(
    size: ValueSize,
    segment: SegmentName,
    offset: Value,
    value: Value,
    aligned?: boolean,
  ): void {
    const { f } = this;
    const linear = this.#linear(size, segment, offset, true);
    const entry = this.#lookup(linear, size, DATA_TLB.WRITE_TAG, aligned);
    f.if(
      undefined,
      () => {
        this.#host(linear, entry);
        push(f, size, value);
        f.memory(STORE[size], 0);
      },
      () => {
        if (size === 16) {
          f.i32(0);
          push128(f, value);
          f.memory('v128.store', this.base + INTERPRETER.OPERAND);
        }
        this.#slow(linear, size, segment, aligned);
        if (size === 16) f.i64(0);
        else push64(f, value);
        f.call(this.runtime.store);
        this.reloadFuel();
      },
    );
    this.#accessed('store', linear, size);
  }

  loadForWrite(size: ValueSize, segment: SegmentName, offset: Value, aligned?: boolean): Value {
    const { f } = this;
    const linear = this.#linear(size, segment, offset, true);
    const entry = this.#lookup(linear, size, DATA_TLB.WRITE_TAG, aligned);
    const host = f.local('i32');
    f.if(
      'i32',
      () => this.#host(linear, entry),
      () => {
        this.#slow(linear, size, segment, aligned);
        f.call(this.runtime.update);
        this.reloadFuel();
      },
    );
    f.tee(host).memory(LOAD[size], 0);
    this.#place = { host, linear, size };
    const value = this.take(size);
    this.#accessed('load', linear, size);
    return value;
  }

  storeBack(size: ValueSize, value: Value): void {
    const { f } = this;
    const { host, linear } = this.#place!;
    f.get(host);
    push(f, size, value);
    f.memory(STORE[size], 0);
    // To the model it is the line just loaded again, which nothing comes of.
    this.armed?.accessed('store', linear, size);
    f.get(host)
      .i32(this.base + INTERPRETER.OPERAND)
      .op('i32.eq');
    f.if(undefined, () => {
      f.call(this.runtime.storeBack);
      this.reloadFuel();
    });
  }

  probe(bytes: number, segment: SegmentName, offset: Value): void {
    const linear = this.#linear(bytes, segment, offset, true);
    this.#slow(linear, bytes, segment);
    this.f.call(this.runtime.probe);
  }

  trapIf(c: Condition, exception: Exception, code?: number): void {
    this.f.get(c.local).if(undefined, () => {
      this.pushHandler();
      this.f
        .i32(VECTORS[exception])
        .i32(code ?? -1)
        .call(this.runtime.trap);
    });
  }

  checkTarget(target: Value, taken?: Condition): void {
    if (target.checked) return;
    const { f } = this;
    if (this.mode.codeSize === 8) {
      const unused = 64 - this.mode.linearWidth;
      push64(f, target);
      f.i64(unused).op('i64.shl').i64(unused).op('i64.shr_s');
      push64(f, target);
      f.op('i64.ne');
    } else {
      push32(f, target);
      const limit = STATE.SEGMENT + SEGMENT_INDEX.CS * SEGMENT.SIZE + SEGMENT.LIMIT;
      f.i32(0)
        .memory('i32.load', this.base + limit)
        .op('i32.gt_u');
    }
    if (taken) f.get(taken.local).op('i32.and');
    this.trapIf(this.condition(), '#GP', 0);
  }

  /** Puts the parameters of a slow path on the stack: this instruction's record, and the state before it. */
  protected pushHandler(): void {
    const { f } = this;
    f.get(PARAMETER.RECORD);
    if (this.offset > 0) f.i32(this.offset).op('i32.add');
    f.get(PARAMETER.FUEL);
    if (this.done > 0) f.i32(this.done).op('i32.sub');
    this.pushFlags();
  }

  /** After a slow path: it may have asked for the slice to end after this instruction. */
  protected reloadFuel(): void {
    const { f } = this;
    f.i32(0).memory('i32.load', this.base + STATE.FUEL);
    if (this.done > 0) f.i32(this.done).op('i32.add');
    f.set(PARAMETER.FUEL);
    f.i32(1).set(this.slowed());
    this.maySlow = true;
  }

  /** A local that is 1 once a slow path was taken, which may have ended the slice or overwritten code. */
  protected slowed(): number {
    this.#slowed ??= this.f.local('i32');
    return this.#slowed;
  }

  #slow(linear: Value, size: number, segment: SegmentName, aligned = false): void {
    this.pushHandler();
    push64(this.f, linear);
    const flag = aligned ? ACCESS.ALIGNED : 0;
    this.f.i32(size | (SEGMENT_INDEX[segment] << ACCESS.SEGMENT_SHIFT) | flag);
  }

  /** The linear address of an access. Traps where a segment that is not flat does not allow it. */
  #linear(size: number, segment: SegmentName, offset: Value, write: boolean): Value {
    const { f, base } = this;
    const index = SEGMENT_INDEX[segment];
    if (this.mode.codeSize === 8) {
      if (segment !== 'FS' && segment !== 'GS') return this.#wide(offset);
      push64(f, offset);
      f.i32(0).memory('i64.load', base + STATE.SEGMENT + index * SEGMENT.SIZE + SEGMENT.BASE);
      f.op('i64.add');
      return this.take(8);
    }
    if (segment !== 'CS' && (this.mode.flat & (1 << index)) !== 0) return this.#wide(offset);
    const limits = base + INTERPRETER.SEGMENTS + index * SEGMENT_LIMITS.SIZE;
    const [low, high] = write
      ? [SEGMENT_LIMITS.WRITE_LOW, SEGMENT_LIMITS.WRITE_HIGH]
      : [SEGMENT_LIMITS.READ_LOW, SEGMENT_LIMITS.READ_HIGH];
    push64(f, offset);
    f.i32(0)
      .memory('i64.load32_u', limits + low)
      .op('i64.lt_u');
    push64(f, offset);
    f.i64(size - 1)
      .op('i64.add')
      .i32(0)
      .memory('i64.load', limits + high)
      .op('i64.gt_u', 'i32.or');
    this.trapIf(this.condition(), segment === 'SS' ? '#SS' : '#GP', 0);
    push32(f, offset);
    f.i32(0)
      .memory('i32.load', limits + SEGMENT_LIMITS.BASE)
      .op('i32.add', 'i64.extend_i32_u');
    return this.take(8);
  }

  /** The value in an i64 local. */
  #wide(value: Value): Value {
    if (value.type === 'i64' && value.local >= 0) return value;
    push64(this.f, value);
    return this.take(8);
  }

  /**
   * Leaves on the stack whether the TLB has a page under `tag`, and returns the local with its entry's address.
   * An access that crosses the page's end compares with the next page's address and so always misses, as one does
   * that is not aligned where it must be.
   */
  #lookup(linear: Value, size: number, tag: number, aligned = false): number {
    const { f } = this;
    const entry = f.local('i32');
    f.get(linear.local)
      .i64(12 - DATA_TLB.ENTRY_SHIFT)
      .op('i64.shr_u', 'i32.wrap_i64');
    f.i32((DATA_TLB.ENTRIES - 1) << DATA_TLB.ENTRY_SHIFT).op('i32.and');
    f.i32(0)
      .memory('i32.load', this.base + STATE.TLB_BASE)
      .op('i32.add')
      .set(entry);
    f.get(linear.local);
    if (size > 1 && !aligned) f.i64(size - 1).op('i64.add');
    f.i64(aligned ? -4096 | (size - 1) : -4096).op('i64.and');
    f.get(entry).memory('i64.load', tag).op('i64.eq');
    return entry;
  }

  #host(linear: Value, entry: number): void {
    this.f
      .get(linear.local)
      .op('i32.wrap_i64')
      .get(entry)
      .memory('i32.load', DATA_TLB.ADDEND)
      .op('i32.add');
  }
}
