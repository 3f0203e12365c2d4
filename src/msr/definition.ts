/** A model-specific register, or a bank of them at consecutive addresses, as a row. */
export interface MsrRow {
  /** Address of the register, or of the first of the bank. */
  readonly address: number;
  /** Registers in the bank, 1 unless told. A bank of none is not on the bus. */
  readonly count?: number;
  /** Which registers of the bank exist, as a bitmap; all unless told. */
  readonly present?: bigint;
  /** Distance between two registers of the bank, 1 unless told. */
  readonly stride?: number;
  /** Value after power-up and RESET, 0 unless told. */
  readonly reset?: bigint;
  /** Bits a write may set; any other bit set is #GP. `'none'`: every write is #GP. */
  readonly writable: bigint | 'none';
  /** Bits outside `writable` whose written value is dropped instead of faulting. */
  readonly ignored?: bigint;
  /** Section title of the SDM (volume 3 unless told) that the row was read from. */
  readonly sdm: string;
}

export type MsrTable = Readonly<Record<string, MsrRow>>;

/** Keeps the row names as literal types, so that a behaviour attached to a misspelt name does not compile. */
export const defineMsrs = <const Names extends string>(
  rows: Readonly<Record<Names, MsrRow>>,
): Readonly<Record<Names, MsrRow>> => rows;
