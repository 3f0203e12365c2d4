import { afterAll, beforeAll, expect, it } from 'vitest';
import { createMachine } from '../../../src/machine/create.ts';
import { DebianPackages } from './packages.ts';

let packages: DebianPackages;

beforeAll(() => {
  packages = new DebianPackages(['memtest86+']);
}, 600_000);

afterAll(() => packages.remove());

it('memtest86+ shows its screen on the serial line and tests memory', ({ skip }) => {
  if (packages.missing) skip(packages.missing);
  const machine = createMachine(packages.read('boot/memtest86+x64.bin'), {
    memory: 64 << 20,
    boot: { commandLine: 'console=ttyS0,115200 nopause' },
  });
  machine.run({ maxInstructions: 1_500_000_000n });
  const { console } = machine.board;
  expect(console).toContain('Memtest86+ v6.10');
  expect(console).toMatch(/Test #0 +\[Address test, walking ones, no cache\]/);
  expect(console).toMatch(/Errors: +0/);
});
