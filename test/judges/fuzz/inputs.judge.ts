import { expect, it } from 'vitest';
import { CounterpointError } from '../../../src/bits/error.ts';
import { fuzzEventNames } from '../../../src/fuzz/targets/event-names.ts';
import { fuzzImages, IMAGE_RAM } from '../../../src/fuzz/targets/images.ts';
import { openGuest } from '../../../src/lab/guests.ts';
import { createMachine } from '../../../src/machine/create.ts';
import { readSnapshot, saveSnapshot } from '../../../src/machine/snapshot.ts';
import { answerTo, complaintAbout, randomArguments } from '../../cli/random-arguments.ts';

it('10^6 mutated images are loaded or refused with an error of their own kind, none by much work', () => {
  const report = fuzzImages({ seed: 'judge', images: 1_000_000 });
  console.log(JSON.stringify(report));
  expect(report.unexpected).toEqual([]);
  expect(report.mostWritten.bytes).toBeLessThanOrEqual(2 * IMAGE_RAM);
  expect(report.mostWritten.pieces).toBeLessThan(5_000);
});

it('10^6 event lists are read or refused in one line', () => {
  expect(fuzzEventNames({ seed: 'judge', lists: 1_000_000 })).toEqual([]);
});

it('10^5 command lines are taken, or refused with 2 in one line', async () => {
  for (let i = 0; i < 100_000; i++) {
    const args = randomArguments(`judge/${i}`);
    expect(complaintAbout(await answerTo(args)), JSON.stringify(args)).toBe(undefined);
  }
});

it('a snapshot of 64 KiB is refused with any one of its 524,288 bits flipped', () => {
  const machine = createMachine(openGuest('count').bytes, { memory: 2 << 20 });
  machine.run({ maxInstructions: 1000n });
  // What does not compress makes up the size.
  const padded = (size: number) => {
    let state = 1;
    const noise = Uint8Array.from({ length: size }, () => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      return state >>> 24;
    });
    return saveSnapshot(machine, Buffer.from(noise).toString('hex'));
  };
  let size = 65_536 - padded(0).length - 2_000;
  while (padded(size).length < 65_536) size += 64;
  const file = padded(size);
  let flipped = 0;
  for (let bit = 0; bit < file.length * 8; bit++) {
    file[bit >> 3]! ^= 1 << (bit & 7);
    let code = 'accepted';
    try {
      readSnapshot(file);
    } catch (error) {
      if (!(error instanceof CounterpointError)) throw error;
      code = error.code;
    }
    if (!code.startsWith('snapshot-')) expect(code, `bit ${bit}`).toBe('refused');
    file[bit >> 3]! ^= 1 << (bit & 7);
    flipped += 1;
  }
  console.log(`${flipped} bits flipped`);
  expect(flipped).toBeGreaterThanOrEqual(524_288);
  expect(() => readSnapshot(file)).not.toThrow();
});
