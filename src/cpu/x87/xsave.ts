import { CR0, CR4, XCR0, XSS } from '../control-registers.ts';
import { XSAVE_COMPONENTS } from '../cpuid.ts';
import { Fault } from '../fault.ts';
import type { Insn } from '../insn.ts';
import { STATE } from '../state/layout.ts';
import type { State } from '../state/state.ts';
import type { Core, SystemFunction } from '../system/core.ts';
import { is64Bit } from '../system/mode.ts';
import { Area } from './area.ts';
import {
  MXCSR_RESET,
  mxcsrOf,
  restoreX87,
  restoreXmm,
  saveMxcsr,
  saveX87,
  saveXmm,
} from './fxsave.ts';
import { X87 } from './registers.ts';

/** The XSAVE header. Vol. 1, "XSAVE Header". */
const XSTATE_BV = 512;
const XCOMP_BV = 520;
const COMPACTED = 1n << 63n;
const EXTENDED = 576;
const PKRU = 9;
const ARCH_LBR = 15;

const PHYSICAL = [0, 1, 2, 3, 4, 5, 6, 7];

const isSet = (bits: bigint, mask: bigint) => (bits & mask) !== 0n;

interface Layout {
  readonly pkru: number;
  /** In the compacted format only. */
  readonly lbrs: number;
  readonly end: number;
}

/** Where an extended component lies in the area, and where the area ends. */
function layout(components: bigint, compacted: boolean): Layout {
  let pkru = XSAVE_COMPONENTS[PKRU]!.offset;
  let lbrs = 0;
  let end = EXTENDED;
  for (const [index, { size, offset }] of Object.entries(XSAVE_COMPONENTS)) {
    if (!isSet(components, 1n << BigInt(index))) continue;
    const at = compacted ? end : offset;
    if (Number(index) === PKRU) pkru = at;
    if (Number(index) === ARCH_LBR) lbrs = at;
    end = at + size;
  }
  return { pkru, lbrs, end };
}

/** @throws Fault #UD, #NM: Vol. 1, "Enabling the XSAVE Feature Set and XSAVE-Enabled Features" */
function require({ state }: Core): void {
  if (!isSet(state.get(STATE.CR4), CR4.OSXSAVE)) throw new Fault('#UD');
  if (isSet(state.get(STATE.CR0), CR0.TS)) throw new Fault('#NM');
}

/** What software asks for in EDX:EAX, of what is enabled. */
const requested = (core: Core, enabled: bigint): bigint =>
  ((core.gpr(2, 4) << 32n) | core.gpr(0, 4)) & enabled;

/** Components not in their initial configuration (XINUSE). */
export function inUse(state: State): bigint {
  const x87 = new X87(state);
  const fresh =
    x87.fcw === 0x37f &&
    x87.fsw === 0 &&
    x87.ftw === 0 &&
    x87.fop === 0 &&
    x87.fcs === 0 &&
    x87.fds === 0 &&
    state.get(STATE.FIP) === 0n &&
    state.get(STATE.FDP) === 0n &&
    PHYSICAL.every((i) => x87.physicalBits(i) === 0n);
  let clear = true;
  for (let i = 0; clear && i < (is64Bit(state) ? 16 : 8); i++) {
    for (let word = 0; word < 16; word += 4) clear &&= state.get32(STATE.XMM + 32 * i + word) === 0;
  }
  return (
    (fresh ? 0n : XCR0.X87) |
    (clear ? 0n : XCR0.SSE) |
    (state.get(STATE.PKRU) === 0n ? 0n : XCR0.PKRU)
  );
}

interface Save {
  /** XSAVEC and XSAVES write the compacted format. */
  readonly compacted: boolean;
  /** All but XSAVE leave out what is in its initial configuration. */
  readonly optimized: boolean;
}

