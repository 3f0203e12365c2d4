import { MASK64, SIZE_MASK } from '../../bits/u64.ts';
import { Fault } from '../fault.ts';
import type { Insn } from '../insn.ts';
import type { Core, SystemFunction } from './core.ts';
import { pushLong } from './delivery.ts';
import { errorCode, isNull, RPL, readDescriptor, readSystemDescriptor } from './descriptors.ts';
import {
  dropInnerSegments,
  isLongCode,
  returnCode,
  returnStack,
  returnToStack,
  ripIn,
} from './interrupt-return.ts';
import { innerStack } from './legacy-delivery.ts';
import { pushLegacy, setStack } from './legacy-stack.ts';
import { isLongMode, isRealLike } from './mode.ts';
import {
  type Descriptor,
  dpl,
  isCode,
  isConforming,
  RIGHTS,
  SYSTEM_TYPE,
  systemType,
} from './rights.ts';
import { farPointer } from './segment-moves.ts';
import { codeSegment, nullStack, realSegment } from './segments.ts';
import { longStackFromTss } from './task-state.ts';
import { taskSwitch } from './task-switch.ts';

type Source = 'CALL' | 'JMP';

/** Far JMP. */
export const jmpFar: SystemFunction = (core, insn) => transfer(core, insn, 'JMP');
/** Far CALL. */
export const callFar: SystemFunction = (core, insn) => transfer(core, insn, 'CALL');

/** Vol. 2, "JMP—Jump", "CALL—Call Procedure"; far. */
function transfer(core: Core, insn: Insn, source: Source): void {
  const { selector, offset } = farPointer(core, insn, 0);
  const target = offset & SIZE_MASK[insn.size]!;
  if (isRealLike(core.state)) {
    transferReal(core, insn, source, selector, target);
    return;
  }
  if (isNull(selector)) throw new Fault('#GP', 0);
  const descriptor = readDescriptor(core, selector);
  if (isCode(descriptor.rights)) {
    toCode(core, insn, source, selector, descriptor, target);
    return;
  }
  switch (systemType(descriptor.rights)) {
    case SYSTEM_TYPE.CALL_GATE:
    case SYSTEM_TYPE.CALL_GATE16:
      throughGate(core, source, selector);
      return;
    case SYSTEM_TYPE.TASK_GATE:
    case SYSTEM_TYPE.TSS:
    case SYSTEM_TYPE.TSS16:
      if (!isLongMode(core.state)) {
        toTask(core, insn, source, selector, descriptor);
        return;
      }
  }
  throw new Fault('#GP', errorCode(selector));
}

function transferReal(
  core: Core,
  insn: Insn,
  source: Source,
  selector: number,
  target: bigint,
): void {
  const { state } = core;
  if (target > BigInt(state.segment('CS').limit)) throw new Fault('#GP', 0);
  if (source === 'CALL') {
    core.push([BigInt(state.segment('CS').selector), core.nextRip], insn.size);
  }
  state.setSegment('CS', realSegment(core, 'CS', selector));
  core.nextRip = target;
}

/** Whether code at the current level may reach a code segment directly. @throws Fault #GP, #NP with its selector */
function checkDirect(core: Core, selector: number, { rights }: Descriptor): void {
  const code = errorCode(selector);
  const level = dpl(rights);
  if (isLongMode(core.state) && (rights & RIGHTS.L) !== 0 && (rights & RIGHTS.DB) !== 0) {
    throw new Fault('#GP', code);
  }
  const allowed = isConforming(rights)
    ? level <= core.cpl
    : (selector & RPL) <= core.cpl && level === core.cpl;
  if (!allowed) throw new Fault('#GP', code);
  if ((rights & RIGHTS.P) === 0) throw new Fault('#NP', code);
}

function toCode(
  core: Core,
  insn: Insn,
  source: Source,
  selector: number,
  descriptor: Descriptor,
  target: bigint,
): void {
  checkDirect(core, selector, descriptor);
  const rip = ripIn(core, target, descriptor);
  if (source === 'CALL') {
    core.push([BigInt(core.state.segment('CS').selector), core.nextRip], insn.size);
  }
  core.state.setSegment('CS', codeSegment(core, selector, descriptor, core.cpl));
  core.nextRip = rip;
}

function toTask(
  core: Core,
  insn: Insn,
  source: Source,
  selector: number,
  { rights, raw }: Descriptor,
): void {
  const code = errorCode(selector);
  if (dpl(rights) < core.cpl || dpl(rights) < (selector & RPL)) throw new Fault('#GP', code);
  const gate = systemType(rights) === SYSTEM_TYPE.TASK_GATE;
  if (gate && (rights & RIGHTS.P) === 0) throw new Fault('#NP', code);
  const tss = gate ? Number((raw >> 16n) & 0xffffn) : selector;
  taskSwitch(core, tss, source, insn.length);
}

