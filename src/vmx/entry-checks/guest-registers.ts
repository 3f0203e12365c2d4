import { bit, bits, isSet } from '../../bits/bitfield.ts';
import { CR0, CR4, EFER, RFLAGS } from '../../cpu/control-registers.ts';
import { EVENT_TYPE } from '../../cpu/event.ts';
import { CR0_FIXED, CR4_ONE, ENTRY, SECONDARY } from '../../msr/vmx.ts';
import { MSR } from '../machine.ts';
import type { Entry } from './entry.ts';
import { EFER_BITS, patIsValid } from './host-state.ts';
import type { Rule } from './rule.ts';

const REGISTERS = 'Checks on Guest Control Registers, Debug Registers, and MSRs';
const TABLES = 'Checks on Guest Descriptor-Table Registers';
const POINTERS = 'Checks on Guest RIP, RFLAGS, and SSP';

const entry = (control: number) => (e: Entry) => (e.entry & control) !== 0;
export const longMode = entry(ENTRY.IA_32E_MODE_GUEST);
const debugControls = entry(ENTRY.LOAD_DEBUG_CONTROLS);
const loadEfer = entry(ENTRY.LOAD_IA32_EFER);
export const unrestricted = (e: Entry) => (e.secondary & SECONDARY.UNRESTRICTED_GUEST) !== 0;
export const virtual8086 = (e: Entry) => e.hasBits('GUEST_RFLAGS', Number(RFLAGS.VM));
const cr0 = (e: Entry, field: bigint) => isSet(e.read('GUEST_CR0'), field);
const cr4 = (e: Entry, field: bigint) => isSet(e.read('GUEST_CR4'), field);
const CS_L = 1 << 13;

/** CR0 bits that must be 1; unrestricted guests may clear PE and PG. */
const cr0One = (e: Entry) => CR0_FIXED.one & ~(unrestricted(e) ? CR0.PE | CR0.PG : 0n);

const RFLAGS_ZERO = bits(63, 22) | bit(15) | bit(5) | bit(3);

// biome-ignore format: a table
export const REGISTER_RULES: readonly Rule[] = [
  { rule: 'guest CR0 sets the bits fixed to 1', sdm: REGISTERS, ok: (e) => (e.read('GUEST_CR0') & cr0One(e)) === cr0One(e) },
  { rule: 'guest CR0 clears the bits fixed to 0', sdm: REGISTERS, ok: (e) => (e.read('GUEST_CR0') & CR0_FIXED.zero) === 0n },
  { rule: 'guest CR0.PG needs CR0.PE', sdm: REGISTERS, ok: (e) => !cr0(e, CR0.PG) || cr0(e, CR0.PE) },
  { rule: 'guest CR4 sets the bits fixed to 1', sdm: REGISTERS, ok: (e) => (e.read('GUEST_CR4') & CR4_ONE) === CR4_ONE },
  { rule: 'guest CR4 clears the bits fixed to 0', sdm: REGISTERS, ok: (e) => (e.read('GUEST_CR4') & ~(e.cr4 | CR4_ONE)) === 0n },
  { rule: 'guest IA32_DEBUGCTL has its reserved bits 0', sdm: REGISTERS, ok: (e) => !debugControls(e) || e.msr.accepts(MSR.IA32_DEBUGCTL, e.read('GUEST_IA32_DEBUGCTL')) },
  { rule: 'an IA-32e mode guest has CR0.PG 1', sdm: REGISTERS, ok: (e) => !longMode(e) || cr0(e, CR0.PG) },
  { rule: 'an IA-32e mode guest has CR4.PAE 1', sdm: REGISTERS, ok: (e) => !longMode(e) || cr4(e, CR4.PAE) },
  { rule: 'a guest outside IA-32e mode has CR4.PCIDE 0', sdm: REGISTERS, ok: (e) => longMode(e) || !cr4(e, CR4.PCIDE) },
  { rule: 'guest CR3 is within the physical-address width', sdm: REGISTERS, ok: (e) => e.isPhysical(e.read('GUEST_CR3')) },
  { rule: 'guest DR7 bits 63:32 are 0', sdm: REGISTERS, ok: (e) => !debugControls(e) || e.read('GUEST_DR7') >> 32n === 0n },
  { rule: 'guest IA32_SYSENTER_ESP is canonical', sdm: REGISTERS, ok: (e) => e.isCanonical(e.read('GUEST_IA32_SYSENTER_ESP')) },
  { rule: 'guest IA32_SYSENTER_EIP is canonical', sdm: REGISTERS, ok: (e) => e.isCanonical(e.read('GUEST_IA32_SYSENTER_EIP')) },
  { rule: 'guest IA32_PERF_GLOBAL_CTRL has its reserved bits 0', sdm: REGISTERS, ok: (e) => !entry(ENTRY.LOAD_IA32_PERF_GLOBAL_CTRL)(e) || e.msr.accepts(MSR.IA32_PERF_GLOBAL_CTRL, e.read('GUEST_IA32_PERF_GLOBAL_CTRL')) },
  { rule: 'guest IA32_PAT holds memory types', sdm: REGISTERS, ok: (e) => !entry(ENTRY.LOAD_IA32_PAT)(e) || patIsValid(e.read('GUEST_IA32_PAT')) },
  { rule: 'guest IA32_EFER has its reserved bits 0', sdm: REGISTERS, ok: (e) => !loadEfer(e) || (e.read('GUEST_IA32_EFER') & ~EFER_BITS) === 0n },
  { rule: 'guest IA32_EFER.LMA is IA-32e mode guest', sdm: REGISTERS, ok: (e) => !loadEfer(e) || isSet(e.read('GUEST_IA32_EFER'), EFER.LMA) === longMode(e) },
  { rule: 'guest IA32_EFER.LMA is LME with paging', sdm: REGISTERS, ok: (e) => !loadEfer(e) || !cr0(e, CR0.PG) || isSet(e.read('GUEST_IA32_EFER'), EFER.LMA) === isSet(e.read('GUEST_IA32_EFER'), EFER.LME) },
  { rule: 'guest IA32_LBR_CTL has its reserved bits 0', sdm: REGISTERS, ok: (e) => !entry(ENTRY.LOAD_IA32_LBR_CTL)(e) || e.msr.accepts(MSR.IA32_LBR_CTL, e.read('GUEST_IA32_LBR_CTL')) },
];

