import { BLOCKING } from '../control-registers.ts';
import { Fault } from '../fault.ts';
import { type SegmentName, STATE } from '../state/layout.ts';
import type { Segment } from '../state/state.ts';
import type { Core } from './core.ts';
import { errorCode, isNull, markAccessed, RPL, readDescriptor } from './descriptors.ts';
import { is64Bit, isProtected, isVirtual8086 } from './mode.ts';
import {
  type Descriptor,
  dpl,
  isConforming,
  isReadable,
  isWritableData,
  NULL_SEGMENT,
  RIGHTS,
} from './rights.ts';

export type DataSegment = 'ES' | 'SS' | 'DS' | 'FS' | 'GS';

const segmentOf = (selector: number, { base, limit, rights }: Descriptor): Segment => ({
  selector,
  base,
  limit,
  rights,
});

/** What a segment register holds after a load in real-address or virtual-8086 mode. */
export function realSegment(core: Core, name: SegmentName, selector: number): Segment {
  const base = BigInt(selector << 4);
  if (isVirtual8086(core.state)) return { selector, base, limit: 0xffff, rights: 0xf3 };
  // The limit and most rights stay what protected mode left: "unreal mode".
  const { limit, rights } = core.state.segment(name);
  return { selector, base, limit, rights: (rights & ~RIGHTS.UNUSABLE) | RIGHTS.P | RIGHTS.S };
}

/**
 * What loading `selector` into a data-segment register gives, every check made, the accessed bit set.
 * @throws Fault #GP, #SS, #NP with the selector, #PF
 */
export function dataSegment(core: Core, name: DataSegment, selector: number): Segment {
  if (!isProtected(core.state) || isVirtual8086(core.state)) {
    return realSegment(core, name, selector);
  }
  return name === 'SS' ? stackSegment(core, selector) : plainSegment(core, selector);
}

function plainSegment(core: Core, selector: number): Segment {
  if (isNull(selector)) return { ...NULL_SEGMENT, selector };
  const code = errorCode(selector);
  const descriptor = readDescriptor(core, selector);
  const { rights } = descriptor;
  if (!isReadable(rights)) throw new Fault('#GP', code);
  if (!isConforming(rights) && ((selector & RPL) > dpl(rights) || core.cpl > dpl(rights))) {
    throw new Fault('#GP', code);
  }
  if ((rights & RIGHTS.P) === 0) throw new Fault('#NP', code);
  return { ...segmentOf(selector, descriptor), rights: markAccessed(core, selector, rights) };
}

function stackSegment(core: Core, selector: number): Segment {
  const code = errorCode(selector);
  if (isNull(selector)) {
    if (!is64Bit(core.state) || core.cpl === 3 || (selector & RPL) !== core.cpl) {
      throw new Fault('#GP', 0);
    }
    return nullStack(selector, core.cpl);
  }
  return checkedStack(core, selector, readDescriptor(core, selector), core.cpl, '#GP', code);
}

/** SS after a null selector in 64-bit mode: unusable, and its DPL still tells the CPL. */
export const nullStack = (selector: number, cpl: number): Segment => ({
  ...NULL_SEGMENT,
  selector,
  rights: RIGHTS.UNUSABLE | (cpl << 5),
});

/** A stack segment for code at `cpl`. `exception` is #GP for loads and returns, #TS for stacks out of a TSS. */
export function checkedStack(
  core: Core,
  selector: number,
  descriptor: Descriptor,
  cpl: number,
  exception: '#GP' | '#TS',
  code: number,
): Segment {
  const { rights } = descriptor;
  if ((selector & RPL) !== cpl || dpl(rights) !== cpl || !isWritableData(rights)) {
    throw new Fault(exception, code);
  }
  if ((rights & RIGHTS.P) === 0) throw new Fault('#SS', code);
  return { ...segmentOf(selector, descriptor), rights: markAccessed(core, selector, rights) };
}

/** CS from a checked code descriptor, as a transfer to privilege level `cpl` loads it. */
export function codeSegment(
  core: Core,
  selector: number,
  descriptor: Descriptor,
  cpl: number,
): Segment {
  const rights = markAccessed(core, selector, descriptor.rights);
  return { ...segmentOf((selector & ~RPL) | cpl, descriptor), rights };
}

/** MOV to a segment register and POP of one; SS holds off events for one instruction. */
export function loadDataSegment(core: Core, name: DataSegment, selector: number): void {
  core.state.setSegment(name, dataSegment(core, name, selector));
}

/** After MOV SS or POP SS, unless it follows another such instruction. Vol. 3, "Masking Exceptions and Interrupts When Switching Stacks". */
export function blockByMovSs(core: Core): void {
  core.state.set32(
    STATE.INTERRUPTIBILITY,
    core.state.get32(STATE.INTERRUPTIBILITY) | BLOCKING.MOV_SS,
  );
  core.engine.endSlice();
}
