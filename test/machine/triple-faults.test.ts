import { describe, expect, it } from 'vitest';
import { createMachine, engineNamed } from '../../src/machine/create.ts';
import { Steps } from '../../src/machine/steps.ts';

const UD = 6;
const SS = 12;
const GP = 13;
const PF = 14;

/**
 * Guests in 64-bit mode with nothing set up: the IDT is the one after RESET, at address 0 where there are no gates. The
 * exceptions: what the instruction raised, what its delivery met (#DF's chain is: first, second while delivering the
 * first), what the delivery of #DF met.
 */
// biome-ignore format: a table
const WAYS: readonly (readonly [string, string, readonly number[]])[] = [
  ['UD2 without a gate',                      '0f0b',                                                         [UD, GP, GP, GP]],
  ['INT3 without a gate',                     'cc',                                                           [GP, GP, GP]],
  ['INT 80h without a gate',                  'cd80',                                                         [GP, GP, GP]],
  ['a division by zero',                      '31c9f7f1',                                                     [0, GP, GP]],
  ['a load where nothing is mapped',          '48b80000000080000000488b18',                                   [PF, GP, GP]],
  ['a load at a non-canonical address',       '48b80000000000800000488b18',                                   [GP, GP, GP]],
  ['a push on a non-canonical stack',         '48bc080000000080000050',                                       [SS, GP, GP]],
  ['a jump to where nothing is mapped',       '48b80000000080000000ffe0',                                     [PF, GP, GP]],
  ['WRMSR to a register that does not exist', 'b9785634120f30',                                               [GP, GP, GP]],
  ['CR3 that leads nowhere',                  'b800003f000f22d890',                                           [PF, PF, PF]],
  ['an IDT that is not mapped',               '4883ec1066c70424ff0f48b8000000008000000048894424020f011c240f0b', [UD, PF, PF, PF]],
  ['handlers without a stack',                'bf00002000b920000000c70700000800c74704008e300083c710e2ee4883ec1066c70424ff0fb80000200048894424020f011c2448bc00000000800000000f0b', [UD, PF, PF, PF]],
  ['handlers that are no code',               'bf00002000b920000000c70700001000c74704008e300083c710e2ee4883ec1066c70424ff0fb80000200048894424020f011c240f0b', [UD, GP, GP, GP]],
];

describe.each(['bare', 'emulated', 'mediated'])('on the %s machine', (machine) => {
  it.each(WAYS)('%s ends in a triple fault that names its exceptions', (_what, code, vectors) => {
    const steps = new Steps(engineNamed('interpreter'));
    const built = createMachine(Uint8Array.from(Buffer.from(code, 'hex')), {
      machine,
      memory: 4 << 20,
      boot: { format: 'flat' },
      engine: steps.engine,
    });
    const told: number[] = [];
    steps.tell((_processor, { bytes }) => told.push(bytes.length));
    const { reason, faults } = built.run({ maxInstructions: 1000n });
    expect(reason).toBe('triple-fault');
    expect(faults.map(({ vector }) => vector)).toEqual(vectors);
    // Every instruction was seen, up to the one that could not be fetched.
    expect(told.length).toBeGreaterThan(0);
  });
});
