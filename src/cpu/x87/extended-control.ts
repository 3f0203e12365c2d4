import { isSet } from '../../bits/bitfield.ts';
import { MASK64 } from '../../bits/u64.ts';
import { CR4, XCR0 } from '../control-registers.ts';
import { Fault } from '../fault.ts';
import { STATE } from '../state/layout.ts';
import type { Core, SystemFunction } from '../system/core.ts';
import { inUse } from './xsave.ts';

const refuse = () => new Fault('#GP', 0);

const requireXsave = (core: Core): void => {
  if (!isSet(core.state.get(STATE.CR4), CR4.OSXSAVE)) throw new Fault('#UD');
};

/** XGETBV: XCR0, or what of it is in use. Vol. 2, "XGETBV—Get Value of Extended Control Register". */
export const xgetbv: SystemFunction = (core) => {
  requireXsave(core);
  const { state } = core;
  const register = state.gpr32(1);
  if (register > 1) throw refuse();
  const enabled = state.get(STATE.XCR0);
  state.edxEax = register === 0 ? enabled : enabled & inUse(state);
};

/** XSETBV. Vol. 2, "XSETBV—Set Extended Control Register". */
export const xsetbv: SystemFunction = (core, insn) => {
  requireXsave(core);
  core.requireCpl0();
  if (core.nonRoot?.plain('XSETBV', insn)) return;
  const value = core.state.edxEax;
  if (
    core.state.gpr32(1) !== 0 ||
    !isSet(value, XCR0.X87) ||
    isSet(value, ~core.features.xcr0 & MASK64)
  ) {
    throw refuse();
  }
  core.state.set(STATE.XCR0, value);
};
