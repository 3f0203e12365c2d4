/**
 * What the CPU checks of a segment, worked out when code may have changed it, so that generated code need only
 * compare: an entry of `INTERPRETER.SEGMENTS`, u32 each. An interval with LOW above HIGH allows nothing.
 */
export const SEGMENT_LIMITS = {
  BASE: 0,
  READ_LOW: 4,
  READ_HIGH: 8,
  WRITE_LOW: 12,
  WRITE_HIGH: 16,
  SIZE: 32,
} as const;
