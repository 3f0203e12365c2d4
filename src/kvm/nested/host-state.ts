import { ENTRY, EXIT } from '../../msr/vmx.ts';
import { FIELDS, type FieldName } from '../../vmx/fields.ts';
import { cr0Loaded, eferFor, pdptesAt, usesPdptes } from '../../vmx/guest-state.ts';
import { DR7_RESET, limitAfterExit, pdpteIsValid, rightsAfterExit } from '../../vmx/host-state.ts';
import { CR0, CR4, RFLAGS } from '../control-registers.ts';
import { setControl } from '../global-ctrl.ts';
import { loadMsr } from '../guest-msr-access.ts';
import type { Vcpu } from '../vcpu.ts';
import { MSR } from '../vpmu/registers.ts';
import { PDPTES } from './guest-fields.ts';
import type { NestedVmx } from './nested-vmx.ts';
import type { InheritedState } from './vmcs02.ts';

const CR4_PCIDE = 1n << 17n;

/** Host-state fields of vmcs12 that are guest-state fields of vmcs01. */
const PLAIN: readonly (readonly [FieldName, FieldName])[] = [
  ['HOST_CR3', 'GUEST_CR3'],
  ['HOST_RIP', 'GUEST_RIP'],
  ['HOST_RSP', 'GUEST_RSP'],
  ['HOST_GDTR_BASE', 'GUEST_GDTR_BASE'],
  ['HOST_IDTR_BASE', 'GUEST_IDTR_BASE'],
  ['HOST_IA32_SYSENTER_CS', 'GUEST_IA32_SYSENTER_CS'],
  ['HOST_IA32_SYSENTER_ESP', 'GUEST_IA32_SYSENTER_ESP'],
  ['HOST_IA32_SYSENTER_EIP', 'GUEST_IA32_SYSENTER_EIP'],
];
const SEGMENTS = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS', 'TR'] as const;

/**
 * Loads L1's host state into vmcs01, which is current (load_vmcs12_host_state), without the MSR-load area.
 * Answers whether its PDPTEs are in order. Vol. 3, "Loading Host State".
 * @param blocking by NMI, where that is left
 */
export function loadL1(
  vcpu: Vcpu,
  nested: NestedVmx,
  inherited: InheritedState,
  blocking: number,
): boolean {
  const { vmcs12 } = nested;
  const longMode = nested.exit(EXIT.HOST_ADDRESS_SPACE_SIZE);
  if (nested.exit(EXIT.LOAD_IA32_PERF_GLOBAL_CTRL)) {
    loadMsr(vcpu, MSR.GLOBAL_CTRL, vmcs12.read(FIELDS.HOST_IA32_PERF_GLOBAL_CTRL));
  }
  loadMsr(vcpu, MSR.DEBUGCTL, 0n);
  for (const [from, to] of PLAIN) vcpu.write(to, vmcs12.read(FIELDS[from]));
  loadSegments(vcpu, nested, longMode);
  vcpu.write('GUEST_GDTR_LIMIT', 0xffffn);
  vcpu.write('GUEST_IDTR_LIMIT', 0xffffn);
  vcpu.write('GUEST_RFLAGS', RFLAGS.FIXED);
  vcpu.write('GUEST_DR7', DR7_RESET);
  vcpu.write('GUEST_INTERRUPTIBILITY_STATE', BigInt(blocking));
  vcpu.write('GUEST_ACTIVITY_STATE', 0n);
  vcpu.write('GUEST_PENDING_DEBUG_EXCEPTIONS', 0n);
  vcpu.write('VM_ENTRY_INTERRUPTION_INFORMATION', 0n);
  const pat = nested.exit(EXIT.LOAD_IA32_PAT);
  vcpu.write('GUEST_IA32_PAT', pat ? vmcs12.read(FIELDS.HOST_IA32_PAT) : inherited.pat);
  vcpu.write('TSC_OFFSET', BigInt.asUintN(64, vcpu.tscOffset));
  return loadControlRegisters(vcpu, nested, inherited, longMode);
}

function loadSegments(vcpu: Vcpu, { vmcs12 }: NestedVmx, longMode: boolean): void {
  for (const name of SEGMENTS) {
    const selector = vmcs12.read32(FIELDS[`HOST_${name}_SELECTOR`]);
    const based = name === 'FS' || name === 'GS' || name === 'TR';
    const rights = rightsAfterExit(name, selector, longMode);
    vcpu.write(`GUEST_${name}_SELECTOR`, BigInt(selector));
    vcpu.write(`GUEST_${name}_BASE`, based ? vmcs12.read(FIELDS[`HOST_${name}_BASE`]) : 0n);
    vcpu.write(`GUEST_${name}_LIMIT`, BigInt(limitAfterExit(name)));
    vcpu.write(`GUEST_${name}_ACCESS_RIGHTS`, BigInt(rights));
  }
  vcpu.write('GUEST_LDTR_SELECTOR', 0n);
  vcpu.write('GUEST_LDTR_BASE', 0n);
  vcpu.write('GUEST_LDTR_LIMIT', BigInt(limitAfterExit('LDTR')));
  vcpu.write('GUEST_LDTR_ACCESS_RIGHTS', BigInt(rightsAfterExit('LDTR', 0, longMode)));
}

function loadControlRegisters(
  vcpu: Vcpu,
  nested: NestedVmx,
  inherited: InheritedState,
  longMode: boolean,
): boolean {
  const { vmcs12 } = nested;
  const cr0 = cr0Loaded(Number(inherited.cr0), vmcs12.read32(FIELDS.HOST_CR0));
  vcpu.write('CR0_READ_SHADOW', BigInt(cr0));
  vcpu.write('GUEST_CR0', BigInt(cr0) & ~(CR0.CD | CR0.NW));
  const field = vmcs12.read(FIELDS.HOST_CR4);
  const cr4 = longMode ? field | CR4.PAE : field & ~CR4_PCIDE;
  vcpu.write('CR4_READ_SHADOW', cr4);
  vcpu.write('GUEST_CR4', cr4);
  const efer = nested.exit(EXIT.LOAD_IA32_EFER)
    ? vmcs12.read32(FIELDS.HOST_IA32_EFER)
    : Number(inherited.efer);
  vcpu.write('GUEST_IA32_EFER', BigInt(eferFor(efer, cr0, longMode) >>> 0));
  setControl(vcpu.host, 'VM_ENTRY_CONTROLS', ENTRY.IA_32E_MODE_GUEST, longMode);
  if (!usesPdptes(cr0, Number(cr4), longMode)) return true;
  const pdptes = pdptesAt(nested.memory, vmcs12.read(FIELDS.HOST_CR3));
  for (const [i, name] of PDPTES.entries()) vcpu.write(name, pdptes[i]!);
  return pdptes.every((pdpte) => pdpteIsValid(pdpte, nested.physicalWidth));
}
