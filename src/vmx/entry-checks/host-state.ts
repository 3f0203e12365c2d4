import { isSet } from '../../bits/bitfield.ts';
import { CR4, EFER } from '../../cpu/control-registers.ts';
import { CR0_FIXED, CR4_ONE, ENTRY, EXIT } from '../../msr/vmx.ts';
import { MSR } from '../machine.ts';
import type { Entry } from './entry.ts';
import type { Rule } from './rule.ts';

const REGISTERS = 'Checks on Host Control Registers, MSRs, and SSP';
const SEGMENTS = 'Checks on Host Segment and Descriptor-Table Registers';
const ADDRESS_SPACE = 'Checks Related to Address-Space Size';

/** Bits of IA32_EFER that exist. */
export const EFER_BITS = EFER.SCE | EFER.LME | EFER.LMA | EFER.NXE;

const exit = (control: number) => (e: Entry) => (e.exit & control) !== 0;
const wide = exit(EXIT.HOST_ADDRESS_SPACE_SIZE);
const ia32eGuest = (e: Entry) => (e.entry & ENTRY.IA_32E_MODE_GUEST) !== 0;
const inLongMode = (e: Entry) => e.inLongMode;

/** Whether each byte of a PAT is a memory type that exists: 0, 1, 4, 5, 6 or 7. */
export function patIsValid(pat: bigint): boolean {
  for (let shift = 0n; shift < 64n; shift += 8n) {
    const type = (pat >> shift) & 0xffn;
    if (type > 7n || type === 2n || type === 3n) return false;
  }
  return true;
}

const SELECTORS = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS', 'TR'] as const;
const BASES = ['FS', 'GS', 'TR', 'GDTR', 'IDTR'] as const;

const selectorRules: Rule[] = SELECTORS.flatMap((name) => [
  {
    rule: `host ${name} selector has RPL 0`,
    sdm: SEGMENTS,
    ok: (e) => (e.read32(`HOST_${name}_SELECTOR`) & 3) === 0,
  },
  {
    rule: `host ${name} selector has TI 0`,
    sdm: SEGMENTS,
    ok: (e) => (e.read32(`HOST_${name}_SELECTOR`) & 4) === 0,
  },
]);

const baseRules: Rule[] = BASES.map((name) => ({
  rule: `host ${name} base is canonical`,
  sdm: SEGMENTS,
  ok: (e) => e.isCanonical(e.read(`HOST_${name}_BASE`)),
}));

/** Vol. 3, "Checks on Host-State Area": a rule that does not hold is VMfailValid 8. */
// biome-ignore format: a table
export const HOST_RULES: readonly Rule[] = [
  { rule: 'host CR0 sets the bits fixed to 1', sdm: REGISTERS, ok: (e) => (e.read('HOST_CR0') & CR0_FIXED.one) === CR0_FIXED.one },
  { rule: 'host CR0 clears the bits fixed to 0', sdm: REGISTERS, ok: (e) => (e.read('HOST_CR0') & CR0_FIXED.zero) === 0n },
  { rule: 'host CR4 sets the bits fixed to 1', sdm: REGISTERS, ok: (e) => (e.read('HOST_CR4') & CR4_ONE) === CR4_ONE },
  { rule: 'host CR4 clears the bits fixed to 0', sdm: REGISTERS, ok: (e) => (e.read('HOST_CR4') & ~(e.cr4 | CR4_ONE)) === 0n },
  { rule: 'host CR3 is within the physical-address width', sdm: REGISTERS, ok: (e) => e.isPhysical(e.read('HOST_CR3')) },
  { rule: 'host IA32_SYSENTER_ESP is canonical', sdm: REGISTERS, ok: (e) => e.isCanonical(e.read('HOST_IA32_SYSENTER_ESP')) },
  { rule: 'host IA32_SYSENTER_EIP is canonical', sdm: REGISTERS, ok: (e) => e.isCanonical(e.read('HOST_IA32_SYSENTER_EIP')) },
  { rule: 'host IA32_PERF_GLOBAL_CTRL has its reserved bits 0', sdm: REGISTERS, ok: (e) => !exit(EXIT.LOAD_IA32_PERF_GLOBAL_CTRL)(e) || e.msr.accepts(MSR.IA32_PERF_GLOBAL_CTRL, e.read('HOST_IA32_PERF_GLOBAL_CTRL')) },
  { rule: 'host IA32_PAT holds memory types', sdm: REGISTERS, ok: (e) => !exit(EXIT.LOAD_IA32_PAT)(e) || patIsValid(e.read('HOST_IA32_PAT')) },
  { rule: 'host IA32_EFER has its reserved bits 0', sdm: REGISTERS, ok: (e) => !exit(EXIT.LOAD_IA32_EFER)(e) || (e.read('HOST_IA32_EFER') & ~EFER_BITS) === 0n },
  { rule: 'host IA32_EFER.LMA is the host address-space size', sdm: REGISTERS, ok: (e) => !exit(EXIT.LOAD_IA32_EFER)(e) || isSet(e.read('HOST_IA32_EFER'), EFER.LMA) === wide(e) },
  { rule: 'host IA32_EFER.LME is the host address-space size', sdm: REGISTERS, ok: (e) => !exit(EXIT.LOAD_IA32_EFER)(e) || isSet(e.read('HOST_IA32_EFER'), EFER.LME) === wide(e) },

  ...selectorRules,
  { rule: 'host CS selector is not null', sdm: SEGMENTS, ok: (e) => e.read32('HOST_CS_SELECTOR') !== 0 },
  { rule: 'host TR selector is not null', sdm: SEGMENTS, ok: (e) => e.read32('HOST_TR_SELECTOR') !== 0 },
  { rule: 'host SS selector is not null with a 32-bit host', sdm: SEGMENTS, ok: (e) => wide(e) || e.read32('HOST_SS_SELECTOR') !== 0 },
  ...baseRules,

  { rule: 'outside IA-32e mode the guest is no IA-32e mode guest', sdm: ADDRESS_SPACE, ok: (e) => inLongMode(e) || !ia32eGuest(e) },
  { rule: 'outside IA-32e mode the host address-space size is 0', sdm: ADDRESS_SPACE, ok: (e) => inLongMode(e) || !wide(e) },
  { rule: 'in IA-32e mode the host address-space size is 1', sdm: ADDRESS_SPACE, ok: (e) => !inLongMode(e) || wide(e) },
  { rule: 'a 32-bit host has no IA-32e mode guest', sdm: ADDRESS_SPACE, ok: (e) => wide(e) || !ia32eGuest(e) },
  { rule: 'a 32-bit host has CR4.PCIDE 0', sdm: ADDRESS_SPACE, ok: (e) => wide(e) || !isSet(e.read('HOST_CR4'), CR4.PCIDE) },
  { rule: 'a 32-bit host has RIP bits 63:32 0', sdm: ADDRESS_SPACE, ok: (e) => wide(e) || e.read('HOST_RIP') >> 32n === 0n },
  { rule: 'a 64-bit host has CR4.PAE 1', sdm: ADDRESS_SPACE, ok: (e) => !wide(e) || isSet(e.read('HOST_CR4'), CR4.PAE) },
  { rule: 'a 64-bit host has a canonical RIP', sdm: ADDRESS_SPACE, ok: (e) => !wide(e) || e.isCanonical(e.read('HOST_RIP'), isSet(e.read('HOST_CR4'), CR4.LA57) ? 57 : 48) },
];
