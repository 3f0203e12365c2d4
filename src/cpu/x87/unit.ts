import { EXTENDED, type Float, INDEFINITE, isNan, pack, quieted, unpack } from '../float/format.ts';
import { type Environment, FLAG, type Rounding, round } from '../float/round.ts';
import type { Insn } from '../insn.ts';
import { STATE } from '../state/layout.ts';
import type { Core, SystemFunction } from '../system/core.ts';
import { checkAlignment } from './area.ts';
import { EXCEPTIONS, FSW, raisePending, requireX87, X87 } from './registers.ts';

/** Bits of significand by the precision-control field; 01B is reserved and taken for full. */
const PRECISION = [24, 64, 53, 64] as const;

/** Vol. 3, "Alignment Requirements by Data Type". */
const ALIGNMENT: Readonly<Record<number, number>> = { 2: 2, 4: 4, 8: 8, 10: 8 };

/** One x87 instruction under way: the registers, and the exceptions that it finds. */
export class Unit extends X87 {
  readonly core: Core;
  readonly insn: Insn;

  constructor(core: Core, insn: Insn) {
    super(core.state);
    this.core = core;
    this.insn = insn;
  }

  /** What results are rounded under; `control` says whether precision control applies. */
  environment(control = true): Environment {
    const { fcw } = this;
    return {
      rounding: ((fcw >> 10) & 3) as Rounding,
      precision: control ? PRECISION[(fcw >> 8) & 3]! : 64,
      wrapped: { overflow: (fcw & FLAG.OE) === 0, underflow: (fcw & FLAG.UE) === 0 },
      flags: 0,
      roundedUp: false,
    };
  }

  /** Notes exceptions. Whether they are all masked, so that the instruction has a result. */
  signal(flags: number): boolean {
    this.fsw |= flags;
    this.summarise();
    return (flags & ~this.fcw & EXCEPTIONS) === 0;
  }

  /** A register read that is empty. The masked response is the indefinite. */
  stackUnderflow(): boolean {
    this.setConditions(0, FSW.C1);
    return this.signal(FSW.IE | FSW.SF);
  }

  /** A push onto a register that is not empty. */
  stackOverflow(): boolean {
    this.setConditions(FSW.C1, FSW.C1);
    return this.signal(FSW.IE | FSW.SF);
  }

  /** Linear address of the memory operand. @throws Fault as any access, #AC(0) where alignment is checked */
  #linear(size: number, access: 'read' | 'write'): bigint {
    const { core, insn } = this;
    const memory = core.memoryOperand(insn)!;
    const linear = core.linear(memory.segment, core.offset(memory, insn), size, access);
    checkAlignment(core, linear, ALIGNMENT[size]!);
    return linear;
  }

  /** The memory operand. */
  load(size: number = this.insn.size): bigint {
    const linear = this.#linear(size, 'read');
    return this.core.memory.read(linear, size, this.core.privilege);
  }

  store(bits: bigint, size: number = this.insn.size): void {
    const linear = this.#linear(size, 'write');
    this.core.memory.write(linear, size, bits, this.core.privilege);
  }

  value(i: number): Float {
    return unpack(EXTENDED, this.get(i));
  }

  setValue(i: number, value: Float): void {
    this.set(i, pack(EXTENDED, value));
  }

  pop(): void {
    this.free(0);
    this.top++;
  }

  /** Pushes 80 bits, or the indefinite where there is no room. */
  push(bits: bigint): void {
    if (!this.isEmpty(7)) {
      if (!this.stackOverflow()) return;
      bits = pack(EXTENDED, INDEFINITE);
    } else this.setConditions(0, FSW.C1);
    this.place(bits);
  }

  /** The same without looking whether there is room. */
  place(bits: bigint): void {
    this.top--;
    this.set(0, bits);
  }

  /** Rounds a result to the register format, exceptions and C1 noted. */
  rounded(exact: Float, control = true): Float {
    const env = this.environment(control);
    const result = round(env, EXTENDED, exact);
    this.signal(env.flags);
    this.setConditions(env.roundedUp ? FSW.C1 : 0, FSW.C1);
    return result;
  }
}

/** Vol. 1, "Operating on SNaNs and QNaNs": a quiet NaN before a signaling one, then the larger significand. */
export function nanOf(a: Float, b: Float): Float {
  if (!isNan(b)) return quieted(a);
  if (!isNan(a)) return quieted(b);
  if (a.kind !== b.kind) return a.kind === 'quiet' ? a : b;
  if (a.significand !== b.significand) return quieted(a.significand > b.significand ? a : b);
  return quieted(a.negative ? b : a);
}

/** Whether the operands are numbers; otherwise what becomes of them, IE noted. Undefined: unmasked. */
export function special(unit: Unit, a: Float, b: Float = a): Float | 'numbers' | undefined {
  const operands = [a, b];
  if (operands.some(({ kind }) => kind === 'unsupported')) {
    return unit.signal(FLAG.IE) ? INDEFINITE : undefined;
  }
  if (operands.some(({ kind }) => kind === 'signaling') && !unit.signal(FLAG.IE)) return undefined;
  return operands.some(isNan) ? nanOf(a, b) : 'numbers';
}

/** Notes a denormal operand. False: unmasked, nothing is to be computed. */
export const denormalsPass = (unit: Unit, ...operands: readonly Float[]): boolean =>
  !operands.some(({ denormal }) => denormal) || unit.signal(FLAG.DE);

/** Where the last instruction stood and what it addressed; control instructions leave them alone. */
function remember(unit: Unit): void {
  const { core, insn, state } = unit;
  state.set(STATE.FIP, state.rip);
  unit.fcs = state.segment('CS').selector;
  unit.fop = insn.fop ?? 0;
  const memory = core.memoryOperand(insn);
  if (!memory) return;
  state.set(STATE.FDP, core.offset(memory, insn));
  unit.fds = state.segment(memory.segment).selector;
}

/** An instruction that computes: waits for pending exceptions first. */
export const computing =
  (body: (unit: Unit, insn: Insn) => void): SystemFunction =>
  (core, insn) => {
    requireX87(core.state);
    raisePending(core.state);
    const unit = new Unit(core, insn);
    body(unit, insn);
    remember(unit);
  };

/** An instruction that controls the unit; those with N in their name do not wait. */
export const controlling =
  (body: (unit: Unit, insn: Insn) => void, waits = false): SystemFunction =>
  (core, insn) => {
    requireX87(core.state);
    if (waits) raisePending(core.state);
    body(new Unit(core, insn), insn);
  };

/** Number of the register that operand `i` names. */
export const register = (insn: Insn, i: number): number => {
  const operand = insn.operands[i];
  return operand?.kind === 'st' ? operand.index : 0;
};
