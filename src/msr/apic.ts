import { bit, bits, maskOf } from '../bits/bitfield.ts';
import { defineMsrs, type MsrRow } from './definition.ts';

/** IA32_APIC_BASE. */
// biome-ignore format: a table
export const APIC_BASE = { BSP: bit(8), EXTD: bit(10), EN: bit(11) } as const;

/** The field of IA32_APIC_BASE that holds the page of the registers. */
export const apicBaseAddress = (physicalAddressBits: number): bigint =>
  bits(physicalAddressBits - 1, 12);

/** A local vector table entry. */
// biome-ignore format: a table
export const LVT = {
  VECTOR: bits(7, 0),  MODE: bits(10, 8),  STATUS: bit(12),  POLARITY: bit(13),  REMOTE_IRR: bit(14),
  LEVEL: bit(15),      MASKED: bit(16),    TIMER_MODE: bits(18, 17),
} as const;

/** The interrupt command register; the destination is that of x2APIC mode. */
// biome-ignore format: a table
export const ICR = {
  VECTOR: bits(7, 0),  MODE: bits(10, 8),  LOGICAL: bit(11),  STATUS: bit(12),  ASSERT: bit(14),  LEVEL: bit(15),
  SHORTHAND: bits(19, 18),  DESTINATION: bits(63, 32),
} as const;

/** The spurious-interrupt vector register. */
// biome-ignore format: a table
export const SIVR = { VECTOR: bits(7, 0), ENABLE: bit(8) } as const;

const { VECTOR, MODE, STATUS, POLARITY, REMOTE_IRR, LEVEL, MASKED, TIMER_MODE } = LVT;
const LINT = maskOf(VECTOR, MODE, POLARITY, LEVEL, MASKED);
const COMMAND = maskOf(
  ICR.VECTOR,
  ICR.MODE,
  ICR.LOGICAL,
  ICR.ASSERT,
  ICR.LEVEL,
  ICR.SHORTHAND,
  ICR.DESTINATION,
);

/** Registers of a local APIC that has both modes; which of them answer follows IA32_APIC_BASE. */
export function apicMsrs(physicalAddressBits: number) {
  const base = maskOf(APIC_BASE.BSP, APIC_BASE.EXTD, APIC_BASE.EN);
  const x2 = 'x2APIC Register Address Space';

  // biome-ignore format: a table
  return defineMsrs({
    IA32_APIC_BASE:          { address: 0x01b, writable: base | apicBaseAddress(physicalAddressBits), sdm: 'Local APIC Status and Location' },
    IA32_TSC_DEADLINE:       { address: 0x6e0, writable: bits(63, 0),                          sdm: 'TSC-Deadline Mode' },
    IA32_X2APIC_APICID:      { address: 0x802, writable: 'none',                               sdm: x2 },
    IA32_X2APIC_VERSION:     { address: 0x803, writable: 'none',                               sdm: x2 },
    IA32_X2APIC_TPR:         { address: 0x808, writable: bits(7, 0),                           sdm: x2 },
    IA32_X2APIC_PPR:         { address: 0x80a, writable: 'none',                               sdm: x2 },
    IA32_X2APIC_EOI:         { address: 0x80b, writable: 0n,                                   sdm: x2 },
    IA32_X2APIC_LDR:         { address: 0x80d, writable: 'none',                               sdm: x2 },
    IA32_X2APIC_SIVR:        { address: 0x80f, writable: SIVR.VECTOR | SIVR.ENABLE,            sdm: x2 },
    IA32_X2APIC_ISR:         { address: 0x810, count: 8, writable: 'none',                     sdm: x2 },
    IA32_X2APIC_TMR:         { address: 0x818, count: 8, writable: 'none',                     sdm: x2 },
    IA32_X2APIC_IRR:         { address: 0x820, count: 8, writable: 'none',                     sdm: x2 },
    IA32_X2APIC_ESR:         { address: 0x828, writable: 0n,                                   sdm: x2 },
    IA32_X2APIC_ICR:         { address: 0x830, writable: COMMAND, ignored: ICR.STATUS,         sdm: x2 },
    IA32_X2APIC_LVT_TIMER:   { address: 0x832, writable: VECTOR | MASKED | TIMER_MODE, ignored: STATUS, sdm: x2 },
    IA32_X2APIC_LVT_THERMAL: { address: 0x833, writable: VECTOR | MODE | MASKED, ignored: STATUS, sdm: x2 },
    IA32_X2APIC_LVT_PMI:     { address: 0x834, writable: VECTOR | MODE | MASKED, ignored: STATUS, sdm: x2 },
    IA32_X2APIC_LVT_LINT0:   { address: 0x835, writable: LINT, ignored: STATUS | REMOTE_IRR,   sdm: x2 },
    IA32_X2APIC_LVT_LINT1:   { address: 0x836, writable: LINT, ignored: STATUS | REMOTE_IRR,   sdm: x2 },
    IA32_X2APIC_LVT_ERROR:   { address: 0x837, writable: VECTOR | MASKED, ignored: STATUS,     sdm: x2 },
    IA32_X2APIC_INIT_COUNT:  { address: 0x838, writable: bits(31, 0),                          sdm: x2 },
    IA32_X2APIC_CUR_COUNT:   { address: 0x839, writable: 'none',                               sdm: x2 },
    IA32_X2APIC_DIV_CONF:    { address: 0x83e, writable: bits(1, 0) | bit(3),                  sdm: x2 },
    IA32_X2APIC_SELF_IPI:    { address: 0x83f, writable: bits(7, 0),                           sdm: x2 },
  });
}

export type ApicMsrName = keyof ReturnType<typeof apicMsrs>;
export type ApicMsrs = Readonly<Record<ApicMsrName, MsrRow>>;
