import { isSet } from '../../bits/bitfield.ts';
import { MASK32, SIZE_MASK } from '../../bits/u64.ts';
import { CR0, DR6, EFER, RFLAGS } from '../control-registers.ts';
import { Fault } from '../fault.ts';
import { STATE } from '../state/layout.ts';
import type { Segment } from '../state/state.ts';
import type { Core, SystemFunction } from './core.ts';
import { isLongMode } from './mode.ts';
import { RIGHTS } from './rights.ts';

const refuse = () => new Fault('#GP', 0);

/** A flat segment, as these instructions set it without looking at any table. */
function flat(selector: number, kind: 'code64' | 'code32' | 'data', dpl: number): Segment {
  const size = kind === 'code64' ? RIGHTS.L : RIGHTS.DB;
  const type = kind === 'data' ? 3 : 11;
  return {
    selector,
    base: 0n,
    limit: 0xffff_ffff,
    rights: type | RIGHTS.S | (dpl << 5) | RIGHTS.P | size | RIGHTS.G,
  };
}

const requireSyscall = (core: Core): void => {
  if (!isSet(core.state.get(STATE.EFER), EFER.SCE)) throw new Fault('#UD');
};

/** The single-step trap of SYSCALL and SYSRET, for which TF counts as it is afterwards: FMASK may have cleared it. */
function stepAfter(core: Core): void {
  core.stepTrap = false;
  core.suppressStep();
  if (isSet(core.state.get(STATE.RFLAGS_SYSTEM), RFLAGS.TF)) core.pendDebug(DR6.BS);
}

/** SYSCALL. Vol. 2, "SYSCALL—Fast System Call". */
export const syscall: SystemFunction = (core) => {
  requireSyscall(core);
  const { state } = core;
  const flags = core.rflags;
  state.gpr[1] = core.nextRip;
  state.gpr[11] = flags & ~RFLAGS.RF;
  core.nextRip = state.get(STATE.LSTAR);
  core.rflags = flags & ~(state.get(STATE.FMASK) | RFLAGS.RF);
  const base = Number((state.get(STATE.STAR) >> 32n) & 0xfffcn);
  core.cpl = 0;
  state.setSegment('CS', flat(base, 'code64', 0));
  state.setSegment('SS', flat((base + 8) & 0xffff, 'data', 0));
  stepAfter(core);
};

/** SYSRET. Vol. 2, "SYSRET—Return From Fast System Call". */
export const sysret: SystemFunction = (core, insn) => {
  requireSyscall(core);
  core.requireCpl0();
  const { state } = core;
  const wide = insn.size === 8;
  const target = core.gpr(1, wide ? 8 : 4);
  if (!core.isCanonical(target)) throw refuse();
  const base = Number((state.get(STATE.STAR) >> 48n) & 0xffffn);
  core.nextRip = target;
  core.rflags = (state.gpr[11]! & 0x3c_7fd7n) | RFLAGS.FIXED;
  core.cpl = 3;
  const cs = ((wide ? base + 16 : base) & 0xffff) | 3;
  state.setSegment('CS', flat(cs, wide ? 'code64' : 'code32', 3));
  state.setSegment('SS', flat(((base + 8) & 0xffff) | 3, 'data', 3));
  stepAfter(core);
  core.engine.endSlice();
};

/** SYSENTER. Vol. 2, "SYSENTER—Fast System Call". */
export const sysenter: SystemFunction = (core) => {
  const { state } = core;
  const selector = Number(state.get(STATE.SYSENTER_CS) & 0xfffcn);
  if (!isSet(state.get(STATE.CR0), CR0.PE) || selector === 0) throw refuse();
  const long = isLongMode(state);
  const mask = long ? SIZE_MASK[8]! : MASK32;
  core.rflags &= ~(RFLAGS.VM | RFLAGS.IF | RFLAGS.RF);
  core.cpl = 0;
  state.setSegment('CS', flat(selector, long ? 'code64' : 'code32', 0));
  state.setSegment('SS', flat((selector + 8) & 0xffff, 'data', 0));
  state.gpr[4] = state.get(STATE.SYSENTER_ESP) & mask;
  core.nextRip = state.get(STATE.SYSENTER_EIP) & mask;
};

/** SYSEXIT. Vol. 2, "SYSEXIT—Fast Return from Fast System Call". */
export const sysexit: SystemFunction = (core, insn) => {
  const { state } = core;
  const selector = Number(state.get(STATE.SYSENTER_CS) & 0xfffcn);
  if (selector === 0 || !isSet(state.get(STATE.CR0), CR0.PE) || core.cpl !== 0) throw refuse();
  const wide = insn.size === 8;
  const size = wide ? 8 : 4;
  const rip = core.gpr(2, size);
  const rsp = core.gpr(1, size);
  if (wide && !(core.isCanonical(rip) && core.isCanonical(rsp))) throw refuse();
  core.cpl = 3;
  const cs = (selector + (wide ? 32 : 16)) & 0xffff;
  state.setSegment('CS', flat(cs | 3, wide ? 'code64' : 'code32', 3));
  state.setSegment('SS', flat(((cs + 8) & 0xffff) | 3, 'data', 3));
  state.gpr[4] = rsp;
  core.nextRip = rip;
};

/** SWAPGS. */
export const swapgs: SystemFunction = (core) => {
  core.requireCpl0();
  const { state } = core;
  const gs = state.segment('GS');
  const other = state.get(STATE.KERNEL_GS_BASE);
  state.set(STATE.KERNEL_GS_BASE, gs.base);
  state.setSegment('GS', { ...gs, base: other });
};
