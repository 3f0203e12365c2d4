import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { createMachine } from '../../../src/machine/create.ts';

/** What firmware/nested.asm prints, without the line that says which PMU it has found. */
function printed(machine: string, profile: string): readonly string[] {
  const made = createMachine(readFileSync('firmware/nested.elf'), {
    machine,
    profile,
    nested: true,
  });
  const { exitValue } = made.run({ maxInstructions: 1_000_000n });
  expect(exitValue).toBe(0);
  return made.board.console
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('pmu version'));
}

describe.each([
  ['skylake-server', ['emulated', 'rfc-v1']],
  ['sapphire-rapids', ['passthrough']],
] as const)('a hypervisor in a guest, and its own guest, on %s', (profile, machines) => {
  let bare: readonly string[] = [];
  beforeAll(() => {
    bare = printed('bare', profile);
  });

  // The loop: MOV, 100 × (DEC, JNZ). The sled overflows 150 − 26 instructions after the counters start in L1.
  it.each([
    ['loaded by the entry, cleared by the exit', 'reason 0x12', 'counts 201 100 0,'],
    ['the same over 6 entries', 'reason 0x12', 'exits 6, counts 11 5 0,'],
    ['loaded and cleared by lists', 'reason 0x12', 'counts 201 1100 0,'],
    ['with a reserved bit of GLOBAL_CTRL', 'reason 0x80000022', 'qualification 2'],
    ['overflow, an NMI that exits', 'reason 0x0', 'status 0x1'],
    ['an NMI to L2', 'reason 0x12 at 32,', 'status 0x1'],
    ['acknowledged by the exit', 'reason 0x1', 'status 0x1'],
    ['an interrupt to L2', 'reason 0x12 at 1024,', 'status 0x1'],
  ])('counts on the processor what the manual says: %s', (name, ...parts) => {
    const line = bare.find((each) => each.startsWith(`${name}:`));
    for (const part of parts) expect(line).toContain(part);
  });

  it.each(machines)(
    'count and exit under the %s vPMU as on the processor',
    (machine) => {
      expect(printed(machine, profile)).toEqual(bare);
    },
    60_000,
  );
});
