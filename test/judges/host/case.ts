/** One test case: what `harness.c` calls struct test, and the FXSAVE state where the FPU is judged too. */
export interface Case {
  readonly codeSize: 2 | 4 | 8;
  /** Instructions (iterations of REP) to execute. */
  readonly steps: number;
  readonly code: Uint8Array;
  /** Offset of the code in its page. */
  readonly codeAt: number;
  /** Memory that differs from the pattern: offset in the data pages, at most 64 bytes. */
  readonly patchAt: number;
  readonly patch: Uint8Array;
  readonly gpr: readonly bigint[];
  readonly rflags: bigint;
  readonly fx?: Uint8Array;
}

/** What came of it. `vector` is 1 where all steps were made. */
export interface Outcome {
  readonly gpr: readonly bigint[];
  readonly rip: bigint;
  readonly rflags: bigint;
  readonly cr2: bigint;
  readonly vector: number;
  readonly error: number;
  /** The range of memory that changed, in whole quadwords; its first bytes. */
  readonly changedAt: number;
  readonly changedLength: number;
  readonly changed: Uint8Array;
  readonly fx?: Uint8Array;
}

/**
 * Where the pages of a case lie: one of code, one read-only, two writable; around each there is nothing.
 * 16-bit cases have them as their segments, from offset 0 on.
 */
export const CODE = 0x1000_0000;
export const DATA = 0x2000_0000;
export const PAGE = 4096;

const CASE_SIZE = 16 + 128 + 136;
const OUTCOME_SIZE = 152 + 16 + 256;
const FX_SIZE = 512;

/** The pattern of the data pages. */
export const TEMPLATE = (() => {
  const bytes = new Uint8Array(3 * PAGE);
  let x = 0x9e3779b9;
  for (let i = 0; i < bytes.length; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    bytes[i] = x >>> 24;
  }
  return bytes;
})();

export function encodeCases(cases: readonly Case[], fpu: boolean): Uint8Array {
  const size = CASE_SIZE + (fpu ? FX_SIZE : 0);
  const bytes = new Uint8Array(cases.length * size);
  const view = new DataView(bytes.buffer);
  for (const [n, it] of cases.entries()) {
    const at = n * size;
    bytes.set([it.codeSize, it.steps, it.code.length], at);
    view.setUint32(at + 4, it.codeAt, true);
    view.setUint32(at + 8, it.patchAt, true);
    view.setUint32(at + 12, it.patch.length, true);
    bytes.set(it.code, at + 16);
    bytes.set(it.patch, at + 80);
    for (let i = 0; i < 16; i++) view.setBigUint64(at + 144 + i * 8, it.gpr[i]!, true);
    view.setBigUint64(at + 272, it.rflags, true);
    if (fpu && it.fx) bytes.set(it.fx, at + CASE_SIZE);
  }
  return bytes;
}

export function decodeOutcomes(bytes: Uint8Array, fpu: boolean): Outcome[] {
  const size = OUTCOME_SIZE + (fpu ? FX_SIZE : 0);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.length / size }, (_, n) => {
    const at = n * size;
    const changedLength = view.getUint32(at + 164, true);
    return {
      gpr: Array.from({ length: 16 }, (_, i) => view.getBigUint64(at + i * 8, true)),
      rip: view.getBigUint64(at + 128, true),
      rflags: view.getBigUint64(at + 136, true),
      cr2: view.getBigUint64(at + 144, true),
      vector: view.getUint32(at + 152, true),
      error: view.getUint32(at + 156, true),
      changedAt: view.getUint32(at + 160, true),
      changedLength,
      changed: bytes.slice(at + 168, at + 168 + Math.min(changedLength, 256)),
      ...(fpu && { fx: bytes.slice(at + OUTCOME_SIZE, at + size) }),
    };
  });
}
