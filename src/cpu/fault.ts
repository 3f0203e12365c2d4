/** Exceptions by mnemonic. Vol. 3, "Protected-Mode Exceptions and Interrupts". */
// biome-ignore format: a table
export const VECTORS = {
  '#DE': 0, '#DB': 1, '#BP': 3, '#OF': 4, '#BR': 5, '#UD': 6, '#NM': 7, '#DF': 8, '#TS': 10, '#NP': 11, '#SS': 12,
  '#GP': 13, '#PF': 14, '#MF': 16, '#AC': 17, '#MC': 18, '#XM': 19, '#VE': 20, '#CP': 21,
} as const;
export type Exception = keyof typeof VECTORS;

/**
 * A fault on its way to delivery. Thrown by plain-TypeScript instruction code and by slow paths;
 * no stack trace is taken, so throwing one is cheap.
 */
export class Fault {
  readonly exception: Exception;
  /** Error code, where the exception has one. */
  readonly code: number | undefined;
  /** CR2 of #PF, DR6 bits of #DB. */
  readonly address: bigint;

  constructor(exception: Exception, code?: number, address = 0n) {
    this.exception = exception;
    this.code = code;
    this.address = address;
  }
}
