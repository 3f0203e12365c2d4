/** Delivery modes by their number in a message, an LVT entry or the ICR. Vol. 3, "Interrupt Command Register (ICR)". */
export const DELIVERY = {
  FIXED: 0,
  LOWEST_PRIORITY: 1,
  SMI: 2,
  NMI: 4,
  INIT: 5,
  STARTUP: 6,
  EXTINT: 7,
} as const;

/** Destination shorthands of the ICR. */
export const SHORTHAND = { NONE: 0, SELF: 1, ALL: 2, OTHERS: 3 } as const;

/** An interrupt message between APICs. */
export interface ApicMessage {
  readonly mode: number;
  readonly vector: number;
  /** Level-triggered: EOI is told to whoever sent it. */
  readonly level: boolean;
  /** False for INIT level de-assert, which nobody heeds. */
  readonly assert: boolean;
  readonly logical: boolean;
  readonly shorthand: number;
  /** 8 bits in xAPIC mode and from an I/O APIC, 32 in x2APIC mode. */
  readonly destination: number;
  /** The destination that stands for all: FFH or FFFF_FFFFH. */
  readonly broadcast: number;
}