// biome-ignore format: a table
export const TABLE_RULES: readonly Rule[] = [
  { rule: 'guest GDTR base is canonical', sdm: TABLES, ok: (e) => e.isCanonical(e.read('GUEST_GDTR_BASE')) },
  { rule: 'guest IDTR base is canonical', sdm: TABLES, ok: (e) => e.isCanonical(e.read('GUEST_IDTR_BASE')) },
  { rule: 'guest GDTR limit bits 31:16 are 0', sdm: TABLES, ok: (e) => e.read32('GUEST_GDTR_LIMIT') >>> 16 === 0 },
  { rule: 'guest IDTR limit bits 31:16 are 0', sdm: TABLES, ok: (e) => e.read32('GUEST_IDTR_LIMIT') >>> 16 === 0 },
];

const in64BitCode = (e: Entry) => longMode(e) && (e.read32('GUEST_CS_ACCESS_RIGHTS') & CS_L) !== 0;

// biome-ignore format: a table
export const POINTER_RULES: readonly Rule[] = [
  { rule: 'guest RIP bits 63:32 are 0 outside 64-bit mode', sdm: POINTERS, ok: (e) => in64BitCode(e) || e.read('GUEST_RIP') >> 32n === 0n },
  { rule: 'guest RIP is canonical in 64-bit mode', sdm: POINTERS, ok: (e) => !in64BitCode(e) || e.isCanonical(e.read('GUEST_RIP')) },
  { rule: 'guest RFLAGS has its reserved bits 0', sdm: POINTERS, ok: (e) => (e.read('GUEST_RFLAGS') & RFLAGS_ZERO) === 0n },
  { rule: 'guest RFLAGS bit 1 is 1', sdm: POINTERS, ok: (e) => isSet(e.read('GUEST_RFLAGS'), RFLAGS.FIXED) },
  { rule: 'guest RFLAGS.VM is 0 in IA-32e mode', sdm: POINTERS, ok: (e) => !longMode(e) || !virtual8086(e) },
  { rule: 'guest RFLAGS.VM is 0 with CR0.PE 0', sdm: POINTERS, ok: (e) => cr0(e, CR0.PE) || !virtual8086(e) },
  { rule: 'guest RFLAGS.IF is 1 when an external interrupt is injected', sdm: POINTERS, ok: (e) => !e.injects(EVENT_TYPE.EXTERNAL) || isSet(e.read('GUEST_RFLAGS'), RFLAGS.IF) },
];
