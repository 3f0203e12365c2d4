import { bits, maskOf } from '../../bits/bitfield.ts';
import { MASK32, SIZE_MASK } from '../../bits/u64.ts';
import { BLOCKING, RFLAGS } from '../control-registers.ts';
import { Fault } from '../fault.ts';
import type { Insn } from '../insn.ts';
import { STATE } from '../state/layout.ts';
import type { Segment } from '../state/state.ts';
import type { Core, SystemFunction } from './core.ts';
import { errorCode, isNull, RPL, readDescriptor } from './descriptors.ts';
import { setStack } from './legacy-stack.ts';
import { iopl, is64Bit, isLongMode, isProtected, isVirtual8086 } from './mode.ts';
import { type Descriptor, dpl, isCode, isConforming, NULL_SEGMENT, RIGHTS } from './rights.ts';
import { checkedStack, codeSegment, nullStack, realSegment } from './segments.ts';
import { returnFromTask } from './task-switch.ts';

const { CF, PF, AF, ZF, SF, TF, IF, DF, OF, NT, RF, VM, AC, VIF, VIP, ID } = RFLAGS;
/** What of RFLAGS returns and POPF load: at any level, where IOPL lets them, and at CPL 0. */
const LOADED = {
  ANYWHERE: Number(maskOf(CF, PF, AF, ZF, SF, TF, DF, OF, NT, RF, AC, ID)),
  BY_IOPL: Number(IF),
  AT_CPL0: Number(maskOf(RFLAGS.IOPL, VIF, VIP)),
} as const;
/** What POPF leaves alone, in virtual-8086 mode IOPL, too; and of what it sets, what events may follow from. */
const KEPT = Number(maskOf(VM, VIF, VIP));
const KEPT_IN_V86 = KEPT | Number(RFLAGS.IOPL);
const TRAP = Number(TF);

/** RFLAGS after loading `image` as `size` bytes, with what the privilege level lets change; the status flags always. */
export function flagsFrom({ state, cpl }: Core, image: bigint, size: number): number {
  let writable: number = LOADED.ANYWHERE;
  if (cpl <= iopl(state)) writable |= LOADED.BY_IOPL;
  if (cpl === 0) writable |= LOADED.AT_CPL0;
  if (size === 2) writable &= 0xffff;
  const loaded = Number(image & MASK32) & writable;
  return (state.get32(STATE.RFLAGS_SYSTEM) & ~writable) | loaded | Number(RFLAGS.FIXED);
}

/** IRET, IRETD, IRETQ. Vol. 2, "IRET/IRETD/IRETQ—Interrupt Return". */
export const iret: SystemFunction = (core, insn) => {
  const { state } = core;
  const unblock = core.nonRoot ? core.nonRoot.iret() : true;
  if (unblock) {
    state.set32(STATE.INTERRUPTIBILITY, state.get32(STATE.INTERRUPTIBILITY) & ~BLOCKING.NMI);
  }
  if (!isProtected(state)) returnReal(core, insn);
  else if (isVirtual8086(state)) {
    if (iopl(state) !== 3) throw new Fault('#GP', 0);
    returnReal(core, insn);
  } else if ((state.get(STATE.RFLAGS_SYSTEM) & NT) !== 0n) {
    if (isLongMode(state)) throw new Fault('#GP', 0);
    returnFromTask(core, insn);
  } else returnProtected(core, insn);
  core.keepRf = true;
  core.engine.endSlice();
};

function returnReal(core: Core, { size }: Insn): void {
  const [ip = 0n, cs = 0n, image = 0n] = core.peekStack(3, size);
  if (ip > BigInt(core.state.segment('CS').limit)) throw new Fault('#GP', 0);
  const flags = flagsFrom(core, image, size);
  const kept = isVirtual8086(core.state) ? KEPT_IN_V86 : KEPT;
  core.setStackPointer(core.stackPointer + BigInt(3 * size));
  core.state.setSegment('CS', realSegment(core, 'CS', Number(cs & 0xffffn)));
  core.nextRip = ip;
  core.rflags = BigInt((flags & ~kept) | (core.state.get32(STATE.RFLAGS_SYSTEM) & kept));
}

/** A code segment to return to, checked against the RPL of its selector. */
export function returnCode(core: Core, selector: number): Descriptor {
  const code = errorCode(selector);
  if (isNull(selector)) throw new Fault('#GP', 0);
  const descriptor = readDescriptor(core, selector);
  const { rights } = descriptor;
  const rpl = selector & RPL;
  if (!isCode(rights) || rpl < core.cpl) throw new Fault('#GP', code);
  if (isConforming(rights) ? dpl(rights) > rpl : dpl(rights) !== rpl) throw new Fault('#GP', code);
  if (isLongMode(core.state) && (rights & RIGHTS.L) !== 0 && (rights & RIGHTS.DB) !== 0) {
    throw new Fault('#GP', code);
  }
  if ((rights & RIGHTS.P) === 0) throw new Fault('#NP', code);
  return descriptor;
}

export const isLongCode = (core: Core, rights: number): boolean =>
  isLongMode(core.state) && (rights & RIGHTS.L) !== 0;

/**
 * RIP at `offset` of a code segment: as it is in 64-bit code, its low 32 bits elsewhere.
 * @throws Fault #GP(0) if it is not canonical, or outside the limit
 */
