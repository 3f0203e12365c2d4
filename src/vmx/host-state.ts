import { CR4, RFLAGS } from '../cpu/control-registers.ts';
import { type SegmentName, STATE } from '../cpu/state/layout.ts';
import { EXIT } from '../msr/vmx.ts';
import type { Controls } from './controls.ts';
import { FIELDS } from './fields.ts';
import { CR0_KEPT, DR7, eferFor, pdptesAt, usesPdptes } from './guest-state.ts';
import { MSR, type VmxMachine } from './machine.ts';
import type { Vmcs } from './vmcs.ts';

const UNUSABLE = 0x1_0000;
const RIGHTS = { CODE_32: 0xc09b, CODE_64: 0xa09b, DATA: 0xc093, TSS: 0x8b } as const;
const DR7_RESET = 0x400n;

/**
 * Vol. 3, "Loading Host State", without the MSR-load area.
 * Answers whether the host's PDPTEs are in order; where they are not, the exit aborts.
 */
export function loadHostState(machine: VmxMachine, vmcs: Vmcs, controls: Controls): boolean {
  const { core, msr } = machine;
  const { state } = core;
  const on = (control: number) => (controls.exit & control) !== 0;
  const longMode = on(EXIT.HOST_ADDRESS_SPACE_SIZE);

  // First: nothing of the host may count under the guest's enables.
  if (on(EXIT.LOAD_IA32_PERF_GLOBAL_CTRL)) {
    msr.wrmsr(MSR.IA32_PERF_GLOBAL_CTRL, vmcs.read(FIELDS.HOST_IA32_PERF_GLOBAL_CTRL));
  }
  msr.wrmsr(MSR.IA32_DEBUGCTL, 0n);
  if (on(EXIT.CLEAR_IA32_LBR_CTL)) msr.wrmsr(MSR.IA32_LBR_CTL, 0n);
  const cr0 = vmcs.read(FIELDS.HOST_CR0);
  const cr4 = vmcs.read(FIELDS.HOST_CR4);
  const cr3 = vmcs.read(FIELDS.HOST_CR3);
  state.set(STATE.CR0, (state.get(STATE.CR0) & CR0_KEPT) | (cr0 & ~CR0_KEPT));
  state.set(STATE.CR3, cr3);
  state.set(STATE.CR4, longMode ? cr4 | CR4.PAE : cr4 & ~CR4.PCIDE);
  state.set(DR7, DR7_RESET);
  state.set(STATE.SYSENTER_CS, vmcs.read(FIELDS.HOST_IA32_SYSENTER_CS));
  state.set(STATE.SYSENTER_ESP, vmcs.read(FIELDS.HOST_IA32_SYSENTER_ESP));
  state.set(STATE.SYSENTER_EIP, vmcs.read(FIELDS.HOST_IA32_SYSENTER_EIP));
  const efer = on(EXIT.LOAD_IA32_EFER) ? vmcs.read(FIELDS.HOST_IA32_EFER) : state.get(STATE.EFER);
  state.set(STATE.EFER, eferFor(efer, cr0, longMode));
  if (on(EXIT.LOAD_IA32_PAT)) state.set(STATE.PAT, vmcs.read(FIELDS.HOST_IA32_PAT));

  const flat = (name: SegmentName, selector: number, base: bigint, rights: number) =>
    state.setSegment(name, {
      selector,
      base,
      limit: 0xffff_ffff,
      rights: selector === 0 ? rights | UNUSABLE : rights,
    });
  const code = longMode ? RIGHTS.CODE_64 : RIGHTS.CODE_32;
  flat('CS', vmcs.read32(FIELDS.HOST_CS_SELECTOR), 0n, code);
  flat('SS', vmcs.read32(FIELDS.HOST_SS_SELECTOR), 0n, RIGHTS.DATA);
  flat('DS', vmcs.read32(FIELDS.HOST_DS_SELECTOR), 0n, RIGHTS.DATA);
  flat('ES', vmcs.read32(FIELDS.HOST_ES_SELECTOR), 0n, RIGHTS.DATA);
  flat('FS', vmcs.read32(FIELDS.HOST_FS_SELECTOR), vmcs.read(FIELDS.HOST_FS_BASE), RIGHTS.DATA);
  flat('GS', vmcs.read32(FIELDS.HOST_GS_SELECTOR), vmcs.read(FIELDS.HOST_GS_BASE), RIGHTS.DATA);
  state.setSegment('TR', {
    selector: vmcs.read32(FIELDS.HOST_TR_SELECTOR),
    base: vmcs.read(FIELDS.HOST_TR_BASE),
    limit: 0x67,
    rights: RIGHTS.TSS,
  });
  state.setSegment('LDTR', { selector: 0, base: 0n, limit: 0, rights: UNUSABLE });
  state.set32(STATE.CPL, 0);
  state.set(STATE.GDTR_BASE, vmcs.read(FIELDS.HOST_GDTR_BASE));
  state.set(STATE.IDTR_BASE, vmcs.read(FIELDS.HOST_IDTR_BASE));
  state.set32(STATE.GDTR_LIMIT, 0xffff);
  state.set32(STATE.IDTR_LIMIT, 0xffff);
  state.rip = vmcs.read(FIELDS.HOST_RIP);
  state.gpr[4] = vmcs.read(FIELDS.HOST_RSP);
  core.rflags = RFLAGS.FIXED;

  if (!usesPdptes(cr0, cr4, longMode)) return true;
  const pdptes = pdptesAt(machine, cr3);
  for (const [i, pdpte] of pdptes.entries()) state.set(STATE.PDPTE + i * 8, pdpte);
  return pdptes.every((pdpte) => pdpteIsValid(pdpte, core.features.physicalWidth));
}

/** Whether a present PDPTE has its reserved bits clear. Vol. 3, "Format of a PAE Page-Directory-Pointer-Table Entry". */
export const pdpteIsValid = (pdpte: bigint, physicalWidth: number): boolean =>
  (pdpte & 1n) === 0n || ((pdpte & 0x1e6n) === 0n && pdpte >> BigInt(physicalWidth) === 0n);
