import type { RunReason } from '../machine/outcome.ts';

/** What the process ends with; docs/exit-codes.md explains each. */
// biome-ignore format: a table
export const EXIT_CODE = {
  PASS:        0,   // the guest said so, or the command did what was asked
  FAIL:        1,   // the guest reported failure; a check of ours did not hold
  USAGE:       2,   // bad arguments, missing file, not an image, unknown machine or event
  FAULT:       3,   // a guest fault we refuse to continue from: triple fault
  INTERNAL:   70,   // a defect of counterpoint itself
  SKIP:       77,   // the guest skipped everything
  BUDGET:    124,   // instruction budget reached, or halted for ever
  INTERRUPT: 130,   // Ctrl-C
  TERMINATE: 143,   // SIGTERM
} as const;

/** The debug-exit value by which a guest says that it skipped everything. */
const SKIPPED = 38;

/** The exit code of a run. */
export function exitCodeOf({
  reason,
  exitValue,
}: {
  reason: RunReason;
  exitValue: number | undefined;
}): number {
  if (reason === 'triple-fault') return EXIT_CODE.FAULT;
  if (reason === 'shutdown') return EXIT_CODE.PASS;
  if (reason === 'reset') return EXIT_CODE.FAIL;
  if (reason !== 'exit') return EXIT_CODE.BUDGET;
  if (exitValue === 0) return EXIT_CODE.PASS;
  return exitValue === SKIPPED ? EXIT_CODE.SKIP : EXIT_CODE.FAIL;
}
