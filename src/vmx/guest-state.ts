import { bit, bits, isSet, maskOf } from '../bits/bitfield.ts';
import { ACTIVITY, BLOCKING, CR0, CR4, EFER } from '../cpu/control-registers.ts';
import { EVENT_TYPE } from '../cpu/event.ts';
import { SEGMENT, SEGMENTS, STATE } from '../cpu/state/layout.ts';
import type { State } from '../cpu/state/state.ts';
import type { PhysicalWords } from '../memory/physical-memory.ts';
import { ENTRY, EXIT, SECONDARY, VMX_MISC } from '../msr/vmx.ts';
import type { Controls } from './controls.ts';
import { FIELDS, type Field } from './fields.ts';
import { INTERRUPTION, OTHER_EVENT, typeOf } from './interruption.ts';
import { MSR, type VmxMachine } from './machine.ts';
import { transfer } from './transfer.ts';
import type { Vmcs } from './vmcs.ts';

/** Bits of CR0 that VM entries and VM exits leave as they are: ET, NW, CD and the reserved ones. */
const CR0_KEPT = Number(maskOf(CR0.ET, CR0.NW, CR0.CD, bits(28, 19), bit(17), bits(15, 6)));
const PG = Number(CR0.PG);
const PAE = Number(CR4.PAE);
const LMA = Number(EFER.LMA);
const LME = Number(EFER.LME);

const DR7_ZERO = maskOf(bits(63, 32), bits(15, 14), bit(12));
const DR7_ONE = bit(10);

/** Offset of DR7 in the state block. */
export const DR7 = STATE.DR + 7 * 8;

