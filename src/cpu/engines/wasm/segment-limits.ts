/**
 * What the CPU checks of a segment, worked out when code may have changed it, so that generated code need only
 * compare: an entry of `INTERPRETER.SEGMENTS`. An interval with LOW above HIGH allows nothing.
 */
export const SEGMENT_LIMITS = {
  /** u32 each: base, and the first offset that may be read, written. */
  BASE: 0,
  READ_LOW: 4,
  WRITE_LOW: 8,
  /** u64 each: the last such offset. */
  READ_HIGH: 16,
  WRITE_HIGH: 24,
  SIZE: 32,
} as const;
