import type { Case, Outcome } from './case.ts';
import { NOT_OURS } from './model.ts';

/** RF and TF are the harness's, IF, IOPL and the rest the kernel's. */
const COMPARED_FLAGS = 0xcd5n;
const TASK_SIZE_MAX = 0x7fff_ffff_f000n;

const hex = (value: bigint | number) => value.toString(16);
const NAMES = 'rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15'.split(' ');

/**
 * How two outcomes of a case differ, in words; undefined if not at all. `undefinedFlags` are not looked at.
 * Of compatibility mode only the registers there are.
 */
export function difference(
  { codeSize }: Case,
  host: Outcome,
  model: Outcome,
  undefinedFlags = 0n,
  lowHalves = false,
): string | undefined {
  if (model.vector === NOT_OURS) return undefined;
  const found: string[] = [];
  const check = (name: string, a: bigint | number, b: bigint | number) => {
    if (a !== b) found.push(`${name} ${hex(a)}, ours ${hex(b)}`);
  };
  const mask = codeSize === 8 && !lowHalves ? ~0n : 0xffff_ffffn;
  check('vector', host.vector, model.vector);
  for (let i = 0; i < (codeSize === 8 ? 16 : 8); i++) {
    check(NAMES[i]!, host.gpr[i]! & mask, model.gpr[i]! & mask);
  }
  check('rip', host.rip, model.rip);
  const flags = COMPARED_FLAGS & ~undefinedFlags;
  check('rflags', host.rflags & flags, model.rflags & flags);
  check('cr2', host.cr2, model.cr2);
  // Linux does not tell what is present beyond user space.
  const hidden = host.cr2 >= TASK_SIZE_MAX ? 1 : 0;
  if (host.vector !== 1) check('error code', host.error | hidden, model.error | hidden);
  check('memory changed at', host.changedAt, model.changedAt);
  check('memory changed length', host.changedLength, model.changedLength);
  for (const [i, byte] of host.changed.entries()) {
    if (byte !== model.changed[i])
      check(`byte ${hex(host.changedAt + i)}`, byte, model.changed[i] ?? 0);
  }
  return found.length > 0 ? found.join('; ') : undefined;
}