const SEGMENT_SLOTS = SEGMENTS.map((name, i) => ({
  name,
  at: STATE.SEGMENT + i * SEGMENT.SIZE,
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
  ...SEGMENT_SLOTS.map(({ name, at }) => [FIELDS[`GUEST_${name}_BASE`], at + SEGMENT.BASE] as const),
];

/** Likewise, 32 bits each. */
// biome-ignore format: a table
const WORDS: readonly (readonly [Field, number])[] = [
  [FIELDS.GUEST_GDTR_LIMIT, STATE.GDTR_LIMIT],
  [FIELDS.GUEST_IDTR_LIMIT, STATE.IDTR_LIMIT],
  [FIELDS.GUEST_ACTIVITY_STATE, STATE.ACTIVITY],
  [FIELDS.GUEST_INTERRUPTIBILITY_STATE, STATE.INTERRUPTIBILITY],
  ...SEGMENT_SLOTS.flatMap(({ name, at }) => [
    [FIELDS[`GUEST_${name}_SELECTOR`], at + SEGMENT.SELECTOR] as const,
    [FIELDS[`GUEST_${name}_LIMIT`], at + SEGMENT.LIMIT] as const,
    [FIELDS[`GUEST_${name}_ACCESS_RIGHTS`], at + SEGMENT.RIGHTS] as const,
  ]),
];

const ALWAYS = transfer(REGISTERS, WORDS);
/** Saved alone: VM entry merges it with what it keeps. */
const CR0_FIELD = transfer([[FIELDS.GUEST_CR0, STATE.CR0]]);
const EFER_FIELD = transfer([[FIELDS.GUEST_IA32_EFER, STATE.EFER]]);
const PAT_FIELD = transfer([[FIELDS.GUEST_IA32_PAT, STATE.PAT]]);
const PDPTE_FIELDS = transfer(
  ([0, 1, 2, 3] as const).map((i) => [FIELDS[`GUEST_PDPTE${i}`], STATE.PDPTE + i * 8] as const),
);

/** Whether the paging mode is PAE paging, whose PDPTEs are registers. */
export const usesPdptes = (cr0: number, cr4: number, longMode: boolean): boolean =>
  (cr0 & PG) !== 0 && (cr4 & PAE) !== 0 && !longMode;

/** The four PDPTEs in memory where `cr3` says. */
export const pdptesAt = (memory: PhysicalWords, cr3: bigint): bigint[] =>
  [0, 8, 16, 24].map((at) => memory.read(Number(cr3 & 0xffff_ffe0n) + at, 8));

/** Loads the PDPTE registers from memory, and answers what it loaded. */
export function loadPdptes(machine: VmxMachine, cr3: bigint): readonly bigint[] {
  const pdptes = pdptesAt(machine.memory, cr3);
  for (const [i, pdpte] of pdptes.entries()) machine.core.state.set(STATE.PDPTE + i * 8, pdpte);
  return pdptes;
}

/** EFER, bits 31:0, as VM entry or VM exit leaves it when it does not load the MSR. */
export function eferFor(efer: number, cr0: number, longMode: boolean): number {
  const lma = longMode ? efer | LMA : efer & ~LMA;
  if ((cr0 & PG) === 0) return lma;
  return longMode ? lma | LME : lma & ~LME;
}

/** CR0, bits 31:0, as VM entry or VM exit leaves it: some bits stay as they were. */
export const cr0Loaded = (old: number, field: number): number =>
  ((old & CR0_KEPT) | (field & ~CR0_KEPT)) >>> 0;

export function loadCr0(state: State, cr0: number): void {
  state.set32(STATE.CR0, cr0Loaded(state.get32(STATE.CR0), cr0));
}

/** DR7 as VM entry loads it. */
export const dr7Loaded = (field: bigint): bigint => (field & ~DR7_ZERO) | DR7_ONE;

/** Bits of pending debug exceptions that make them valid: an enabled breakpoint, a single step. */
const DEBUG_VALID = (1 << 12) | (1 << 14);

/** Whether pending debug exceptions are left after VM entry. Vol. 3, "Delivery of Pending Debug Exceptions after VM Entry". */
function keepsPendingDebug(vmcs: Vmcs): boolean {
  if ((vmcs.read32(FIELDS.GUEST_PENDING_DEBUG_EXCEPTIONS) & DEBUG_VALID) === 0) return false;
  const injection = vmcs.read32(FIELDS.VM_ENTRY_INTERRUPTION_INFORMATION);
  const type = typeOf(injection);
  if (injection >= INTERRUPTION.VALID && type !== OTHER_EVENT) {
    const late = type === EVENT_TYPE.SOFTWARE_INTERRUPT || type === EVENT_TYPE.SOFTWARE_EXCEPTION;
    const blocking = vmcs.read32(FIELDS.GUEST_INTERRUPTIBILITY_STATE);
    return late && (blocking & BLOCKING.MOV_SS) !== 0;
  }
  const activity = vmcs.read32(FIELDS.GUEST_ACTIVITY_STATE);
  return activity !== ACTIVITY.SHUTDOWN && activity !== ACTIVITY.WAIT_FOR_SIPI;
}

/** Vol. 3, "Loading Guest State", without the MSR-load area. */
export function loadGuestState(machine: VmxMachine, vmcs: Vmcs, controls: Controls): void {
  const { core, msr } = machine;
  const { state } = core;
  const { words } = state;
  const { entry, secondary } = controls;
  const on = (control: number) => (entry & control) !== 0;
  const longMode = on(ENTRY.IA_32E_MODE_GUEST);

  vmcs.copyTo(words, ALWAYS);
  const cr0 = vmcs.read32(FIELDS.GUEST_CR0);
  loadCr0(state, cr0);
  if (on(ENTRY.LOAD_DEBUG_CONTROLS)) {
    state.set(DR7, dr7Loaded(vmcs.read(FIELDS.GUEST_DR7)));
    msr.wrmsr(MSR.IA32_DEBUGCTL, vmcs.read(FIELDS.GUEST_IA32_DEBUGCTL));
  }
  if (on(ENTRY.LOAD_IA32_EFER)) vmcs.copyTo(words, EFER_FIELD);
  else state.set32(STATE.EFER, eferFor(state.get32(STATE.EFER), cr0, longMode));
  if (on(ENTRY.LOAD_IA32_LBR_CTL)) {
    msr.wrmsr(MSR.IA32_LBR_CTL, vmcs.read(FIELDS.GUEST_IA32_LBR_CTL));
  }
  if (on(ENTRY.LOAD_IA32_PAT)) vmcs.copyTo(words, PAT_FIELD);
  if (!keepsPendingDebug(vmcs)) state.set(STATE.PENDING_DEBUG, 0n);
  const ss = vmcs.read32(FIELDS.GUEST_SS_ACCESS_RIGHTS);
  state.set32(STATE.CPL, (ss >>> 5) & 3);
  core.rflags = vmcs.read(FIELDS.GUEST_RFLAGS);
  if (usesPdptes(cr0, vmcs.read32(FIELDS.GUEST_CR4), longMode)) {
    if ((secondary & SECONDARY.ENABLE_EPT) !== 0) vmcs.copyTo(words, PDPTE_FIELDS);
    else loadPdptes(machine, vmcs.read(FIELDS.GUEST_CR3));
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
  const { words } = state;
  const on = (control: number) => (controls.exit & control) !== 0;

  // First: until here the guest's enables count.
  if (on(EXIT.SAVE_IA32_PERF_GLOBAL_CTRL)) {
    vmcs.write(FIELDS.GUEST_IA32_PERF_GLOBAL_CTRL, valueIn(machine, MSR.IA32_PERF_GLOBAL_CTRL));
  }
  vmcs.copyFrom(words, ALWAYS);
  vmcs.copyFrom(words, CR0_FIELD);
  if (on(EXIT.SAVE_DEBUG_CONTROLS)) {
    vmcs.write(FIELDS.GUEST_DR7, state.get(DR7));
    vmcs.write(FIELDS.GUEST_IA32_DEBUGCTL, valueIn(machine, MSR.IA32_DEBUGCTL));
  }
  if ((shape.entry & ENTRY.LOAD_IA32_LBR_CTL) !== 0) {
    vmcs.write(FIELDS.GUEST_IA32_LBR_CTL, valueIn(machine, MSR.IA32_LBR_CTL));
  }
  if (on(EXIT.SAVE_IA32_PAT)) vmcs.copyFrom(words, PAT_FIELD);
  if (on(EXIT.SAVE_IA32_EFER)) vmcs.copyFrom(words, EFER_FIELD);
  const longMode = (state.get32(STATE.EFER) & LMA) !== 0;
  if (isSet(shape.misc, VMX_MISC.STORES_LMA)) {
    const other = vmcs.read32(FIELDS.VM_ENTRY_CONTROLS) & ~ENTRY.IA_32E_MODE_GUEST;
    vmcs.write32(FIELDS.VM_ENTRY_CONTROLS, other | (longMode ? ENTRY.IA_32E_MODE_GUEST : 0));
  }
  vmcs.write(FIELDS.GUEST_RFLAGS, core.rflags);
  const ept = (controls.secondary & SECONDARY.ENABLE_EPT) !== 0;
  if (ept && usesPdptes(state.get32(STATE.CR0), state.get32(STATE.CR4), longMode)) {
    vmcs.copyFrom(words, PDPTE_FIELDS);
  }
}
