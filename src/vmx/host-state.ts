import { CR4, RFLAGS } from '../cpu/control-registers.ts';
import { SEGMENT, SEGMENTS, type SegmentName, STATE } from '../cpu/state/layout.ts';
import { SEGMENT_INDEX } from '../cpu/state/state.ts';
import { EXIT } from '../msr/vmx.ts';
import type { Controls } from './controls.ts';
import { FIELDS } from './fields.ts';
import { DR7, eferFor, loadCr0, loadPdptes, usesPdptes } from './guest-state.ts';
import { MSR, type VmxMachine } from './machine.ts';
import { transfer } from './transfer.ts';
import type { Vmcs } from './vmcs.ts';

const UNUSABLE = 0x1_0000;
const RIGHTS = { CODE_32: 0xc09b, CODE_64: 0xa09b, DATA: 0xc093, TSS: 0x8b } as const;
/** DR7 after a VM exit. */
export const DR7_RESET = 0x400n;
const PAE = Number(CR4.PAE);
const PCIDE = Number(CR4.PCIDE);

const at = (name: SegmentName) => STATE.SEGMENT + SEGMENT_INDEX[name] * SEGMENT.SIZE;
const LDTR = at('LDTR');
const TR = at('TR');
const FLAT = (['CS', 'SS', 'DS', 'ES'] as const).map(at);

// biome-ignore format: a table
const ALWAYS = transfer(
  [
    [FIELDS.HOST_CR3, STATE.CR3],
    [FIELDS.HOST_IA32_SYSENTER_CS, STATE.SYSENTER_CS],
    [FIELDS.HOST_IA32_SYSENTER_ESP, STATE.SYSENTER_ESP],
    [FIELDS.HOST_IA32_SYSENTER_EIP, STATE.SYSENTER_EIP],
    [FIELDS.HOST_GDTR_BASE, STATE.GDTR_BASE],
    [FIELDS.HOST_IDTR_BASE, STATE.IDTR_BASE],
    [FIELDS.HOST_RIP, STATE.RIP],
    [FIELDS.HOST_RSP, STATE.GPR + 4 * 8],
    [FIELDS.HOST_FS_BASE, at('FS') + SEGMENT.BASE],
    [FIELDS.HOST_GS_BASE, at('GS') + SEGMENT.BASE],
    [FIELDS.HOST_TR_BASE, TR + SEGMENT.BASE],
  ],
  (['CS', 'SS', 'DS', 'ES', 'FS', 'GS', 'TR'] as const).map(
    (name) => [FIELDS[`HOST_${name}_SELECTOR`], at(name) + SEGMENT.SELECTOR] as const,
  ),
);
const EFER_FIELD = transfer([[FIELDS.HOST_IA32_EFER, STATE.EFER]]);
const PAT_FIELD = transfer([[FIELDS.HOST_IA32_PAT, STATE.PAT]]);

/**
 * Vol. 3, "Loading Host State", without the MSR-load area.
 * Answers whether the host's PDPTEs are in order; where they are not, the exit aborts.
 */
export function loadHostState(machine: VmxMachine, vmcs: Vmcs, controls: Controls): boolean {
  const { core, msr } = machine;
  const { state } = core;
  const { words } = state;
  const on = (control: number) => (controls.exit & control) !== 0;
  const longMode = on(EXIT.HOST_ADDRESS_SPACE_SIZE);

  // First: nothing of the host may count under the guest's enables.
  if (on(EXIT.LOAD_IA32_PERF_GLOBAL_CTRL)) {
    msr.wrmsr(MSR.IA32_PERF_GLOBAL_CTRL, vmcs.read(FIELDS.HOST_IA32_PERF_GLOBAL_CTRL));
  }
  msr.wrmsr(MSR.IA32_DEBUGCTL, 0n);
  if (on(EXIT.CLEAR_IA32_LBR_CTL)) msr.wrmsr(MSR.IA32_LBR_CTL, 0n);
  vmcs.copyTo(words, ALWAYS);
  const cr0 = vmcs.read32(FIELDS.HOST_CR0);
  const cr4 = vmcs.read32(FIELDS.HOST_CR4);
  loadCr0(state, cr0);
  state.set32(STATE.CR4, longMode ? cr4 | PAE : cr4 & ~PCIDE);
  state.set(DR7, DR7_RESET);
  if (on(EXIT.LOAD_IA32_EFER)) vmcs.copyTo(words, EFER_FIELD);
  state.set32(STATE.EFER, eferFor(state.get32(STATE.EFER), cr0, longMode));
  if (on(EXIT.LOAD_IA32_PAT)) vmcs.copyTo(words, PAT_FIELD);
  loadSegments(words, longMode);
  state.set32(STATE.CPL, 0);
  state.set32(STATE.GDTR_LIMIT, 0xffff);
  state.set32(STATE.IDTR_LIMIT, 0xffff);
  core.rflags = RFLAGS.FIXED;

  if (!usesPdptes(cr0, cr4, longMode)) return true;
  const { physicalWidth } = core.features;
  const pdptes = loadPdptes(machine, vmcs.read(FIELDS.HOST_CR3));
  return pdptes.every((pdpte) => pdpteIsValid(pdpte, physicalWidth));
}

/** Limits of segments after a VM exit. Vol. 3, "Loading Host Segment and Descriptor-Table Registers". */
export const limitAfterExit = (name: SegmentName): number =>
  name === 'LDTR' ? 0 : name === 'TR' ? 0x67 : 0xffff_ffff;

/** Access rights of a segment after a VM exit. */
export function rightsAfterExit(name: SegmentName, selector: number, longMode: boolean): number {
  if (name === 'LDTR') return UNUSABLE;
  if (name === 'CS') return longMode ? RIGHTS.CODE_64 : RIGHTS.CODE_32;
  const rights = name === 'TR' ? RIGHTS.TSS : RIGHTS.DATA;
  return selector === 0 ? rights | UNUSABLE : rights;
}

function loadSegments(words: Uint32Array, longMode: boolean): void {
  words.fill(0, LDTR / 4, (LDTR + SEGMENT.SIZE) / 4);
  for (const segment of FLAT) {
    words[(segment + SEGMENT.BASE) / 4] = 0;
    words[(segment + SEGMENT.BASE) / 4 + 1] = 0;
  }
  for (const name of SEGMENTS) {
    const segment = at(name);
    const selector = words[(segment + SEGMENT.SELECTOR) / 4]!;
    words[(segment + SEGMENT.LIMIT) / 4] = limitAfterExit(name);
    words[(segment + SEGMENT.RIGHTS) / 4] = rightsAfterExit(name, selector, longMode);
  }
}

/** Whether a present PDPTE has its reserved bits clear. Vol. 3, "Format of a PAE Page-Directory-Pointer-Table Entry". */
export const pdpteIsValid = (pdpte: bigint, physicalWidth: number): boolean =>
  (pdpte & 1n) === 0n || ((pdpte & 0x1e6n) === 0n && pdpte >> BigInt(physicalWidth) === 0n);
