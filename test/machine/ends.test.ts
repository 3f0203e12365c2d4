import { expect, it } from 'vitest';
import { createMachine } from '../../src/machine/create.ts';
import type { RunReason } from '../../src/machine/outcome.ts';

/** Instructions from their bytes, in hexadecimal. */
const code = (hex: string) => Uint8Array.from(hex.split(' '), (byte) => Number.parseInt(byte, 16));

// biome-ignore format: a table
const ENDS: readonly (readonly [string, string, RunReason])[] = [
  ['writes the sleep bit of the ACPI power control', '66 ba 04 06 66 b8 00 20 66 ef f4', 'shutdown'],
  ['resets by the keyboard controller',              'b0 fe e6 64 f4',                   'reset'],
  ['resets by port CF9H',                            '66 ba f9 0c b0 06 ee f4',          'reset'],
  ['writes to the debug-exit port',                  'b8 07 00 00 00 e7 f4 f4',          'exit'],
  ['halts with interrupts off',                      'fa f4',                            'halted-forever'],
];

for (const machine of ['bare', 'emulated']) {
  it.each(ENDS)(`a guest that %s ends the ${machine} machine so`, (_what, bytes, reason) => {
    const built = createMachine(code(bytes), {
      machine,
      memory: 4 << 20,
      boot: { format: 'flat' },
    });
    const result = built.run({ maxInstructions: 1000n });
    expect(result.reason).toBe(reason);
    expect(result.exitValue).toBe(reason === 'exit' ? 7 : undefined);
  });
}

it('a processor that never gets a SIPI waits with the others', () => {
  const built = createMachine(code('fa f4'), {
    processors: 2,
    memory: 4 << 20,
    boot: { format: 'flat' },
  });
  expect(built.run({ maxInstructions: 1000n }).reason).toBe('halted-forever');
});

it.each([0, 9, 1.5])('there is no machine of %s processors', (processors) => {
  expect(() => createMachine(code('f4'), { processors, boot: { format: 'flat' } })).toThrow(
    /1 to 8/,
  );
});

// The PIT as a rate generator of 1 kHz; jmp to itself.
const SPIN_UNDER_PIT = 'b0 34 e6 43 b0 a9 e6 40 b0 04 e6 40 eb fe';

it.each(['bare', 'emulated', 'mediated', 'blend'])(
  'a timer that nobody listens to does not keep a guest from running: %s',
  (machine) => {
    const built = createMachine(code(SPIN_UNDER_PIT), {
      machine,
      memory: 4 << 20,
      boot: { format: 'flat' },
    });
    const { reason, instructions } = built.run({ maxInstructions: 20_000_000n });
    expect(reason).toBe('budget');
    expect(instructions).toBe(20_000_000n);
  },
);
