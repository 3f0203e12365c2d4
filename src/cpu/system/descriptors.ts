import { MASK64 } from '../../bits/u64.ts';
import { type Exception, Fault } from '../fault.ts';
import { STATE } from '../state/layout.ts';
import type { Core } from './core.ts';
import { isLongMode } from './mode.ts';
import { type Descriptor, parseDescriptor, RIGHTS } from './rights.ts';

/** Bits of a selector. */
export const TI = 4;
export const RPL = 3;
/** The selector as error codes have it: without RPL. */
export const errorCode = (selector: number): number => selector & ~RPL;
export const isNull = (selector: number): boolean => (selector & ~RPL) === 0;

/** Linear address of the descriptor that `selector` names, after the table-limit check for `bytes` of it. */
function descriptorAddress(
  core: Core,
  selector: number,
  bytes: number,
  exception: Exception,
): bigint {
  const at = selector & 0xfff8;
  const fault = () => new Fault(exception, errorCode(selector));
  if ((selector & TI) === 0) {
    if (at + bytes - 1 > core.state.get32(STATE.GDTR_LIMIT)) throw fault();
    return (core.state.get(STATE.GDTR_BASE) + BigInt(at)) & MASK64;
  }
  const ldt = core.state.segment('LDTR');
  if ((ldt.rights & RIGHTS.UNUSABLE) !== 0 || at + bytes - 1 > ldt.limit) throw fault();
  return (ldt.base + BigInt(at)) & MASK64;
}

/**
 * The descriptor that `selector` names; null selectors are the caller's.
 * @throws Fault `exception`(selector) outside the table, #PF
 */
export function readDescriptor(
  core: Core,
  selector: number,
  exception: Exception = '#GP',
): Descriptor {
  const address = descriptorAddress(core, selector, 8, exception);
  return parseDescriptor(core.memory.read(address, 8, 'implicit'));
}

/** A descriptor of the 16-byte kind in IA-32e mode (LDT, TSS, call gate): its upper half as well. */
export function readSystemDescriptor(
  core: Core,
  selector: number,
  exception: Exception = '#GP',
): Descriptor & { readonly high: bigint } {
  const descriptor = readDescriptor(core, selector, exception);
  if (!isLongMode(core.state)) return { ...descriptor, high: 0n };
  const address = descriptorAddress(core, selector, 16, exception);
  const high = core.memory.read((address + 8n) & MASK64, 8, 'implicit');
  if (((high >> 40n) & 0x1fn) !== 0n) throw new Fault(exception, errorCode(selector));
  return { ...descriptor, base: descriptor.base | ((high & 0xffff_ffffn) << 32n), high };
}

/** Sets bits of the type byte of a descriptor in memory, as a locked read-modify-write does. */
export function markDescriptor(core: Core, selector: number, set: number, clear = 0): void {
  const address = (descriptorAddress(core, selector, 8, '#GP') + 5n) & MASK64;
  const old = core.memory.read(address, 1, 'implicit');
  const value = (old | BigInt(set)) & ~BigInt(clear);
  if (value !== old) core.memory.write(address, 1, value, 'implicit');
}

/** Sets the accessed bit of a code or data descriptor; the rights as the register then holds them. */
export function markAccessed(core: Core, selector: number, rights: number): number {
  if ((rights & RIGHTS.ACCESSED) === 0) markDescriptor(core, selector, RIGHTS.ACCESSED);
  return rights | RIGHTS.ACCESSED;
}
