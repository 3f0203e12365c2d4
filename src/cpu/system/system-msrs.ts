import { isSet } from '../../bits/bitfield.ts';
import { MASK64 } from '../../bits/u64.ts';
import type { MsrBehaviour, MsrBus } from '../../msr/bus.ts';
import { SPECULATION, speculationMsrs, systemMsrs } from '../../msr/system.ts';
import { CR0, EFER } from '../control-registers.ts';
import { type SegmentName, STATE } from '../state/layout.ts';
import type { Core } from './core.ts';
import { tsc } from './register-access.ts';

/** Memory types an MTRR may name, and those a PAT entry may. Vol. 3, "Memory Types That Can Be Encoded". */
const MTRR_TYPES: ReadonlySet<bigint> = new Set([0n, 1n, 4n, 5n, 6n]);
const PAT_TYPES: ReadonlySet<bigint> = new Set([...MTRR_TYPES, 7n]);

const everyByte = (value: bigint, types: ReadonlySet<bigint>): boolean => {
  for (let shift = 0n; shift < 64n; shift += 8n) {
    if (!types.has((value >> shift) & 0xffn)) return false;
  }
  return true;
};

/** Kept in a field of the state block; `allows` refuses values that the row's mask cannot. */
const field = (
  { state }: Core,
  offset: number,
  allows: (value: bigint) => boolean = () => true,
): MsrBehaviour => ({
  read: () => state.get(offset),
  write: (value) => {
    if (!allows(value)) return '#GP';
    state.set(offset, value);
    return undefined;
  },
});

const segmentBase = (core: Core, name: SegmentName): MsrBehaviour => ({
  read: () => core.state.segment(name).base,
  write: (base) => {
    if (!core.isCanonical(base)) return '#GP';
    core.state.setSegment(name, { ...core.state.segment(name), base });
    return undefined;
  },
});

function writeEfer({ state }: Core, value: bigint): '#GP' | undefined {
  const old = state.get(STATE.EFER);
  if (isSet(old ^ value, EFER.LME) && isSet(state.get(STATE.CR0), CR0.PG)) return '#GP';
  state.set(STATE.EFER, value | (old & EFER.LMA));
  return undefined;
}

/** The deadline of a timer that goes by the TSC moves along. */
function moveTsc({ state, engine }: Core, offset: bigint): void {
  state.set(STATE.TSC_OFFSET, offset);
  engine.endSlice();
}

/** Puts the registers that the core itself keeps on its bus. */
export function attachSystemMsrs(bus: MsrBus, core: Core): void {
  const { state } = core;
  const canonical = (value: bigint) => core.isCanonical(value);
  const firstByte = (value: bigint) => MTRR_TYPES.has(value & 0xffn);
  const fixedRange = (value: bigint) => everyByte(value, MTRR_TYPES);
  // biome-ignore format: a table
  bus.attach(systemMsrs(core.features.physicalWidth), {
    IA32_TIME_STAMP_COUNTER: {
      read: () => (core.nonRoot ? core.nonRoot.tsc(tsc(core)) : tsc(core)),
      write: (value) => moveTsc(core, (value - state.total('ticks')) & MASK64),
    },
    // Every write of the TSC moves the adjustment by as much, so the two are one number.
    IA32_TSC_ADJUST:        { read: () => state.get(STATE.TSC_OFFSET), write: (value) => moveTsc(core, value) },
    IA32_BIOS_SIGN_ID:      { read: () => 0n, write: () => undefined },
    IA32_SYSENTER_CS:       field(core, STATE.SYSENTER_CS),
    IA32_SYSENTER_ESP:      field(core, STATE.SYSENTER_ESP, canonical),
    IA32_SYSENTER_EIP:      field(core, STATE.SYSENTER_EIP, canonical),
    IA32_MTRR_PHYSBASE:     { allows: firstByte },
    IA32_MTRR_DEF_TYPE:     { allows: firstByte },
    IA32_MTRR_FIX64K_00000: { allows: fixedRange },
    IA32_MTRR_FIX16K:       { allows: fixedRange },
    IA32_MTRR_FIX4K:        { allows: fixedRange },
    IA32_PAT:               field(core, STATE.PAT, (value) => everyByte(value, PAT_TYPES)),
    IA32_XSS:               field(core, STATE.XSS, (value) => (value & ~core.features.xss) === 0n),
    IA32_EFER:              { read: () => state.get(STATE.EFER), write: (value) => writeEfer(core, value) },
    IA32_STAR:              field(core, STATE.STAR),
    IA32_LSTAR:             field(core, STATE.LSTAR, canonical),
    IA32_CSTAR:             field(core, STATE.CSTAR, canonical),
    IA32_FMASK:             field(core, STATE.FMASK),
    IA32_FS_BASE:           segmentBase(core, 'FS'),
    IA32_GS_BASE:           segmentBase(core, 'GS'),
    IA32_KERNEL_GS_BASE:    field(core, STATE.KERNEL_GS_BASE, canonical),
    IA32_TSC_AUX:           field(core, STATE.TSC_AUX),
  });
  if (!core.features.speculationControl) return;
  bus.attach(speculationMsrs(), {
    IA32_PRED_CMD: {
      read: () => '#GP',
      write: (value) => {
        if (isSet(value, SPECULATION.IBPB)) core.ports.predictionBarrier?.();
      },
    },
  });
}
