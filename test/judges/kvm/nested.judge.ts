import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { createMachine } from '../../../src/machine/create.ts';

/** Lines of firmware/hypervisor.asm that may differ in a VM, and why. */
// biome-ignore format: a table
const DIFFERENT: readonly (readonly [RegExp, string])[] = [
  [/^(APIC access:|APIC registers:|virtual interrupt|EOI that|IPI to|x2APIC mode:)/, 'APIC virtualization is not offered: VMfailValid 7'],
  [/^(MOV to CR8 below the TPR threshold|CR8 of the TPR shadow):/, 'nor is the TPR shadow'],
  [/^triple fault:/, 'KVM has intercepted the #UD that it begins with: RFLAGS.RF is 1'],
  [/^random \d+ .*0x401c=/, 'without the TPR shadow there is no TPR threshold'],
  [/^random \d+ .*0x4002=0x\w*[2367abef]\w{5}: VMfailValid 7/, 'a bit of the primary controls is not offered'],
];

function printed(machine: string, profile: string): string[] {
  const made = createMachine(readFileSync('firmware/hypervisor.elf'), {
    machine,
    profile,
    nested: true,
  });
  const { exitValue } = made.run({ maxInstructions: 20_000_000n });
  expect(exitValue).toBe(0);
  return made.board.console.split('\n');
}

describe.each(['skylake-server', 'sapphire-rapids'])('a guest hypervisor on %s', (profile) => {
  let bare: string[] = [];
  beforeAll(() => {
    bare = printed('bare', profile);
  }, 600_000);

  it.each(['emulated', 'mediated'])(
    'finds under KVM, with the %s vPMU, what it finds on the processor, but for what is not offered',
    (machine) => {
      const lines = printed(machine, profile);
      expect(lines.length).toBe(bare.length);
      const strange = lines.filter(
        (line, at) => line !== bare[at] && !DIFFERENT.some(([pattern]) => pattern.test(line)),
      );
      expect(strange).toEqual([]);
      const refused = lines.filter(
        (line, at) => line !== bare[at] && !/^(random|triple fault)/.test(line),
      );
      expect(refused.every((line) => line.endsWith(': VMfailValid 7'))).toBe(true);
      process.stdout.write(
        `  ${lines.filter((line, at) => line === bare[at]).length} lines alike\n`,
      );
    },
    3_600_000,
  );
});
