import { MASK64 } from '../../bits/u64.ts';
import { Fault } from '../fault.ts';
import type { Core } from './core.ts';
import { errorCode } from './descriptors.ts';
import { RIGHTS, SYSTEM_TYPE } from './rights.ts';

/**
 * The stack pointer that the 64-bit TSS has for an interrupt-stack-table slot or for an inner privilege level.
 * Vol. 3, "Task Management in 64-bit Mode". @throws Fault #TS, #SS(0), #PF
 */
export function longStackFromTss(
  core: Core,
  which: { readonly ist: number } | { readonly cpl: number },
): bigint {
  const tss = core.state.segment('TR');
  const offset = 'ist' in which ? 0x1c + which.ist * 8 : 4 + which.cpl * 8;
  if (offset + 7 > tss.limit) throw new Fault('#TS', errorCode(tss.selector));
  const stack = core.memory.read((tss.base + BigInt(offset)) & MASK64, 8, 'implicit');
  if (!core.isCanonical(stack)) throw new Fault('#SS', 0);
  return stack;
}

/** Whether TR holds a 32-bit (or 64-bit) TSS; otherwise it is a 16-bit one. */
export const isWideTss = (rights: number): boolean => {
  const type = rights & RIGHTS.TYPE;
  return type === SYSTEM_TYPE.TSS || type === SYSTEM_TYPE.BUSY_TSS;
};

/**
 * SS and (E)SP for an inner privilege level out of a 32-bit or 16-bit TSS.
 * Vol. 3, "Task-State Segment (TSS)". @throws Fault #TS, #PF
 */
export function legacyStackFromTss(core: Core, cpl: number): { ss: number; sp: bigint } {
  const tss = core.state.segment('TR');
  const wide = isWideTss(tss.rights);
  const offset = wide ? cpl * 8 + 4 : cpl * 4 + 2;
  if (offset + (wide ? 5 : 3) > tss.limit) throw new Fault('#TS', errorCode(tss.selector));
  const at = (tss.base + BigInt(offset)) & 0xffff_ffffn;
  const spSize = wide ? 4 : 2;
  return {
    sp: core.memory.read(at, spSize, 'implicit'),
    ss: Number(core.memory.read((at + BigInt(spSize)) & 0xffff_ffffn, 2, 'implicit')),
  };
}