function save(core: Core, insn: Insn, { compacted, optimized }: Save, enabled: bigint): void {
  const { state } = core;
  const components = requested(core, enabled);
  const { pkru, lbrs, end } = layout(components, compacted);
  const area = new Area(core, insn, end, 'write', { demanded: 64 });
  const records = isSet(components, XSS.ARCH_LBR) ? core.ports.lbrs?.save() : undefined;
  let used = (inUse(state) & components) | (records ? XSS.ARCH_LBR : 0n);
  if (compacted && isSet(components, XCR0.SSE) && state.get32(STATE.MXCSR) !== MXCSR_RESET) {
    used |= XCR0.SSE;
  }
  const written = optimized ? used : components;
  if (isSet(written, XCR0.X87)) saveX87(area, state, insn);
  if (isSet(compacted ? written : components, XCR0.SSE | XCR0.AVX)) saveMxcsr(area, state);
  if (isSet(written, XCR0.SSE)) saveXmm(area, state);
  if (isSet(written, XCR0.PKRU)) area.write(pkru, 8, state.get(STATE.PKRU));
  records?.forEach((value, i) => {
    area.write(lbrs + 8 * i, 8, value);
  });
  const kept = compacted ? 0n : area.read(XSTATE_BV, 8) & ~components;
  area.write(XSTATE_BV, 8, kept | used);
  if (compacted) area.write(XCOMP_BV, 8, components | COMPACTED);
}

function restore(core: Core, insn: Insn, enabled: bigint, onlyCompacted: boolean): void {
  const { state } = core;
  const components = requested(core, enabled);
  const header = new Area(core, insn, EXTENDED, 'read', { demanded: 64 });
  const present = header.read(XSTATE_BV, 8);
  const format = header.read(XCOMP_BV, 8);
  const compacted = isSet(format, COMPACTED);
  const wrong = compacted
    ? isSet(format & ~COMPACTED, ~enabled) || isSet(present, ~format) || !header.isClear(528, 48)
    : onlyCompacted || isSet(present, ~enabled) || format !== 0n || !header.isClear(528, 8);
  if (wrong) throw new Fault('#GP', 0);

  const { pkru, lbrs, end } = layout(compacted ? format & ~COMPACTED : components, compacted);
  const area = new Area(core, insn, end, 'read', { demanded: 64 });
  const loaded = components & present;
  const fromMemory = compacted ? isSet(loaded, XCR0.SSE) : isSet(components, XCR0.SSE | XCR0.AVX);
  const mxcsr = fromMemory ? mxcsrOf(area) : MXCSR_RESET;
  if (isSet(components, XSS.ARCH_LBR)) {
    const quadwords = Array.from({ length: XSAVE_COMPONENTS[ARCH_LBR]!.size / 8 }, (_, i) => i);
    const records = isSet(loaded, XSS.ARCH_LBR)
      ? quadwords.map((i) => area.read(lbrs + 8 * i, 8))
      : undefined;
    if (core.ports.lbrs?.restore(records) === '#GP') throw new Fault('#GP', 0);
  }
  if (isSet(loaded, XCR0.X87)) restoreX87(area, state, insn);
  else if (isSet(components, XCR0.X87)) initX87(state);
  if (isSet(components, XCR0.SSE)) restoreXmm(isSet(loaded, XCR0.SSE) ? area : undefined, state);
  if (fromMemory || isSet(components, XCR0.SSE)) state.set32(STATE.MXCSR, mxcsr);
  if (isSet(components, XCR0.PKRU)) {
    state.set(STATE.PKRU, isSet(loaded, XCR0.PKRU) ? area.read(pkru, 4) : 0n);
  }
}

function initX87(state: State): void {
  const x87 = new X87(state);
  x87.init();
  for (let i = 0; i < 8; i++) x87.setPhysicalBits(i, 0n);
}

const user = ({ state }: Core) => state.get(STATE.XCR0);
const all = ({ state }: Core) => state.get(STATE.XCR0) | state.get(STATE.XSS);

const saving =
  (format: Save): SystemFunction =>
  (core, insn) => {
    require(core);
    save(core, insn, format, user(core));
  };

/** XSAVE, XSAVEC, XSAVEOPT and their 64-bit forms. */
export const xsave = saving({ compacted: false, optimized: false });
export const xsavec = saving({ compacted: true, optimized: true });
export const xsaveopt = saving({ compacted: false, optimized: true });

/** XRSTOR. */
export const xrstor: SystemFunction = (core, insn) => {
  require(core);
  restore(core, insn, user(core), false);
};

/** XSAVES. */
export const xsaves: SystemFunction = (core, insn) => {
  if (core.nonRoot?.enabled('XSAVES') === false) throw new Fault('#UD');
  require(core);
  core.requireCpl0();
  core.nonRoot?.xsaves(insn);
  save(core, insn, { compacted: true, optimized: true }, all(core));
};

/** XRSTORS. */
export const xrstors: SystemFunction = (core, insn) => {
  if (core.nonRoot?.enabled('XSAVES') === false) throw new Fault('#UD');
  require(core);
  core.requireCpl0();
  core.nonRoot?.xrstors(insn);
  restore(core, insn, all(core), true);
};