/** Vol. 3, "Accessing a Code Segment Through a Call Gate". */
function throughGate(core: Core, source: Source, selector: number): void {
  const code = errorCode(selector);
  const long = isLongMode(core.state);
  const gate = readSystemDescriptor(core, selector);
  const { raw, rights, high } = gate;
  const wide = systemType(rights) === SYSTEM_TYPE.CALL_GATE;
  if (long && !wide) throw new Fault('#GP', code);
  if (dpl(rights) < core.cpl || dpl(rights) < (selector & RPL)) throw new Fault('#GP', code);
  if ((rights & RIGHTS.P) === 0) throw new Fault('#NP', code);

  const target = Number((raw >> 16n) & 0xffffn);
  if (isNull(target)) throw new Fault('#GP', 0);
  const named = errorCode(target);
  const descriptor = readDescriptor(core, target);
  const level = dpl(descriptor.rights);
  if (!isCode(descriptor.rights) || level > core.cpl) throw new Fault('#GP', named);
  if (long && (descriptor.rights & (RIGHTS.L | RIGHTS.DB)) !== RIGHTS.L) {
    throw new Fault('#GP', named);
  }
  const conforming = isConforming(descriptor.rights);
  if (source === 'JMP' && !conforming && level !== core.cpl) throw new Fault('#GP', named);
  if ((descriptor.rights & RIGHTS.P) === 0) throw new Fault('#NP', named);

  let offset = raw & 0xffffn;
  if (wide) offset |= (raw >> 32n) & 0xffff_0000n;
  if (long) offset |= (high & 0xffff_ffffn) << 32n;
  const inner = source === 'CALL' && !conforming && level < core.cpl;
  const size = long ? 8 : wide ? 4 : 2;
  if (inner) {
    callInner(core, { target, descriptor, level, size, raw, offset });
    return;
  }
  const rip = ripIn(core, offset, descriptor);
  if (source === 'CALL') {
    core.push([BigInt(core.state.segment('CS').selector), core.nextRip], size);
  }
  core.state.setSegment('CS', codeSegment(core, target, descriptor, core.cpl));
  core.nextRip = rip;
}

interface InnerCall {
  readonly target: number;
  readonly descriptor: Descriptor;
  readonly level: number;
  readonly size: 2 | 4 | 8;
  readonly raw: bigint;
  readonly offset: bigint;
}

/** A call to an inner level: the stack is the TSS's, parameters are copied outside IA-32e mode. */
function callInner(core: Core, call: InnerCall): void {
  const { target, descriptor, level, size, raw, offset } = call;
  const { state } = core;
  const link = [BigInt(state.segment('CS').selector), core.nextRip];
  const oldStack = [BigInt(state.segment('SS').selector), core.stackPointer];
  if (size === 8) {
    const top = longStackFromTss(core, { cpl: level });
    const rip = ripIn(core, offset, descriptor);
    pushLong(core, top, [oldStack[0]!, state.gpr[4]!, ...link], level);
    const cs = codeSegment(core, target, descriptor, level);
    core.cpl = level;
    state.setSegment('CS', cs);
    state.setSegment('SS', nullStack(level, level));
    state.gpr[4] = (top - 32n) & MASK64;
    core.nextRip = rip;
    return;
  }
  const stack = innerStack(core, level);
  const rip = ripIn(core, offset, descriptor);
  const count = Number((raw >> 32n) & 31n);
  const parameters = core.peekStack(count, size).reverse();
  const sp = pushLegacy(core, stack, size, [...oldStack, ...parameters, ...link]);
  const cs = codeSegment(core, target, descriptor, level);
  core.cpl = level;
  state.setSegment('CS', cs);
  setStack(core, stack.ss, sp);
  core.nextRip = rip;
}

/** Far RET, with the bytes of parameters that it releases. Vol. 2, "RET—Return From Procedure"; far. */
export const retFar: SystemFunction = (core, insn) => {
  const { state } = core;
  const { size } = insn;
  const [first] = insn.operands;
  const released = first?.kind === 'imm' ? Number(first.value & 0xffffn) : 0;
  const [offset = 0n, csSlot = 0n] = core.peekStack(2, size);
  const selector = Number(csSlot & 0xffffn);
  const top = core.stackPointer + BigInt(2 * size + released);
  if (isRealLike(state)) {
    if (offset > BigInt(state.segment('CS').limit)) throw new Fault('#GP', 0);
    core.setStackPointer(top);
    state.setSegment('CS', realSegment(core, 'CS', selector));
    core.nextRip = offset;
    return;
  }
  const descriptor = returnCode(core, selector);
  const rpl = selector & RPL;
  const outer = rpl > core.cpl;
  const rip = ripIn(core, offset, descriptor);
  if (!outer) {
    const cs = codeSegment(core, selector, descriptor, rpl);
    core.setStackPointer(top);
    state.setSegment('CS', cs);
    core.nextRip = rip;
    return;
  }
  const [sp = 0n, ssSlot = 0n] = core.peekStack(2, size, 2 * size + released);
  const long = isLongCode(core, descriptor.rights);
  const ss = returnStack(core, Number(ssSlot & 0xffffn), rpl, long);
  const cs = codeSegment(core, selector, descriptor, rpl);
  core.cpl = rpl;
  state.setSegment('CS', cs);
  core.nextRip = rip;
  returnToStack(core, ss, sp, size, long);
  core.setStackPointer(core.stackPointer + BigInt(released));
  dropInnerSegments(core);
};
