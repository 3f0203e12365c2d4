import { describe, expect, it } from 'vitest';
import { DESIGNS } from '../../src/kvm/vpmu/designs.ts';
import { HostMachine } from '../../src/machine/host-machine.ts';

/** WRMSR ECX = EAX, EDX = 0. */
const wrmsr = (ecx: number, eax: number): number[] => {
  const word = (value: number) => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);
  return [0xb9, ...word(ecx), 0xb8, ...word(eax), 0x31, 0xd2, 0x0f, 0x30];
};
const HLT = 0xf4;
const EXIT = [0xb0, 0x00, 0xe6, 0xf4];

describe('HLT of a guest that counts instructions', () => {
  it.each(['emulated', 'mediated', 'rfc-v1'] as const)(
    'halts it, interrupts off, for ever (%s)',
    (design) => {
      const machine = new HostMachine({ profile: 'skylake-server' });
      const code = Uint8Array.from([...wrmsr(0x186, 0x5300c0), HLT, ...EXIT]);
      const guest = machine.start({ code, design: DESIGNS[design] });
      machine.run(10_000_000, () => guest.ended);
      expect(guest.ended).toBe(false);
      expect(guest.task.lastStop).toBe('halted');
    },
  );
});
