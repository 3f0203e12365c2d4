import type { FuzzCase } from '../case.ts';

/** A local APIC's page, as software maps it. */
interface ApicPage {
  write(offset: number, size: number, value: bigint): void;
}

const SPURIOUS_VECTOR = { OFFSET: 0xf0, ENABLED: 0x1ffn } as const;
const LVTPC = { OFFSET: 0x340, NMI: 0x400n, MASKED: 0x1_0400n } as const;

/** An APIC that is not enabled by software masks every entry of its LVT. */
export const enableApic = (page: ApicPage): void =>
  page.write(SPURIOUS_VECTOR.OFFSET, 4, SPURIOUS_VECTOR.ENABLED);

/** PMIs come as NMIs, which need no EOI, or not at all. */
export const setLvtpc = (page: ApicPage, { lvtpc }: Pick<FuzzCase, 'lvtpc'>): void =>
  page.write(LVTPC.OFFSET, 4, lvtpc === 'nmi' ? LVTPC.NMI : LVTPC.MASKED);
