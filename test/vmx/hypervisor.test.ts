import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { Interpreter } from '../../src/cpu/engines/wasm/interpreter.ts';
import { BareMachine } from '../../src/machine/bare.ts';
import { readGuestImage } from '../../src/machine/guest-image.ts';
import { profileNamed } from '../../src/machine/profiles.ts';

it('a hypervisor in guest code finds every VM entry and VM exit as recorded, and as Bochs has them', async () => {
  let text = '';
  const machine = new BareMachine({
    image: readGuestImage(readFileSync('firmware/hypervisor.elf')),
    profile: profileNamed('skylake-server'),
    memorySize: 64 << 20,
    engine: (core) => new Interpreter(core),
    seed: 'hypervisor',
    onOutput: (byte) => {
      text += String.fromCharCode(byte);
    },
  });
  const { exitValue } = machine.run({ maxInstructions: 20_000_000n });
  expect(exitValue).toBe(0);
  const lines = text.split('\n');
  expect(lines.filter((line) => line.startsWith('FAIL'))).toEqual([]);
  expect(lines.filter((line) => line.startsWith('PASS')).length).toBe(27);

  // Judged by Bochs: test/judges/vmx.
  const cases = lines.filter((line) => !line.startsWith('random ')).join('\n');
  await expect(cases).toMatchFileSnapshot('hypervisor.txt');

  const random = lines.filter((line) => line.startsWith('random '));
  const ends = (end: string) => random.filter((line) => line.includes(end)).length;
  expect(random.length).toBe(1500);
  expect(ends('VMfailValid 7') + ends('VMfailValid 8') + ends(': reason')).toBe(1500);
  expect(
    [
      ends('VMfailValid 7'),
      ends('VMfailValid 8'),
      ends('reason 0x80000021'),
      ends('reason 0x34'),
    ].every((n) => n > 50),
  ).toBe(true);
}, 60_000);
