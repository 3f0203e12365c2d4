import { bit, bits, isSet, maskOf } from '../bits/bitfield.ts';
import { ACTIVITY, BLOCKING, CR0, CR4, EFER } from '../cpu/control-registers.ts';
import { EVENT_TYPE } from '../cpu/event.ts';
import { SEGMENTS, STATE } from '../cpu/state/layout.ts';
import { ENTRY, EXIT, SECONDARY, VMX_MISC } from '../msr/vmx.ts';
import type { Controls } from './controls.ts';
import { FIELDS, type Field } from './fields.ts';
import { INTERRUPTION, OTHER_EVENT, typeOf } from './interruption.ts';
import { MSR, type VmxMachine } from './machine.ts';
import type { Vmcs } from './vmcs.ts';

/** Bits of CR0 that VM entries and VM exits leave as they are: ET, NW, CD and the reserved ones. */
export const CR0_KEPT = maskOf(CR0.ET, CR0.NW, CR0.CD, bits(28, 19), bit(17), bits(15, 6));

const DR7_ZERO = maskOf(bits(63, 32), bits(15, 14), bit(12));
const DR7_ONE = bit(10);

/** Offset of DR7 in the state block. */
export const DR7 = STATE.DR + 7 * 8;

const SEGMENT_FIELDS = SEGMENTS.map((name) => ({
  name,
  selector: FIELDS[`GUEST_${name}_SELECTOR`],
  base: FIELDS[`GUEST_${name}_BASE`],
  limit: FIELDS[`GUEST_${name}_LIMIT`],
  rights: FIELDS[`GUEST_${name}_ACCESS_RIGHTS`],
}));

/** Fields that are a register of the state block, 64 bits each, loaded and saved as they are. */
// biome-ignore format: a table
const REGISTERS: readonly (readonly [Field, number])[] = [
  [FIELDS.GUEST_CR3, STATE.CR3],
  [FIELDS.GUEST_CR4, STATE.CR4],
  [FIELDS.GUEST_IA32_SYSENTER_ESP, STATE.SYSENTER_ESP],
  [FIELDS.GUEST_IA32_SYSENTER_EIP, STATE.SYSENTER_EIP],
  [FIELDS.GUEST_IA32_SYSENTER_CS, STATE.SYSENTER_CS],
  [FIELDS.GUEST_GDTR_BASE, STATE.GDTR_BASE],
  [FIELDS.GUEST_IDTR_BASE, STATE.IDTR_BASE],
  [FIELDS.GUEST_RSP, STATE.GPR + 4 * 8],
  [FIELDS.GUEST_RIP, STATE.RIP],
  [FIELDS.GUEST_PENDING_DEBUG_EXCEPTIONS, STATE.PENDING_DEBUG],
];

/** Likewise, 32 bits each. */
// biome-ignore format: a table
const WORDS: readonly (readonly [Field, number])[] = [
  [FIELDS.GUEST_GDTR_LIMIT, STATE.GDTR_LIMIT],
  [FIELDS.GUEST_IDTR_LIMIT, STATE.IDTR_LIMIT],
  [FIELDS.GUEST_ACTIVITY_STATE, STATE.ACTIVITY],
  [FIELDS.GUEST_INTERRUPTIBILITY_STATE, STATE.INTERRUPTIBILITY],
];

const PDPTES = [FIELDS.GUEST_PDPTE0, FIELDS.GUEST_PDPTE1, FIELDS.GUEST_PDPTE2, FIELDS.GUEST_PDPTE3];

/** Whether the paging mode is PAE paging, whose PDPTEs are registers. */
export const usesPdptes = (cr0: bigint, cr4: bigint, longMode: boolean): boolean =>
  isSet(cr0, CR0.PG) && isSet(cr4, CR4.PAE) && !longMode;

/** The four PDPTEs in memory where `cr3` says. */
export const pdptesAt = ({ memory }: VmxMachine, cr3: bigint): bigint[] =>
  [0, 8, 16, 24].map((at) => memory.read(Number(cr3 & 0xffff_ffe0n) + at, 8));

