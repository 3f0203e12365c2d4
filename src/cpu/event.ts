/**
 * Kinds of vectored events, numbered as interruption information has them.
 * Vol. 3, "VM-Entry Controls for Event Injection".
 */
// biome-ignore format: a table
export const EVENT_TYPE = {
  EXTERNAL: 0, NMI: 2, HARDWARE_EXCEPTION: 3, SOFTWARE_INTERRUPT: 4, PRIVILEGED_SOFTWARE_EXCEPTION: 5, SOFTWARE_EXCEPTION: 6,
} as const;
export type EventType = (typeof EVENT_TYPE)[keyof typeof EVENT_TYPE];

/** An interrupt or exception to deliver through the IDT. */
export interface Event {
  readonly vector: number;
  readonly type: EventType;
  readonly code?: number;
  /** Bytes of the instruction, for software types: the pushed RIP is after it. */
  readonly length?: number;
}
