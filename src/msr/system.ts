import { bit, bits, maskOf, ones } from '../bits/bitfield.ts';
import { defineMsrs } from './definition.ts';

const ALL = ones(64);
const EFER_WRITABLE = maskOf(bit(0), bit(8), bit(11));
const EFER_LMA = bit(10);
/** Sets of variable-range MTRRs. */
export const VARIABLE_MTRRS = 10;
/** WC supported, fixed ranges supported, number of variable ranges. */
const MTRRCAP = bit(10) | bit(8) | BigInt(VARIABLE_MTRRS);
const MTRR_MEMORY_TYPE = bits(7, 0);

/**
 * System registers of the core, the same on every profile. Registers that CPUID sizes or hides are in the other tables.
 * @param physicalWidth bits of a physical address
 */
export const systemMsrs = (physicalWidth: number) => {
  const address = bits(physicalWidth - 1, 12);
  // biome-ignore format: a table
  return defineMsrs({
    IA32_TIME_STAMP_COUNTER: { address: 0x10,       writable: ALL,                           sdm: 'Time-Stamp Counter' },
    IA32_PLATFORM_ID:        { address: 0x17,       writable: 'none',                        sdm: 'Architectural MSRs (vol. 4)' },
    IA32_TSC_ADJUST:         { address: 0x3b,       writable: ALL,                           sdm: 'IA32_TSC_ADJUST MSR' },
    IA32_BIOS_SIGN_ID:       { address: 0x8b,       writable: ALL,                           sdm: 'Microcode Update Facilities' },
    MSR_PLATFORM_INFO:       { address: 0xce, reset: 30n << 8n, writable: 'none',            sdm: 'Architectural MSRs (vol. 4)' },
    IA32_MTRRCAP:            { address: 0xfe, reset: MTRRCAP, writable: 'none',              sdm: 'MTRR Feature Identification' },
    IA32_SYSENTER_CS:        { address: 0x174,      writable: ALL,                           sdm: 'Performing Fast Calls to System Procedures' },
    IA32_SYSENTER_ESP:       { address: 0x175,      writable: ALL,                           sdm: 'Performing Fast Calls to System Procedures' },
    IA32_SYSENTER_EIP:       { address: 0x176,      writable: ALL,                           sdm: 'Performing Fast Calls to System Procedures' },
    IA32_MCG_CAP:            { address: 0x179,      writable: 'none',                        sdm: 'Machine-Check Global Control MSRs' },
    IA32_MCG_STATUS:         { address: 0x17a,      writable: bits(2, 0),                    sdm: 'Machine-Check Global Control MSRs' },
    IA32_MTRR_PHYSBASE:      { address: 0x200, count: VARIABLE_MTRRS, stride: 2, writable: address | MTRR_MEMORY_TYPE, sdm: 'Variable Range MTRRs' },
    IA32_MTRR_PHYSMASK:      { address: 0x201, count: VARIABLE_MTRRS, stride: 2, writable: address | bit(11),          sdm: 'Variable Range MTRRs' },
    IA32_MTRR_FIX64K_00000:  { address: 0x250,      writable: ALL,                           sdm: 'Fixed Range MTRRs' },
    IA32_MTRR_FIX16K:        { address: 0x258, count: 2, writable: ALL,                      sdm: 'Fixed Range MTRRs' },
    IA32_MTRR_FIX4K:         { address: 0x268, count: 8, writable: ALL,                      sdm: 'Fixed Range MTRRs' },
    IA32_PAT:                { address: 0x277, reset: 0x0007_0406_0007_0406n, writable: ALL, sdm: 'IA32_PAT MSR' },
    IA32_MTRR_DEF_TYPE:      { address: 0x2ff,      writable: bits(11, 10) | MTRR_MEMORY_TYPE, sdm: 'IA32_MTRR_DEF_TYPE MSR' },
    IA32_XSS:                { address: 0xda0,      writable: ALL,                           sdm: 'Enabling the XSAVE Feature Set (vol. 1)' },
    IA32_EFER:               { address: 0xc000_0080, writable: EFER_WRITABLE, ignored: EFER_LMA, sdm: 'Extended Feature Enable Register' },
    IA32_STAR:               { address: 0xc000_0081, writable: ALL,                          sdm: 'Fast System Calls in 64-Bit Mode' },
    IA32_LSTAR:              { address: 0xc000_0082, writable: ALL,                          sdm: 'Fast System Calls in 64-Bit Mode' },
    IA32_CSTAR:              { address: 0xc000_0083, writable: ALL,                          sdm: 'Fast System Calls in 64-Bit Mode' },
    IA32_FMASK:              { address: 0xc000_0084, writable: ones(32),                     sdm: 'Fast System Calls in 64-Bit Mode' },
    IA32_FS_BASE:            { address: 0xc000_0100, writable: ALL,                          sdm: 'Segment Loading Instructions in IA-32e Mode' },
    IA32_GS_BASE:            { address: 0xc000_0101, writable: ALL,                          sdm: 'Segment Loading Instructions in IA-32e Mode' },
    IA32_KERNEL_GS_BASE:     { address: 0xc000_0102, writable: ALL,                          sdm: 'Segment Loading Instructions in IA-32e Mode' },
    IA32_TSC_AUX:            { address: 0xc000_0103, writable: ones(32),                     sdm: 'IA32_TSC_AUX Register and RDTSCP Support' },
  });
};

/** IA32_SPEC_CTRL.IBRS, IA32_PRED_CMD.IBPB. */
export const SPECULATION = { IBRS: bit(0), IBPB: bit(0) } as const;

/** What CPUID.7.0:EDX[26] announces. Nothing here speculates: IBRS is kept, an IBPB makes the modelled predictor forget. */
// biome-ignore format: a table
export const speculationMsrs = () => defineMsrs({
  IA32_SPEC_CTRL: { address: 0x48, writable: SPECULATION.IBRS, sdm: 'Architectural MSRs (vol. 4)' },
  IA32_PRED_CMD:  { address: 0x49, writable: SPECULATION.IBPB, sdm: 'Architectural MSRs (vol. 4)' },
});
