/** What cached translations are tagged with. Vol. 3, "Caching Translation Information" and "Process-Context Identifiers (PCIDs)". */
export interface TranslationTags {
  /** Virtual-processor identifier: 0 in root operation, and in non-root operation without VPIDs. */
  readonly vpid: number;
  /** Process-context identifier: 0 while CR4.PCIDE is 0. */
  readonly pcid: number;
  /** Physical address of the EPT PML4 table; undefined without EPT. */
  readonly ept: number | undefined;
}

/** Translations to forget: those with all of these tags. A tag that is left out stands for any. */
export interface Stale {
  readonly vpid?: number | 'not 0';
  readonly pcid?: number;
  readonly ept?: number | 'any';
  /** Only that of the page of one linear address, and then also where it is global, whatever its PCID. */
  readonly linear?: bigint;
}

/** Whether a change makes translations with these tags stale. */
export function isStale({ vpid, pcid, ept, linear }: Stale, tags: TranslationTags): boolean {
  if (vpid === 'not 0' ? tags.vpid === 0 : vpid !== undefined && vpid !== tags.vpid) return false;
  if (pcid !== undefined && linear === undefined && pcid !== tags.pcid) return false;
  return ept === 'any' ? tags.ept !== undefined : ept === undefined || ept === tags.ept;
}
