import { ACTIVITY, BLOCKING, RFLAGS } from '../control-registers.ts';
import { Fault } from '../fault.ts';
import { STATE } from '../state/layout.ts';
import type { Core, SystemFunction } from './core.ts';
import { iopl, is64Bit, isProtected } from './mode.ts';

const IF = Number(RFLAGS.IF);
const AC = Number(RFLAGS.AC);

/** HLT. The run loop finds the CPU halted once the instruction is retired. */
export const hlt: SystemFunction = (core, insn) => {
  core.requireCpl0();
  if (core.nonRoot?.plain('HLT', insn)) return;
  core.state.set32(STATE.ACTIVITY, ACTIVITY.HLT);
  core.state.addTotal('halts', 1);
  core.engine.endSlice();
};

function requireIopl(core: Core): void {
  if (isProtected(core.state) && core.cpl > iopl(core.state)) throw new Fault('#GP', 0);
}

/** CLI. */
export const cli: SystemFunction = (core) => {
  requireIopl(core);
  core.state.set32(STATE.RFLAGS_SYSTEM, core.state.get32(STATE.RFLAGS_SYSTEM) & ~IF);
};

/** STI: the next instruction still runs before any interrupt. Vol. 2, "STI—Set Interrupt Flag". */
export const sti: SystemFunction = (core) => {
  requireIopl(core);
  const { state } = core;
  const flags = state.get32(STATE.RFLAGS_SYSTEM);
  if ((flags & IF) !== 0) return;
  state.set32(STATE.RFLAGS_SYSTEM, flags | IF);
  // Where nothing waits and the next instruction follows in any case, there is nothing that a shadow would hold back.
  if (!core.interruptWaits && core.engine.goesOn?.()) return;
  state.set32(STATE.INTERRUPTIBILITY, state.get32(STATE.INTERRUPTIBILITY) | BLOCKING.STI);
  core.engine.endSlice();
};

/** CLAC and STAC. */
const setAc =
  (value: boolean): SystemFunction =>
  (core) => {
    if (core.cpl > 0) throw new Fault('#UD');
    const { state } = core;
    const flags = state.get32(STATE.RFLAGS_SYSTEM);
    state.set32(STATE.RFLAGS_SYSTEM, value ? flags | AC : flags & ~AC);
  };
export const clac = setAc(false);
export const stac = setAc(true);

/** RCX in 64-bit mode, else ECX: extensions of MONITOR and hints of MWAIT. */
const extensions = (core: Core): bigint => core.gpr(1, is64Bit(core.state) ? 8 : 4);

/** MONITOR: checks its address as a load. */
export const monitor: SystemFunction = (core, insn) => {
  if (core.cpl > 0) throw new Fault('#UD');
  if (core.nonRoot?.plain('MONITOR', insn)) return;
  if (extensions(core) !== 0n) throw new Fault('#GP', 0);
  const memory = core.memoryOperand(insn);
  if (memory) core.load(memory.segment, core.offset(memory, insn), 1);
  core.monitoring = true;
};

/**
 * MWAIT: waits until something may have happened, that is to the next deadline of anything. Software must look
 * again whatever woke it. Without a monitored range it is no wait at all.
 */
export const mwait: SystemFunction = (core, insn) => {
  if (core.cpl > 0) throw new Fault('#UD');
  if (core.nonRoot?.plain('MWAIT', insn)) return;
  if (extensions(core) > 1n) throw new Fault('#GP', 0);
  core.waiting = core.monitoring;
  core.monitoring = false;
  core.engine.endSlice();
};

/** PAUSE. */
export const pause: SystemFunction = (core, insn) => {
  if (core.nonRoot?.plain('PAUSE', insn)) return;
};
