import { EVENT_TYPE, type Event, type EventType } from '../cpu/event.ts';

/** Interruption information, as the VM-entry, VM-exit and IDT-vectoring fields have it. */
// biome-ignore format: a table
export const INTERRUPTION = {
  VECTOR: 0xff,  TYPE_SHIFT: 8,  TYPE: 0x700,  ERROR_CODE: 0x800,
  NMI_UNBLOCKING: 0x1000,  RESERVED: 0x7fff_f000,  VALID: 0x8000_0000,
} as const;

/** Type 7: an event that is no interrupt or exception; injected with vector 0, a pending MTF VM exit. */
export const OTHER_EVENT = 7;

/** The type in a word of interruption information. */
export const typeOf = (information: number): number =>
  (information & INTERRUPTION.TYPE) >>> INTERRUPTION.TYPE_SHIFT;

/** Whether the event comes from an instruction, whose length then counts. */
export const isSoftware = (type: number): boolean =>
  type >= EVENT_TYPE.SOFTWARE_INTERRUPT && type <= EVENT_TYPE.SOFTWARE_EXCEPTION;

/** `event` as a word of valid interruption information. */
export function informationOf({ vector, type, code }: Event): number {
  const error = code === undefined ? 0 : INTERRUPTION.ERROR_CODE;
  return (vector | (type << INTERRUPTION.TYPE_SHIFT) | error | INTERRUPTION.VALID) >>> 0;
}

/** The event that a word of valid interruption information names; not for type 7. */
export function eventOf(information: number, code: number, length: number): Event {
  const type = typeOf(information) as EventType;
  return {
    vector: information & INTERRUPTION.VECTOR,
    type,
    ...((information & INTERRUPTION.ERROR_CODE) !== 0 ? { code } : {}),
    ...(isSoftware(type) ? { length } : {}),
  };
}
