import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { DELIVERY, SHORTHAND } from '../../../src/apic/message.ts';
import { createMachine, resumeMachine } from '../../../src/machine/create.ts';
import type { Machine } from '../../../src/machine/machine.ts';
import { readSnapshot, saveSnapshot } from '../../../src/machine/snapshot.ts';
import { VirtualMachine } from '../../../src/machine/virtual.ts';

/** A few cases of firmware/nested.asm. */
const LENGTH = 12_000n;

function start(machine: string): VirtualMachine {
  const made = createMachine(readFileSync('firmware/nested.elf'), {
    machine,
    nested: true,
    memory: 4 << 20,
  });
  if (!(made instanceof VirtualMachine)) throw new TypeError('this is no virtual machine');
  return made;
}

const inL2 = ({ vcpu }: VirtualMachine): boolean => vcpu.inGuest && vcpu.nested!.guestMode;

/** Advances instruction by instruction until L2 is in the middle of its code. */
function advanceIntoL2(machine: VirtualMachine): bigint {
  for (let at = 1n; at < LENGTH; at++) {
    machine.run({ maxInstructions: at });
    if (inL2(machine)) return at;
  }
  throw new RangeError('L2 does not run');
}

const end = (machine: Machine) => {
  const { instructions, ticks, digest } = machine.run({ maxInstructions: LENGTH });
  return { instructions, ticks, digest: digest() };
};

describe.each(['emulated', 'mediated'])('a guest of a guest under the %s vPMU', (design) => {
  it('is saved and goes on elsewhere as if nothing had been', () => {
    const uncut = end(start(design));
    const first = start(design);
    advanceIntoL2(first);
    const snapshot = readSnapshot(saveSnapshot(first));
    const resumed = resumeMachine(snapshot);
    expect((resumed as VirtualMachine).vcpu.nested?.guestMode).toBe(true);
    expect(end(resumed)).toEqual(uncut);
    expect(end(first)).toEqual(uncut);
  }, 60_000);
});

it('a VM entry that the processor alone finds fault with has failed for the hypervisor', () => {
  const machine = start('emulated');
  const { vcpu, board } = machine;
  machine.watch({
    entry: () => {
      // Bit 1 of RFLAGS is always 1.
      if (vcpu.nested!.guestMode && !board.console.includes('100 turns'))
        vcpu.write('GUEST_RFLAGS', 0n);
    },
  });
  machine.run({ maxInstructions: LENGTH });
  expect(board.console).toContain(
    'an entry and an exit: reason 0x80000021 qualification 0, exits 1,',
  );
  expect(board.console).toContain('100 turns of a loop: reason 0x80000021');
  // The VMCS is still to be launched.
  expect(board.console).toContain('5 exits of CPUID: reason 0x12 ');
}, 60_000);

it('what KVM begins to intercept while the guest of a guest runs exits from then on', () => {
  const machine = start('mediated');
  advanceIntoL2(machine);
  const { vcpu, vm, host } = machine;
  const IA32_PMC0 = 0xc1;
  const bit = () =>
    (host.memory.read(vcpu.nested!.msrBitmap.address + Math.floor(IA32_PMC0 / 8), 1) >> 1n) & 1n;
  expect(bit()).toBe(0n);
  vm.setIntercept(vcpu, IA32_PMC0, true);
  expect(bit()).toBe(1n);
}, 60_000);

it('INIT leaves the guest of a guest, and waits while its hypervisor runs', () => {
  const machine = start('emulated');
  const { vcpu, board } = machine;
  const init = () =>
    vcpu.apic.deliver({
      mode: DELIVERY.INIT,
      vector: 0,
      level: false,
      assert: true,
      logical: false,
      shorthand: SHORTHAND.NONE,
      destination: 0,
      broadcast: 0xff,
    });
  advanceIntoL2(machine);
  init();
  machine.run({ maxInstructions: LENGTH });
  expect(board.console).toMatch(/: reason 0x3 at \d+, exits 1,/);
  expect(inL2(machine)).toBe(false);
  init();
  expect(vcpu.signal).toBeUndefined();
}, 60_000);
