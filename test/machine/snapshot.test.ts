import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import seedrandom from 'seedrandom';
import { beforeAll, describe, expect, it } from 'vitest';
import { CounterpointError } from '../../src/bits/error.ts';
import {
  type CreateOptions,
  createMachine,
  type ResumeOptions,
  resumeMachine,
} from '../../src/machine/create.ts';
import type { Machine } from '../../src/machine/machine.ts';
import { readSnapshot, restoreSnapshot, saveSnapshot } from '../../src/machine/snapshot.ts';

const SEED = 'cut points';

const start = (guest: string, options: CreateOptions): Machine =>
  createMachine(new Uint8Array(readFileSync(`firmware/${guest}.elf`)), {
    memory: 4 << 20,
    ...options,
  });

/** A machine at an instruction: where it stands, and in what state. */
function at(machine: Machine, maxInstructions: bigint) {
  const { reason, instructions, ticks, digest } = machine.run({ maxInstructions });
  return { reason, instructions, ticks, digest: digest() };
}

// biome-ignore format: a table
const RUNS: readonly (readonly [string, CreateOptions, number])[] = [
  ['overflow',    { machine: 'bare' },                                200_000],
  ['overflow',    { machine: 'emulated' },                             40_000],
  ['overflow',    { machine: 'mediated', seed: 'other' },              40_000],
  ['emulated',    { machine: 'mediated', profile: 'skylake-server' },   4_000],
  ['hypervisor',  { machine: 'bare' },                                100_000],
  ['kernels/ipi', { processors: 4, memory: 16 << 20 },              2_000_000],
];
const CUTS = 5;

describe.each(RUNS)('%s %o', (guest, options, length) => {
  it('goes on as the uncut run does, wherever it is cut and resumed from a file', () => {
    const random = seedrandom(`${SEED} ${guest} ${JSON.stringify(options)}`);
    const end = BigInt(length);
    const uncut = at(start(guest, options), end);
    const resumed = start(guest, options);
    const first = start(guest, options);
    const cuts = Array.from({ length: CUTS }, () => BigInt(Math.floor(random() * length)));
    for (const cut of cuts.sort((a, b) => Number(a - b))) {
      // The first goes on from cut to cut: to save is not to disturb.
      first.run({ maxInstructions: cut });
      restoreSnapshot(resumed, readSnapshot(saveSnapshot(first)));
      expect(at(resumed, end), `cut at instruction ${cut}`).toEqual(uncut);
    }
    expect(at(first, end)).toEqual(uncut);
  }, 120_000);

  it('goes on so in a new machine, and on the other engine', () => {
    const end = BigInt(length);
    const uncut = at(start(guest, options), end);
    const first = start(guest, options);
    first.run({ maxInstructions: end - 1_000n });
    const snapshot = readSnapshot(saveSnapshot(first));
    for (const engine of ['interpreter', 'oracle']) {
      expect(at(resumeMachine(snapshot, { engine }), end)).toEqual(uncut);
    }
  }, 120_000);
});

describe('a run cut at each instruction around an overflow', () => {
  // biome-ignore format: a table
  it.each([
    ['bare',     []],
    ['emulated', ['NMI pending', 'non-root']],
    ['mediated', ['non-root']],
  ])('goes on all the same on the %s machine', (machine, expected) => {
    const first = start('overflow', { machine });
    const { state, apic, vmx } = first.hardware.current;
    const options = { machine };
    // The first counter overflows at instruction 3,459.
    const before = 3_450n;
    const after = 3_468n;
    const uncut = at(start('overflow', options), after);
    const resumed = start('overflow', options);
    first.run({ maxInstructions: before });
    const places = new Set<string>();
    for (let cut = before; cut < after; cut += 1n) {
      first.run({ maxInstructions: cut });
      if (vmx.nonRoot) places.add('non-root');
      if (apic.nmiPending()) places.add('NMI pending');
      restoreSnapshot(resumed, readSnapshot(saveSnapshot(first)));
      expect(at(resumed, after), `cut at instruction ${cut}`).toEqual(uncut);
    }
    expect([...places].sort()).toEqual(expected);
    if (machine === 'bare') expect(state.total('hardwareInterrupts')).toBe(1n);
  }, 120_000);
});

describe('a snapshot file', () => {
  let file: Uint8Array;

  beforeAll(() => {
    const machine = start('overflow', { machine: 'emulated', memory: 2 << 20 });
    machine.run({ maxInstructions: 10_000n });
    file = saveSnapshot(machine);
  });

  const codeOf = (act: () => unknown): string => {
    try {
      act();
    } catch (error) {
      if (error instanceof CounterpointError && !error.message.includes('\n')) return error.code;
      throw error;
    }
    return 'accepted';
  };

  it('is refused with any bit of it flipped', () => {
    const random = seedrandom(SEED);
    const bits = [
      ...Array.from({ length: 28 * 8 }, (_, bit) => bit),
      ...Array.from({ length: 32 * 8 }, (_, bit) => (file.length - 32) * 8 + bit),
      ...Array.from({ length: 200 }, () => Math.floor(random() * file.length * 8)),
    ];
    for (const bit of bits) {
      file[bit >> 3]! ^= 1 << (bit & 7);
      expect(
        codeOf(() => readSnapshot(file)),
        `bit ${bit}`,
      ).toMatch(/^snapshot-/);
      file[bit >> 3]! ^= 1 << (bit & 7);
    }
    expect(codeOf(() => readSnapshot(file))).toBe('accepted');
  });

  it('is refused cut off anywhere', () => {
    for (const length of [0, 7]) {
      expect(codeOf(() => readSnapshot(file.slice(0, length)))).toBe('snapshot-unknown');
    }
    for (const length of [8, 27, 28, 59, 60, 61, file.length >> 1, file.length - 1]) {
      expect(codeOf(() => readSnapshot(file.slice(0, length)))).toBe('snapshot-truncated');
    }
    const longer = new Uint8Array(file.length + 1);
    longer.set(file);
    expect(codeOf(() => readSnapshot(longer))).toBe('snapshot-damaged');
  });

  it.each([2, 4])('of version %i is refused for that', (version) => {
    const other = file.slice();
    other[8] = version;
    expect(() => readSnapshot(other)).toThrow(
      `a snapshot of version ${version}; this program reads version 3`,
    );
  });

  it('that was forged, with a right digest, is refused all the same', () => {
    const forged = file.slice();
    forged.fill(0x55, 40, 80);
    const digest = createHash('sha256').update(forged.subarray(0, -32)).digest();
    forged.set(digest, forged.length - 32);
    expect(codeOf(() => readSnapshot(forged))).toBe('snapshot-damaged');
  });

  // biome-ignore format: a table
  it.each<[ResumeOptions, string]>([
    [{ profile: 'skylake-server' }, 'the snapshot is of profile sapphire-rapids, not skylake-server'],
    [{ machine: 'passthrough' },    'the snapshot is of machine emulated, not mediated'],
    [{ memory: 4 << 20 },           'the snapshot is of memory 2097152, not 4194304'],
    [{ timing: 'modelled' },        'the snapshot is of timing unit, not modelled'],
  ])('does not resume as %o', (options, message) => {
    expect(() => resumeMachine(readSnapshot(file), options)).toThrow(message);
  });
});