/** EFER as VM entry or VM exit leaves it when it does not load the MSR. */
export function eferFor(efer: bigint, cr0: bigint, longMode: boolean): bigint {
  const lma = longMode ? efer | EFER.LMA : efer & ~EFER.LMA;
  if (!isSet(cr0, CR0.PG)) return lma;
  return longMode ? lma | EFER.LME : lma & ~EFER.LME;
}

/** Bits of pending debug exceptions that make them valid: an enabled breakpoint, a single step. */
const DEBUG_VALID = bit(12) | bit(14);

/** What of the pending debug exceptions is left after VM entry. Vol. 3, "Delivery of Pending Debug Exceptions after VM Entry". */
function pendingDebug(vmcs: Vmcs): bigint {
  const pending = vmcs.read(FIELDS.GUEST_PENDING_DEBUG_EXCEPTIONS);
  const injection = vmcs.read32(FIELDS.VM_ENTRY_INTERRUPTION_INFORMATION);
  const activity = vmcs.read32(FIELDS.GUEST_ACTIVITY_STATE);
  const type = typeOf(injection);
  if (injection >= INTERRUPTION.VALID && type !== OTHER_EVENT) {
    const late = type === EVENT_TYPE.SOFTWARE_INTERRUPT || type === EVENT_TYPE.SOFTWARE_EXCEPTION;
    const blocking = vmcs.read32(FIELDS.GUEST_INTERRUPTIBILITY_STATE);
    if (!late || (blocking & BLOCKING.MOV_SS) === 0) return 0n;
  } else if (activity === ACTIVITY.SHUTDOWN || activity === ACTIVITY.WAIT_FOR_SIPI) return 0n;
  return (pending & DEBUG_VALID) === 0n ? 0n : pending;
}

/** Vol. 3, "Loading Guest State", without the MSR-load area. */
export function loadGuestState(machine: VmxMachine, vmcs: Vmcs, controls: Controls): void {
  const { core, msr } = machine;
  const { state } = core;
  const { entry, secondary } = controls;
  const on = (control: number) => (entry & control) !== 0;
  const longMode = on(ENTRY.IA_32E_MODE_GUEST);

  const cr0 = vmcs.read(FIELDS.GUEST_CR0);
  state.set(STATE.CR0, (state.get(STATE.CR0) & CR0_KEPT) | (cr0 & ~CR0_KEPT));
  for (const [field, offset] of REGISTERS) state.set(offset, vmcs.read(field));
  for (const [field, offset] of WORDS) state.set32(offset, vmcs.read32(field));
  if (on(ENTRY.LOAD_DEBUG_CONTROLS)) {
    state.set(DR7, (vmcs.read(FIELDS.GUEST_DR7) & ~DR7_ZERO) | DR7_ONE);
    msr.wrmsr(MSR.IA32_DEBUGCTL, vmcs.read(FIELDS.GUEST_IA32_DEBUGCTL));
  }
  state.set(
    STATE.EFER,
    on(ENTRY.LOAD_IA32_EFER)
      ? vmcs.read(FIELDS.GUEST_IA32_EFER)
      : eferFor(state.get(STATE.EFER), cr0, longMode),
  );
  if (on(ENTRY.LOAD_IA32_LBR_CTL)) {
    msr.wrmsr(MSR.IA32_LBR_CTL, vmcs.read(FIELDS.GUEST_IA32_LBR_CTL));
  }
  if (on(ENTRY.LOAD_IA32_PAT)) state.set(STATE.PAT, vmcs.read(FIELDS.GUEST_IA32_PAT));
  for (const { name, selector, base, limit, rights } of SEGMENT_FIELDS) {
    state.setSegment(name, {
      selector: vmcs.read32(selector),
      base: vmcs.read(base),
      limit: vmcs.read32(limit),
      rights: vmcs.read32(rights),
    });
  }
  state.set(STATE.PENDING_DEBUG, pendingDebug(vmcs));
  const ss = vmcs.read32(FIELDS.GUEST_SS_ACCESS_RIGHTS);
  state.set32(STATE.CPL, (ss >>> 5) & 3);
  core.rflags = vmcs.read(FIELDS.GUEST_RFLAGS);
  if (usesPdptes(cr0, vmcs.read(FIELDS.GUEST_CR4), longMode)) {
    const ept = (secondary & SECONDARY.ENABLE_EPT) !== 0;
    const pdptes = ept
      ? PDPTES.map((field) => vmcs.read(field))
      : pdptesAt(machine, vmcs.read(FIELDS.GUEST_CR3));
    for (const [i, pdpte] of pdptes.entries()) state.set(STATE.PDPTE + i * 8, pdpte);
  }
  // Last: from here on the guest's enables count.
  if (on(ENTRY.LOAD_IA32_PERF_GLOBAL_CTRL)) {
    msr.wrmsr(MSR.IA32_PERF_GLOBAL_CTRL, vmcs.read(FIELDS.GUEST_IA32_PERF_GLOBAL_CTRL));
  }
}

