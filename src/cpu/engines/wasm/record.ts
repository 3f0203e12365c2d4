/**
 * A decoded instruction in linear memory: what its form's handler reads at run time. Offsets in bytes.
 * A stub, which stands for "go on elsewhere", is only the first part.
 */
export const RECORD = {
  /** u32: table index of the handler. */
  HANDLER: 0,
  /**
   * u32: record or stub where a taken direct branch goes; of a LINK stub: address of the edge to patch; of a system
   * instruction: its number (block-decoder.ts).
   */
  EDGE: 4,
  /** u64: the instruction's own RIP; of a stub, the one to go on at. */
  RIP: 8,
  /** u32: the instruction's own handler, if HANDLER is one of the block that begins here; not 0 in a stub. */
  SINGLE: 16,
  /** i32: how often control must still come here by a branch, negated, until the block gets a handler. */
  HEAT: 20,
  /** u32, of a LINK stub: the slots that the target must be found in for the edge to be patched. */
  STUB_SLOTS: 20,
  STUB_SIZE: 24,
  /** u64: displacement; with RIP-relative addressing the whole address; target of a direct branch. */
  DISPLACEMENT: 24,
  /** u64: immediate; RIP of the next instruction where there is none. */
  IMMEDIATE: 32,
  /** 4 × u16: byte offset from the state block of the registers that are operands. */
  OPERAND: 40,
  /** u16: the same of the base and index register of the memory operand. */
  BASE: 48,
  INDEX: 50,
  /** u32: bytes of the instruction. */
  LENGTH: 52,
  /** u64: linear address of the instruction. */
  LINEAR: 56,
  SIZE: 64,
} as const;

/** Table indices of the handlers that belong to no form. */
export const STUB = {
  /** A direct edge not followed before: TypeScript finds the record and patches the edge. */
  LINK: 0,
  /** What is decoded elsewhere: goes on at EDGE. */
  GOTO: 1,
  /** Goes on at RIP through the code TLB: direct edges and fall-through to other pages. */
  CROSS: 2,
  /** Was an instruction whose bytes were overwritten: found again by RIP. */
  STALE: 3,
  /** Leaves the instruction to the oracle: what is too rare for a handler. */
  PLAIN: 4,
  /** A system instruction: TypeScript executes it, and generated code goes on behind it. */
  SYSTEM: 5,
  COUNT: 6,
} as const;