export function ripIn(core: Core, offset: bigint, { rights, limit }: Descriptor): bigint {
  const long = isLongCode(core, rights);
  const rip = long ? offset : offset & MASK32;
  if (long ? !core.isCanonical(rip) : rip > BigInt(limit)) throw new Fault('#GP', 0);
  return rip;
}

/** The stack segment that a return to `rpl` loads. */
export function returnStack(
  core: Core,
  selector: number,
  rpl: number,
  toLongCode: boolean,
): Segment {
  if (isNull(selector)) {
    if (!toLongCode || rpl === 3 || (selector & RPL) !== rpl) throw new Fault('#GP', 0);
    return nullStack(selector, rpl);
  }
  const descriptor = readDescriptor(core, selector);
  return checkedStack(core, selector, descriptor, rpl, '#GP', errorCode(selector));
}

function returnProtected(core: Core, { size }: Insn): void {
  const { state } = core;
  const from64 = is64Bit(state);
  const [offset = 0n, csSlot = 0n, image = 0n] = core.peekStack(3, size);
  if (core.cpl === 0 && size === 4 && !isLongMode(state) && (image & VM) !== 0n) {
    returnToVirtual8086(core);
    return;
  }
  const selector = Number(csSlot & 0xffffn);
  const descriptor = returnCode(core, selector);
  const rpl = selector & RPL;
  const outer = rpl > core.cpl;
  const withStack = from64 || outer;
  const [sp = 0n, ssSlot = 0n] = withStack ? core.peekStack(2, size, 3 * size) : [];
  const long = isLongCode(core, descriptor.rights);
  const ss = withStack ? returnStack(core, Number(ssSlot & 0xffffn), rpl, long) : undefined;
  const rip = ripIn(core, offset, descriptor);

  const flags = flagsFrom(core, image, size);
  const cs = codeSegment(core, selector, descriptor, rpl);
  const top = core.stackPointer + BigInt(3 * size);
  core.cpl = rpl;
  state.setSegment('CS', cs);
  core.nextRip = rip;
  core.rflags = BigInt(flags);
  if (!ss) core.setStackPointer(top);
  else returnToStack(core, ss, sp, size, long);
  if (outer) dropInnerSegments(core);
}

/** SS and the stack pointer that a return to another stack loads. */
export function returnToStack(
  core: Core,
  ss: Segment,
  sp: bigint,
  size: number,
  long: boolean,
): void {
  if (long || is64Bit(core.state)) {
    core.state.setSegment('SS', ss);
    core.state.gpr[4] = sp & SIZE_MASK[size]!;
  } else setStack(core, ss, sp);
}

/** Data segments of an inner level are not for the outer one to use. */
export function dropInnerSegments(core: Core): void {
  for (const name of ['ES', 'DS', 'FS', 'GS'] as const) {
    const { rights, selector } = core.state.segment(name);
    const inner = (rights & RIGHTS.UNUSABLE) === 0 && dpl(rights) < core.cpl;
    if (inner && !isConforming(rights)) {
      const kept = isLongMode(core.state) ? core.state.segment(name).base : 0n;
      core.state.setSegment(name, { ...NULL_SEGMENT, base: kept });
    } else if (isNull(selector) && selector !== 0) {
      core.state.setSegment(name, { ...core.state.segment(name), selector: 0 });
    }
  }
}

/** Vol. 3, "Entering Virtual-8086 Mode". */
function returnToVirtual8086(core: Core): void {
  const { state } = core;
  const [eip = 0n, cs = 0n, flags = 0n, esp = 0n, ...rest] = core.peekStack(9, 4);
  if (eip > 0xffffn) throw new Fault('#GP', 0);
  core.cpl = 3;
  core.rflags = (flags & bits(21, 0)) | RFLAGS.FIXED;
  const selectors = [rest[0], rest[1], rest[2], rest[3], rest[4], cs];
  for (const [i, name] of (['SS', 'ES', 'DS', 'FS', 'GS', 'CS'] as const).entries()) {
    state.setSegment(name, realSegment(core, name, Number((selectors[i] ?? 0n) & 0xffffn)));
  }
  state.gpr[4] = esp;
  core.nextRip = eip;
}

/** POPF. Vol. 2, "POPF/POPFD/POPFQ—Pop Stack Into EFLAGS Register". */
export const popf: SystemFunction = (core, insn) => {
  const v86 = isVirtual8086(core.state);
  if (v86 && iopl(core.state) !== 3) throw new Fault('#GP', 0);
  const image = core.load('SS', core.stackPointer, insn.size);
  const kept = v86 ? KEPT_IN_V86 : KEPT;
  const loaded = flagsFrom(core, image, insn.size);
  core.setStackPointer(core.stackPointer + BigInt(insn.size));
  // RF is cleared, whatever the image says.
  const before = core.state.get32(STATE.RFLAGS_SYSTEM);
  const flags = ((loaded & ~kept) | (before & kept)) & ~Number(RF);
  core.rflags = BigInt(flags);
  const set = flags & ~before;
  if ((set & TRAP) !== 0) core.engine.endSlice();
  else if ((set & LOADED.BY_IOPL) !== 0 && core.interruptWaits) core.engine.endSlice();
};
