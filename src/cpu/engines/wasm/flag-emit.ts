import { CC, type FlagKind, type IntegerSize } from '../../emit.ts';
import { FLAG_CARRY, flagKind } from '../../flags.ts';
import { ConditionWriter } from './condition.ts';
import { PARAMETER, RegisterEmit } from './register-emit.ts';
import type { RuntimeFunction } from './runtime-functions.ts';
import { type Condition, push64, type Value } from './value.ts';

const LOCALS = { kind: PARAMETER.KIND, x: PARAMETER.X, y: PARAMETER.Y };

/**
 * Status flags of the emitter. They travel from handler to handler as parameters; what last set them is known
 * when the same handler did it, which is what makes a fused compare and branch one comparison.
 */
export class FlagEmit extends RegisterEmit {
  protected known: { kind: FlagKind; size: IntegerSize; carry: boolean } | undefined;

  cond(code: number): Condition {
    if (this.known) {
      new ConditionWriter(this.f, { ...this.known, locals: LOCALS }).condition(code);
    } else if (code >> 1 === CC.B >> 1) this.#carry(code);
    else this.#call(code);
    return this.condition();
  }

  /** CF is what INC and DEC ask for: after LOGIC, INC and DEC, whose kinds are neighbours, it stands in the kind. */
  #carry(code: number): void {
    const { f } = this;
    f.get(PARAMETER.KIND).i32(0xff).op('i32.and').i32(flagKind('LOGIC', 1)).op('i32.sub');
    f.i32(flagKind('RESULT', 1) - flagKind('LOGIC', 1)).op('i32.lt_u');
    f.if(
      'i32',
      () => {
        f.get(PARAMETER.KIND).i32(Math.log2(FLAG_CARRY)).op('i32.shr_u');
        if ((code & 1) === 1) f.op('i32.eqz');
      },
      () => this.#call(code),
    );
  }

  #call(code: number): void {
    this.pushFlags();
    this.f.call(this.runtime[`condition${code >> 1}` as RuntimeFunction]);
    if ((code & 1) === 1) this.f.op('i32.eqz');
  }

  statusFlags(): Value {
    if (this.known) {
      new ConditionWriter(this.f, { ...this.known, locals: LOCALS }).statusFlags();
    } else {
      this.pushFlags();
      this.f.call(this.runtime.statusFlags);
    }
    return this.take(4);
  }

  flags(kind: FlagKind, size: IntegerSize, x: Value, y?: Value, carry?: Condition): void {
    this.#set(kind, size, x, y, carry);
    this.known = { kind, size, carry: carry !== undefined };
  }

  flagsIf(c: Condition, kind: FlagKind, size: IntegerSize, x: Value, y?: Value): void {
    this.f.get(c.local).if(undefined, () => this.#set(kind, size, x, y));
    this.known = undefined;
  }

  /** Puts FLAG_KIND, FLAG_X and FLAG_Y on the stack. */
  protected pushFlags(): void {
    this.f.get(PARAMETER.KIND).get(PARAMETER.X).get(PARAMETER.Y);
  }

  #set(kind: FlagKind, size: IntegerSize, x: Value, y?: Value, carry?: Condition): void {
    const { f } = this;
    f.i32(flagKind(kind, size));
    if (carry) f.get(carry.local).i32(Math.log2(FLAG_CARRY)).op('i32.shl', 'i32.or');
    f.set(PARAMETER.KIND);
    push64(f, x);
    f.set(PARAMETER.X);
    if (y) push64(f, y);
    else f.i64(0);
    f.set(PARAMETER.Y);
  }
}
