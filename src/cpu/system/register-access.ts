import { isSet } from '../../bits/bitfield.ts';
import { MASK32, MASK64 } from '../../bits/u64.ts';
import { speculationMsrs, systemMsrs } from '../../msr/system.ts';
import { CR0, CR4, RFLAGS, XCR0 } from '../control-registers.ts';
import { Fault } from '../fault.ts';
import { STATE } from '../state/layout.ts';
import type { Core, SystemFunction } from './core.ts';
import { is64Bit } from './mode.ts';

const refuse = () => new Fault('#GP', 0);

const ecx = ({ state }: Core): number => state.gpr32(1);

/** RDMSR. */
export const rdmsr: SystemFunction = (core, insn) => {
  core.requireCpl0();
  const address = ecx(core);
  if (core.nonRoot?.rdmsr(address, insn)) return;
  const value = core.nonRoot?.readMsr(address) ?? core.ports.msr.rdmsr(address);
  if (typeof value !== 'bigint') throw refuse();
  core.state.edxEax = value;
};

const { IA32_FS_BASE, IA32_GS_BASE, IA32_KERNEL_GS_BASE, IA32_TSC_AUX } = systemMsrs(0);
const { IA32_STAR, IA32_LSTAR, IA32_CSTAR, IA32_FMASK } = systemMsrs(0);
const { IA32_SYSENTER_CS, IA32_SYSENTER_ESP, IA32_SYSENTER_EIP } = systemMsrs(0);
const { IA32_SPEC_CTRL, IA32_PRED_CMD } = speculationMsrs();
/** Registers that a write of starts nothing. */
const QUIET: ReadonlySet<number> = new Set(
  // biome-ignore format: a table
  [
    IA32_FS_BASE, IA32_GS_BASE, IA32_KERNEL_GS_BASE, IA32_TSC_AUX, IA32_STAR, IA32_LSTAR, IA32_CSTAR, IA32_FMASK,
    IA32_SYSENTER_CS, IA32_SYSENTER_ESP, IA32_SYSENTER_EIP, IA32_SPEC_CTRL, IA32_PRED_CMD,
  ].map(({ address }) => address),
);

/** WRMSR. Whatever it starts is looked at before the next instruction. */
export const wrmsr: SystemFunction = (core, insn) => {
  core.requireCpl0();
  const address = ecx(core);
  const value = core.state.edxEax;
  if (core.nonRoot?.wrmsr(address, value, insn)) return;
  const outcome = core.nonRoot?.writeMsr(address, value) ?? core.ports.msr.wrmsr(address, value);
  if (outcome !== 'done') throw refuse();
  if (!QUIET.has(address)) core.engine.endSlice();
};

/** RDPMC. Vol. 2, "RDPMC—Read Performance-Monitoring Counters". */
export const rdpmc: SystemFunction = (core, insn) => {
  const { state } = core;
  const allowed = isSet(state.get(STATE.CR4), CR4.PCE) || !isSet(state.get(STATE.CR0), CR0.PE);
  if (core.cpl > 0 && !allowed) throw refuse();
  if (core.nonRoot?.plain('RDPMC', insn)) return;
  const value = core.ports.rdpmc(ecx(core));
  if (typeof value !== 'bigint') throw refuse();
  core.state.edxEax = value;
};

/** The time-stamp counter as the host sees it. */
export const tsc = ({ state }: Core): bigint =>
  (state.total('ticks') + state.get(STATE.TSC_OFFSET)) & MASK64;

function requireTsc(core: Core): void {
  if (core.cpl > 0 && isSet(core.state.get(STATE.CR4), CR4.TSD)) throw refuse();
}

/** RDTSC. */
export const rdtsc: SystemFunction = (core, insn) => {
  requireTsc(core);
  if (core.nonRoot?.plain('RDTSC', insn)) return;
  core.state.edxEax = core.nonRoot ? core.nonRoot.tsc(tsc(core)) : tsc(core);
};

/** RDTSCP. */
export const rdtscp: SystemFunction = (core, insn) => {
  if (core.nonRoot?.enabled('RDTSCP') === false) throw new Fault('#UD');
  requireTsc(core);
  if (core.nonRoot?.plain('RDTSCP', insn)) return;
  core.state.edxEax = core.nonRoot ? core.nonRoot.tsc(tsc(core)) : tsc(core);
  core.state.setGpr32(1, core.state.get32(STATE.TSC_AUX));
};

/** RDPID. */
export const rdpid: SystemFunction = (core, insn) => {
  if (core.nonRoot?.enabled('RDTSCP') === false) throw new Fault('#UD');
  const value = core.state.get(STATE.TSC_AUX) & MASK32;
  core.setOperand(insn, 0, value, is64Bit(core.state) ? 8 : 4);
};

/** CPUID. */
export const cpuid: SystemFunction = (core, insn) => {
  if (core.nonRoot?.plain('CPUID', insn)) return;
  const { state, ports } = core;
  const { eax, ebx, ecx, edx } = ports.cpuid(state.gpr32(0), state.gpr32(1), {
    cr4: state.get(STATE.CR4),
    xcr0: state.get(STATE.XCR0),
    xss: state.get(STATE.XSS),
    apicEnabled: ports.interrupts.enabled(),
  });
  state.setGpr32(0, eax);
  state.setGpr32(1, ecx);
  state.setGpr32(2, edx);
  state.setGpr32(3, ebx);
};

/** RDRAND and RDSEED: always succeed. */
const random =
  (name: 'rdrand' | 'rdseed'): SystemFunction =>
  (core, insn) => {
    core.nonRoot?.[name](insn);
    core.setOperand(insn, 0, core.ports.random());
    const cleared = RFLAGS.OF | RFLAGS.SF | RFLAGS.ZF | RFLAGS.AF | RFLAGS.PF;
    core.rflags = (core.rflags & ~cleared) | RFLAGS.CF;
  };
export const rdrand = random('rdrand');
export const rdseed = random('rdseed');

/** RDFSBASE, RDGSBASE, WRFSBASE, WRGSBASE. */
const baseAccess =
  (name: 'FS' | 'GS', write: boolean): SystemFunction =>
  (core, insn) => {
    if (!isSet(core.state.get(STATE.CR4), CR4.FSGSBASE)) throw new Fault('#UD');
    const segment = core.state.segment(name);
    if (!write) {
      core.setOperand(insn, 0, segment.base);
      return;
    }
    const base = core.operand(insn, 0);
    if (!core.isCanonical(base)) throw refuse();
    core.state.setSegment(name, { ...segment, base });
  };
export const rdfsbase = baseAccess('FS', false);
export const rdgsbase = baseAccess('GS', false);
export const wrfsbase = baseAccess('FS', true);
export const wrgsbase = baseAccess('GS', true);

function requirePke(core: Core): void {
  if (!isSet(core.state.get(STATE.CR4), CR4.PKE)) throw new Fault('#UD');
  if (ecx(core) !== 0) throw refuse();
}

/** RDPKRU. */
export const rdpkru: SystemFunction = (core) => {
  requirePke(core);
  core.state.edxEax = core.state.get(STATE.PKRU) & MASK32;
};

/** WRPKRU. */
export const wrpkru: SystemFunction = (core) => {
  requirePke(core);
  if (core.gpr(2, 4) !== 0n) throw refuse();
  core.state.set(STATE.PKRU, core.gpr(0, 4));
};

/** XCR0 bits that XSETBV may set, for a CPU that has protection keys or not. */
export const XCR0_BASE = XCR0.X87 | XCR0.SSE;