const valueIn = (machine: VmxMachine, address: number): bigint => {
  const value = machine.msr.rdmsr(address);
  return typeof value === 'bigint' ? value : 0n;
};

/** Vol. 3, "Saving Guest State". What interrupts the exit met is saved by its caller. */
export function saveGuestState(machine: VmxMachine, vmcs: Vmcs, controls: Controls): void {
  const { core, shape } = machine;
  const { state } = core;
  const on = (control: number) => (controls.exit & control) !== 0;

  // First: until here the guest's enables count.
  if (on(EXIT.SAVE_IA32_PERF_GLOBAL_CTRL)) {
    vmcs.write(FIELDS.GUEST_IA32_PERF_GLOBAL_CTRL, valueIn(machine, MSR.IA32_PERF_GLOBAL_CTRL));
  }
  vmcs.write(FIELDS.GUEST_CR0, state.get(STATE.CR0));
  for (const [field, offset] of REGISTERS) vmcs.write(field, state.get(offset));
  for (const [field, offset] of WORDS) vmcs.write32(field, state.get32(offset));
  if (on(EXIT.SAVE_DEBUG_CONTROLS)) {
    vmcs.write(FIELDS.GUEST_DR7, state.get(DR7));
    vmcs.write(FIELDS.GUEST_IA32_DEBUGCTL, valueIn(machine, MSR.IA32_DEBUGCTL));
  }
  if ((shape.entry & ENTRY.LOAD_IA32_LBR_CTL) !== 0) {
    vmcs.write(FIELDS.GUEST_IA32_LBR_CTL, valueIn(machine, MSR.IA32_LBR_CTL));
  }
  if (on(EXIT.SAVE_IA32_PAT)) vmcs.write(FIELDS.GUEST_IA32_PAT, state.get(STATE.PAT));
  const efer = state.get(STATE.EFER);
  if (on(EXIT.SAVE_IA32_EFER)) vmcs.write(FIELDS.GUEST_IA32_EFER, efer);
  if (isSet(shape.misc, VMX_MISC.STORES_LMA)) {
    const other = vmcs.read32(FIELDS.VM_ENTRY_CONTROLS) & ~ENTRY.IA_32E_MODE_GUEST;
    const mode = isSet(efer, EFER.LMA) ? ENTRY.IA_32E_MODE_GUEST : 0;
    vmcs.write32(FIELDS.VM_ENTRY_CONTROLS, other | mode);
  }
  for (const { name, selector, base, limit, rights } of SEGMENT_FIELDS) {
    const segment = state.segment(name);
    vmcs.write32(selector, segment.selector);
    vmcs.write(base, segment.base);
    vmcs.write32(limit, segment.limit);
    vmcs.write32(rights, segment.rights);
  }
  vmcs.write(FIELDS.GUEST_RFLAGS, core.rflags);
  const ept = (controls.secondary & SECONDARY.ENABLE_EPT) !== 0;
  if (ept && usesPdptes(state.get(STATE.CR0), state.get(STATE.CR4), isSet(efer, EFER.LMA))) {
    for (const [i, field] of PDPTES.entries()) vmcs.write(field, state.get(STATE.PDPTE + i * 8));
  }
}
