/** What the process ends with. docs/exit-codes.md explains each. */
// biome-ignore format: a table
export const EXIT_CODE = {
  PASS:        0,   // the guest said so, or the command did what was asked
  FAIL:        1,   // the guest reported failure; a check of ours did not hold
  USAGE:       2,   // bad arguments, missing file, not an image, unknown machine or event
  FAULT:       3,   // a guest fault we refuse to continue from: triple fault
  SKIP:       77,   // the guest skipped everything
  BUDGET:    124,   // instruction budget reached, or halted for ever
  INTERRUPT: 130,   // Ctrl-C
  TERMINATE: 143,   // SIGTERM
} as const;
