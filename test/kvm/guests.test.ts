import { describe, expect, it } from 'vitest';
import { DESIGNS } from '../../src/kvm/vpmu/designs.ts';
import { exitReasonName } from '../../src/vmx/exit-reasons.ts';
import { hosted } from './hosted.ts';

const MINUTE = 60_000;

/** Exits by name, the ones for the console left out. */
const exitsOf = (run: ReturnType<typeof hosted>) =>
  Object.fromEntries(
    [...run.vcpu.statistics.exits]
      .map(([reason, count]) => [exitReasonName(reason), count] as const)
      .filter(([name]) => name !== 'IO_INSTRUCTION'),
  );

const found = (run: ReturnType<typeof hosted>) => {
  expect(run.run()).toBe('stopped');
  expect(run.board.console.split('\n').filter((line) => line.startsWith('FAIL'))).toEqual([]);
  expect(run.board.exitValue).toBe(0);
};

describe.each([
  ['emulated', 'sapphire-rapids'],
  ['mediated', 'sapphire-rapids'],
  ['mediated', 'skylake-server'],
] as const)('under the %s design on %s', (name, profile) => {
  it.each(['count', 'overflow', 'emulated'])(
    'guest %s finds every number it worked out by hand',
    (guest) => found(hosted({ guest, profile, design: DESIGNS[name] })),
    MINUTE,
  );
});

it.each([
  ['rfc-v1', 'sapphire-rapids'],
  ['rfc-v1-filter', 'skylake-server'],
  ['emulated-priority', 'sapphire-rapids'],
  ['emulated-identity', 'sapphire-rapids'],
  ['emulated-sides', 'skylake-server'],
  ['emulated-all-three', 'skylake-server'],
  ['guest-owned', 'sapphire-rapids'],
  ['opt-out', 'sapphire-rapids'],
  ['opt-out', 'skylake-server'],
  ['blend', 'skylake-server'],
] as const)(
  'guest overflow finds every number under the %s design on %s',
  (name, profile) => found(hosted({ guest: 'overflow', profile, design: DESIGNS[name] })),
  MINUTE,
);

describe('exits of the overflow guest', () => {
  const overflow = (
    design: keyof typeof DESIGNS,
    profile: 'sapphire-rapids' | 'skylake-server',
  ) => {
    const run = hosted({ guest: 'overflow', profile, design: DESIGNS[design] });
    run.run();
    return exitsOf(run);
  };

  it(
    'emulated: every PMI is an NMI exit, two more than it delivers for the masked and the silent one',
    () => {
      expect(overflow('emulated', 'sapphire-rapids')).toMatchObject({ EXCEPTION_NMI: 106 });
    },
    MINUTE,
  );

  it(
    'mediated: every PMI is an external-interrupt exit, none for the masked and the silent one',
    () => {
      expect(overflow('mediated', 'sapphire-rapids')).toMatchObject({ EXTERNAL_INTERRUPT: 104 });
      expect(overflow('mediated', 'sapphire-rapids')).not.toHaveProperty('EXCEPTION_NMI');
    },
    MINUTE,
  );

  it(
    'mediated with every counter: the handler’s accesses to globals no longer exit',
    () => {
      const [trapped, direct] = [
        overflow('mediated', 'sapphire-rapids'),
        overflow('mediated', 'skylake-server'),
      ];
      expect(direct.RDPMC).toBeUndefined();
      expect(direct.MSR_WRITE).toBeLessThan(trapped.MSR_WRITE as number);
    },
    MINUTE,
  );
});
