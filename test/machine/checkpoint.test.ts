import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Checkpoint } from '../../src/machine/checkpoint.ts';
import { createMachine } from '../../src/machine/create.ts';
import type { Machine } from '../../src/machine/machine.ts';

/** Fills 12,000 bytes from 200000H on, patches its own immediate, counts in RBX, over and over. */
const WRITER = Uint8Array.from(
  (
    'bf 00 00 20 00  b9 e0 2e 00 00  b0 55  f3 aa ' + // mov edi; mov ecx, 12000; mov al, 55H; rep stosb
    'fe 05 f7 ff ff ff ' + // inc byte [rip-9]: the immediate of mov al
    '48 ff c3  eb e7'
  ) // inc rbx; jmp back
    .split(/\s+/)
    .map((byte) => Number.parseInt(byte, 16)),
);

const digestAt = (machine: Machine, maxInstructions: bigint) =>
  machine.run({ maxInstructions }).digest();

describe.each(['interpreter', 'oracle'])('a checkpoint on the %s', (engine) => {
  const writer = () => createMachine(WRITER, { engine, memory: 4 << 20, boot: { format: 'flat' } });

  it('brings back memory, registers and code that the guest has overwritten', () => {
    const machine = writer();
    const then = digestAt(machine, 15n);
    const checkpoint = new Checkpoint(machine);
    const later = digestAt(machine, 33n);
    expect(later).not.toBe(then);
    // Three pages of data and the code's own.
    expect(checkpoint.pages).toBe(4);
    for (let turn = 0; turn < 3; turn++) {
      checkpoint.restore();
      expect(checkpoint.pages).toBe(0);
      expect(digestAt(machine, 15n)).toBe(then);
      expect(digestAt(machine, 33n)).toBe(later);
    }
  });

  it('lives beside others', () => {
    const machine = writer();
    const [a, b, c] = [7n, 14n, 28n].map((at) => {
      const digest = digestAt(machine, at);
      return { at, digest, checkpoint: new Checkpoint(machine) };
    });
    const check = ({ at, digest, checkpoint }: NonNullable<typeof a>) => {
      checkpoint.restore();
      expect(digestAt(machine, at)).toBe(digest);
    };
    for (const each of [a, c, b, a, b, c]) {
      check(each!);
      machine.run({ maxInstructions: 40n });
    }
  });
});

describe('a checkpoint of a virtual machine', () => {
  it.each(['emulated', 'mediated'])('brings the %s one back, host and all', (name) => {
    const image = new Uint8Array(readFileSync('firmware/overflow.elf'));
    const machine = createMachine(image, { machine: name, memory: 4 << 20 });
    machine.run({ maxInstructions: 1_000n });
    const checkpoint = new Checkpoint(machine);
    const first = digestAt(machine, 12_000n);
    const host = machine.hardware.current.state.total('ticks');
    for (let turn = 0; turn < 3; turn++) {
      checkpoint.restore();
      expect(digestAt(machine, 12_000n)).toBe(first);
      expect(machine.hardware.current.state.total('ticks')).toBe(host);
    }
  });
});
