import { slot } from '../../assist.ts';
import { ASSISTS } from '../../assists/assists.ts';
import { type Argument, type Emit, RCX, type ValueSize } from '../../emit.ts';
import { INTERPRETER, STATE } from '../../state/layout.ts';
import { ControlEmit } from './control-emit.ts';
import { RECORD, STUB } from './record.ts';
import { LOAD, PARAMETER } from './register-emit.ts';
import { LEAVE } from './runtime-functions.ts';
import { SIMD_FUNCTIONS, SIMD_MASKS } from './simd-functions.ts';
import { type Condition, push32, push128, type Value } from './value.ts';

const ASSIST_NUMBERS = new Map(Object.keys(ASSISTS).map((name, i) => [name, i]));

/** The emitter that writes interpreter handlers: plain TypeScript and whole instructions, on top of the rest. */
export class WasmEmit extends ControlEmit implements Emit<Value, Condition> {
  // ---- plain TypeScript

  assist(name: string, results: readonly ValueSize[], args: readonly Argument<Value>[]): Value[] {
    this.#arguments(args.map(({ value }) => value));
    this.pushHandler();
    this.f.i32(this.#number(name)).call(this.runtime.assist);
    return results.map((size, i) => this.#result(size, i));
  }

  effect(name: string, args: readonly Argument<Value>[]): void {
    this.assist(name, [], args);
    this.#reloadFlags();
  }

  /** TypeScript may have changed the flags in the state block. */
  #reloadFlags(): void {
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
    const { f } = this;
    const own = SIMD_FUNCTIONS[name] ?? SIMD_MASKS[name];
    if (own) {
      const immediate = imm ?? this.const(1, 0);
      own({
        f,
        a: () => push128(f, a),
        b: () => push128(f, b),
        imm: () => push32(f, immediate),
      });
      return this.take(name in SIMD_MASKS ? 4 : 16);
    }
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

  repeat(addressSize: 2 | 4 | 8, body: () => void, again?: () => Condition): void {
    const { f } = this;
    this.known = undefined;
    f.block((finished) => {
      f.loop((next) => {
        f.get(this.isZero(addressSize, this.reg(addressSize, RCX)).local).branchIf(finished);
        this.armed?.again();
        this.report?.again();
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
        this.increment(INTERPRETER.ITERATIONS);
        this.report?.iterated(this.offset);
        f.get(PARAMETER.FUEL).i32(1).op('i32.sub').set(PARAMETER.FUEL);
        // An iteration may have overwritten the instruction.
        f.get(this.slowed()).if(undefined, () => {
          f.i32(0).set(this.slowed());
          f.get(PARAMETER.RECORD).memory('i32.load', RECORD.HANDLER).i32(STUB.STALE).op('i32.eq');
          f.if(undefined, () => this.leaveBefore(LEAVE.MISS));
        });
        f.get(PARAMETER.FUEL).branchIf(next);
        this.leaveBefore(LEAVE.REPEATING);
      });
    });
    this.known = undefined;
  }

  system(): void {
    this.leaveBefore(LEAVE.SYSTEM);
    this.end();
  }

  /** Has TypeScript execute the system instruction of the record, its tick included, and goes on behind it if it may. */
  callSystem(): void {
    const { f, base } = this;
    const why = f.local('i32');
    this.pushHandler();
    f.call(this.runtime.system).tee(why);
    f.if(undefined, () => f.get(why).op('return'));
    f.i32(0)
      .memory('i32.load', base + STATE.FUEL)
      .set(PARAMETER.FUEL);
    this.#reloadFlags();
    this.goNext();
  }
}
