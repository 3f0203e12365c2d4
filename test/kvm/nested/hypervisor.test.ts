import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { createMachine } from '../../../src/machine/create.ts';

/** What the guest hypervisor prints on the bare machine, and Bochs for it: test/vmx/hypervisor.test.ts. */
const BARE = readFileSync('test/vmx/hypervisor.txt', 'utf8').split('\n');

/** What it prints as a guest of KVM in so many instructions. */
function printed(nested: boolean, maxInstructions: bigint): string {
  const options = { machine: 'emulated', profile: 'skylake-server', nested };
  const machine = createMachine(readFileSync('firmware/hypervisor.elf'), options);
  machine.run({ maxInstructions });
  return machine.board.console;
}

it('a hypervisor that is itself a guest finds VM entries and VM exits as on the processor', () => {
  const lines = printed(true, 180_000n).split('\n').slice(0, -1);
  expect(lines.length).toBeGreaterThan(60);
  expect(lines).toEqual(BARE.slice(0, lines.length));
}, 60_000);

it('without the option a guest has no VMX', () => {
  expect(printed(false, 100_000n)).toContain('SKIP: no VMX');
});
