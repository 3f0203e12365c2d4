import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { createMachine } from '../../../src/machine/create.ts';

/** What the guest hypervisor prints on the bare machine, and Bochs for it: test/vmx/hypervisor.test.ts. */
const BARE = readFileSync('test/vmx/hypervisor.txt', 'utf8').split('\n');

it('a hypervisor that is itself a guest finds VM entries and VM exits as on the processor', () => {
  let text = '';
  createMachine(readFileSync('firmware/hypervisor.elf'), {
    machine: 'emulated',
    profile: 'skylake-server',
    nested: true,
    onOutput: (byte) => {
      text += String.fromCharCode(byte);
    },
  }).run({ maxInstructions: 180_000n });
  const lines = text.split('\n').slice(0, -1);
  expect(lines.length).toBeGreaterThan(60);
  expect(lines).toEqual(BARE.slice(0, lines.length));
}, 60_000);

it('without the option a guest has no VMX', () => {
  let text = '';
  createMachine(readFileSync('firmware/hypervisor.elf'), {
    machine: 'emulated',
    profile: 'skylake-server',
    onOutput: (byte) => {
      text += String.fromCharCode(byte);
    },
  }).run({ maxInstructions: 100_000n });
  expect(text).toContain('SKIP: no VMX');
});
