import { MASK64 } from '../../bits/u64.ts';
import { BLOCKING, RFLAGS } from '../control-registers.ts';
import { EVENT_TYPE, type Event, type EventType } from '../event.ts';
import { type Exception, Fault } from '../fault.ts';
import { STATE } from '../state/layout.ts';
import type { Core } from './core.ts';
import { readDescriptor } from './descriptors.ts';
import { deliverLegacy } from './legacy-delivery.ts';
import { isLongMode } from './mode.ts';
import type { Privilege } from './paging.ts';
import { dpl, isCode, isConforming, RIGHTS, SYSTEM_TYPE, systemType } from './rights.ts';
import { codeSegment, nullStack } from './segments.ts';
import { longStackFromTss } from './task-state.ts';

/** What delivery of an event through the IDT needs beside the event. */
export interface Delivery {
  readonly event: Event;
  /** RIP and RFLAGS as pushed. */
  readonly rip: bigint;
  readonly rflags: bigint;
}

/** INT n, INT3, INTO: the gate's DPL is checked, and faults in delivery are the program's own. INT1 is not of them. */
export const isSoftware = (type: EventType): boolean =>
  type === EVENT_TYPE.SOFTWARE_INTERRUPT || type === EVENT_TYPE.SOFTWARE_EXCEPTION;

/** Faults whose error code carries EXT. */
const WITH_EXT: ReadonlySet<Exception> = new Set(['#TS', '#NP', '#SS', '#GP']);

/**
 * Delivers `event` through the IDT: all checks first, then the stack, then the registers.
 * Vol. 3, "Exception and Interrupt Handling".
 * @throws Fault what went wrong on the way, with EXT where it applies
 */
export function deliver(core: Core, event: Event, resumeFlag = false): void {
  const software = event.length !== undefined;
  const delivery: Delivery = {
    event,
    rip: core.state.rip + BigInt(software ? event.length : 0),
    rflags: (core.rflags & ~RFLAGS.RF) | (resumeFlag ? RFLAGS.RF : core.rflags & RFLAGS.RF),
  };
  try {
    if (isLongMode(core.state)) deliverLong(core, delivery);
    else deliverLegacy(core, delivery);
  } catch (thrown) {
    if (thrown instanceof Fault && WITH_EXT.has(thrown.exception) && !isSoftware(event.type)) {
      throw new Fault(thrown.exception, (thrown.code ?? 0) | 1, thrown.address);
    }
    throw thrown;
  }
  // A trap pending for the interrupted code does not follow into the handler.
  core.stepTrap = false;
  const blocked = core.state.get32(STATE.INTERRUPTIBILITY) & ~(BLOCKING.STI | BLOCKING.MOV_SS);
  core.state.set32(
    STATE.INTERRUPTIBILITY,
    event.type === EVENT_TYPE.NMI ? blocked | BLOCKING.NMI : blocked,
  );
}

/** Error code that names an IDT entry. */
export const idtError = (vector: number): number => vector * 8 + 2;

/** Vol. 3, "Exception and Interrupt Handling in 64-bit Mode". */
function deliverLong(core: Core, { event, rip, rflags }: Delivery): void {
  const { state } = core;
  const { vector } = event;
  const fault = (exception: Exception, code: number) => new Fault(exception, code);

  if (vector * 16 + 15 > state.get32(STATE.IDTR_LIMIT)) throw fault('#GP', idtError(vector));
  const address = (state.get(STATE.IDTR_BASE) + BigInt(vector * 16)) & MASK64;
  const [low = 0n, high = 0n] = core.memory.readBlock(address, 2, 8, 'implicit');
  const rights = Number((low >> 40n) & 0xffn);
  const type = systemType(rights);
  if (type !== SYSTEM_TYPE.INTERRUPT_GATE && type !== SYSTEM_TYPE.TRAP_GATE) {
    throw fault('#GP', idtError(vector));
  }
  if (isSoftware(event.type) && dpl(rights) < core.cpl) throw fault('#GP', idtError(vector));
  if ((rights & RIGHTS.P) === 0) throw fault('#NP', idtError(vector));

  const selector = Number((low >> 16n) & 0xffffn);
  if ((selector & ~3) === 0) throw fault('#GP', 0);
  const code = readDescriptor(core, selector);
  const target = codeTarget(core, selector & ~3, code.rights, true);

  const offset = (low & 0xffffn) | ((low >> 32n) & 0xffff_0000n) | ((high & 0xffff_ffffn) << 32n);
  if (!core.isCanonical(offset)) throw fault('#GP', 0);

  const ist = Number((low >> 32n) & 7n);
  const inner = target < core.cpl;
  const top =
    ist !== 0 || inner
      ? longStackFromTss(core, ist !== 0 ? { ist } : { cpl: target })
      : state.gpr[4]!;
  const frame = [
    BigInt(state.segment('SS').selector),
    state.gpr[4]!,
    rflags,
    BigInt(state.segment('CS').selector),
    rip,
  ];
  if (event.code !== undefined) frame.push(BigInt(event.code));
  const aligned = top & ~0xfn;
  pushLong(core, aligned, frame, target);

  // Nothing below faults, apart from the descriptor's accessed bit.
  const cs = codeSegment(core, selector, code, target);
  core.cpl = target;
  state.setSegment('CS', cs);
  if (inner) state.setSegment('SS', nullStack(target, target));
  state.gpr[4] = (aligned - BigInt(frame.length * 8)) & MASK64;
  state.rip = offset;
  const cleared = RFLAGS.TF | RFLAGS.NT | RFLAGS.RF | RFLAGS.VM;
  core.rflags &= ~(type === SYSTEM_TYPE.INTERRUPT_GATE ? cleared | RFLAGS.IF : cleared);
}

/**
 * Privilege level at which a handler in a code segment with `rights` runs.
 * @throws Fault #GP, #NP with `code`
 */
export function codeTarget(core: Core, code: number, rights: number, long: boolean): number {
  if (!isCode(rights) || dpl(rights) > core.cpl) throw new Fault('#GP', code);
  if (long && (rights & (RIGHTS.L | RIGHTS.DB)) !== RIGHTS.L) throw new Fault('#GP', code);
  if ((rights & RIGHTS.P) === 0) throw new Fault('#NP', code);
  return isConforming(rights) ? core.cpl : dpl(rights);
}

/** Writes quadwords below `top` of a 64-bit stack of code at `cpl`, all or nothing. @throws Fault #SS(0), #PF */
export function pushLong(core: Core, top: bigint, values: readonly bigint[], cpl: number): void {
  const privilege: Privilege = cpl === 3 ? 'user' : 'supervisor';
  const bottom = (top - BigInt(values.length * 8)) & MASK64;
  if (!core.isCanonical(bottom) || !core.isCanonical((top - 1n) & MASK64)) {
    throw new Fault('#SS', 0);
  }
  core.memory.writeBlock(bottom, values.toReversed(), 8, privilege);
}
