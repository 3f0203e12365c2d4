import { extract, isSet } from '../bits/bitfield.ts';
import { ICR } from '../msr/apic.ts';

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

/** The message that a value of the ICR, in the layout of x2APIC mode, sends. Its interrupts are edge-triggered. */
export function readCommand(icr: bigint, extended: boolean): ApicMessage {
  return {
    mode: Number(extract(icr, ICR.MODE)),
    vector: Number(extract(icr, ICR.VECTOR)),
    level: false,
    assert: isSet(icr, ICR.ASSERT) || !isSet(icr, ICR.LEVEL),
    logical: isSet(icr, ICR.LOGICAL),
    shorthand: Number(extract(icr, ICR.SHORTHAND)),
    destination: Number(extract(icr, ICR.DESTINATION)),
    broadcast: extended ? 0xffff_ffff : 0xff,
  };
}
