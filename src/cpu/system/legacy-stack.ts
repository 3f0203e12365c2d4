import { MASK32, SIZE_MASK } from '../../bits/u64.ts';
import { Fault } from '../fault.ts';
import type { Segment } from '../state/state.ts';
import type { Core } from './core.ts';
import type { Privilege } from './paging.ts';
import { RIGHTS } from './rights.ts';

/** A stack that may not be the current one: what SS will hold, and its pointer. */
export interface LegacyStack {
  readonly ss: Segment;
  readonly sp: bigint;
  readonly privilege: Privilege;
  /** Error code of #SS when it overflows: its selector for an inner stack, else 0. */
  readonly code: number;
}

const pointerMask = (ss: Segment): bigint => ((ss.rights & RIGHTS.DB) !== 0 ? MASK32 : 0xffffn);

/** Whether `size` bytes at `offset` lie inside a data segment. */
export function inLimit({ rights, limit }: Segment, offset: bigint, size: number): boolean {
  const first = Number(offset);
  const last = first + size - 1;
  if ((rights & (RIGHTS.CODE | RIGHTS.EXPAND_DOWN)) === RIGHTS.EXPAND_DOWN) {
    return first > limit && last <= ((rights & RIGHTS.DB) !== 0 ? 0xffff_ffff : 0xffff);
  }
  return last <= limit;
}

/**
 * Pushes values of `size` bytes on a stack outside 64-bit mode, all or nothing; the pointer after them.
 * @throws Fault #SS(code), #PF
 */
export function pushLegacy(
  core: Core,
  { ss, sp, privilege, code }: LegacyStack,
  size: number,
  values: readonly bigint[],
): bigint {
  const mask = pointerMask(ss);
  const slots = values.map((value, i) => {
    const offset = (sp - BigInt((i + 1) * size)) & mask;
    if (!inLimit(ss, offset, size)) throw new Fault('#SS', code);
    return { value, linear: (ss.base + offset) & MASK32 };
  });
  for (const { linear } of slots) core.memory.probe(linear, size, privilege);
  for (const { linear, value } of slots) {
    core.memory.write(linear, size, value & SIZE_MASK[size]!, privilege);
  }
  return (sp - BigInt(values.length * size)) & mask;
}

/** Sets SS and the stack pointer as wide as SS makes it. */
export function setStack(core: Core, ss: Segment, sp: bigint): void {
  core.state.setSegment('SS', ss);
  const mask = pointerMask(ss);
  core.state.gpr[4] = (core.state.gpr[4]! & ~mask & MASK32) | (sp & mask);
}

/** The current stack. */
export function currentStack(core: Core): LegacyStack {
  return {
    ss: core.state.segment('SS'),
    sp: core.stackPointer,
    privilege: core.privilege,
    code: 0,
  };
}
