import type { ModuleBuilder } from './assembler/module-builder.ts';
import type { Type } from './assembler/opcodes.ts';

/** What every handler is called with: record, ticks left, flag kind, flag x, flag y. */
export const HANDLER_PARAMETERS: readonly Type[] = ['i32', 'i32', 'i32', 'i64', 'i64'];
/** A handler ends in a tail call or returns why it left: one of `LEAVE`. */
export const HANDLER_RESULTS: readonly Type[] = ['i32'];

/** Functions of the runtime module that handlers call, with their types. The first five parameters of the slow ones are a handler's. */
// biome-ignore format: a table
export const RUNTIME_FUNCTIONS = {
  /** (high, low, divisor) → quotient, remainder, fits */
  divideUnsigned: [['i64', 'i64', 'i64'], ['i64', 'i64', 'i32']],
  divideSigned:   [['i64', 'i64', 'i64'], ['i64', 'i64', 'i32']],
  /** (…, RIP, why) → why; the state is in the state block */
  leave:          [[...HANDLER_PARAMETERS, 'i64', 'i32'], ['i32']],
  /** (…, linear address, access) → value; 16 bytes come in OPERAND. Throws through the handler, as all below. */
  load:           [[...HANDLER_PARAMETERS, 'i64', 'i32'], ['i64']],
  /** (…, linear address, access, value); 16 bytes stand in OPERAND */
  store:          [[...HANDLER_PARAMETERS, 'i64', 'i32', 'i64'], []],
  /** (…, linear address, access) → where to load from and to store back to; OPERAND if `storeBack` must follow */
  update:         [[...HANDLER_PARAMETERS, 'i64', 'i32'], ['i32']],
  storeBack:      [[], []],
  /** (…, linear address, access) */
  probe:          [[...HANDLER_PARAMETERS, 'i64', 'i32'], []],
  /** (…, vector, error code or -1) */
  trap:           [[...HANDLER_PARAMETERS, 'i32', 'i32'], []],
  /** (…, number) of an assist, a vector function or an effect; arguments and results stand in SCRATCH */
  assist:         [[...HANDLER_PARAMETERS, 'i32'], []],
  vector:         [['i32'], []],
  /** (…) → 0 where generated code may go on behind the system instruction of the record, else why it leaves */
  system:         [[...HANDLER_PARAMETERS], ['i32']],
  /** (flag kind, x, y) → whether the even condition code 2n holds */
  condition0: [['i32', 'i64', 'i64'], ['i32']],
  condition1: [['i32', 'i64', 'i64'], ['i32']],
  condition2: [['i32', 'i64', 'i64'], ['i32']],
  condition3: [['i32', 'i64', 'i64'], ['i32']],
  condition4: [['i32', 'i64', 'i64'], ['i32']],
  condition5: [['i32', 'i64', 'i64'], ['i32']],
  condition6: [['i32', 'i64', 'i64'], ['i32']],
  condition7: [['i32', 'i64', 'i64'], ['i32']],
  /** (flag kind, x, y) → the six status flags */
  statusFlags: [['i32', 'i64', 'i64'], ['i32']],
} as const satisfies Record<string, readonly [readonly Type[], readonly Type[]]>;

export type RuntimeFunction = keyof typeof RUNTIME_FUNCTIONS;
/** Function indices in a module. */
export type RuntimeIndices = Readonly<Record<RuntimeFunction, number>>;

export const RUNTIME_NAMES = Object.keys(RUNTIME_FUNCTIONS) as readonly RuntimeFunction[];

/** Imports the runtime's functions into a module of handlers. */
export function importRuntime(module: ModuleBuilder): RuntimeIndices {
  return Object.fromEntries(
    RUNTIME_NAMES.map((name) => {
      const [parameters, results] = RUNTIME_FUNCTIONS[name];
      return [name, module.importFunction(name, parameters, results)];
    }),
  ) as RuntimeIndices;
}

/** Why generated code came back. */
export const LEAVE = {
  /** No ticks left; RIP is the next instruction. */
  HORIZON: 1,
  /** No ticks left, between two iterations of the instruction at RIP. */
  REPEATING: 6,
  /** RIP is not in the code TLB or not decoded. */
  MISS: 2,
  /** The stub in RECORD is a direct edge to be linked. */
  LINK: 3,
  /** The instruction at RIP is for plain TypeScript. */
  SYSTEM: 4,
  /** A system instruction is done, after which code may be looked up elsewhere and under another mode. */
  ELSEWHERE: 7,
  /** It ended in a VM exit. */
  EXIT: 8,
  /** RIP is where a branch has led often: its block deserves a handler. */
  HOT: 5,
} as const;

/** How a slow path is told what is accessed: size, segment number, and whether it must be aligned. */
export const ACCESS = { SIZE: 0xff, SEGMENT_SHIFT: 8, SEGMENT: 7, ALIGNED: 0x1_0000 } as const;
