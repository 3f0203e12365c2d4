import seedrandom from 'seedrandom';
import { expect } from 'vitest';
import { DESIGNS, type DesignName } from '../../src/kvm/vpmu/designs.ts';
import { GuestCode, MSR, SELECT } from '../../src/lab/scenarios/guest-code.ts';
import { hostFor } from '../../src/lab/scenarios/scenario.ts';

type Piece = readonly [instructions: number, branches: number, emit: (code: GuestCode) => void];

/** What a region is made of, with what each piece retires. */
const PIECES: readonly ((size: number) => Piece)[] = [
  (n) => [n, 0, (code) => code.nop(n)],
  (n) => [1 + 2 * n, n, (code) => code.loop(n)],
  () => [2, 0, (code) => code.cpuid()],
  () => [2, 0, (code) => code.vmcall()],
  () => [2, 0, (code) => code.rdmsr(0x1b)],
  () => [2, 0, (code) => code.rdpmc(0)],
  () => [4, 0, (code) => code.wrmsr(0xc000_0103, 7n)],
  () => [1, 0, (code) => code.forcedNop()],
  () => [1, 1, (code) => code.forcedJump()],
  () => [1, 1, (code) => code.jump()],
];

/** The three MOVs in front of the disabling WRMSR, and the enabling WRMSR itself. */
const FRAME = 4;
const COUNTERS = [MSR.PMC0, MSR.PMC0 + 1, MSR.FIXED_CTR0];

/**
 * Runs one program of counted regions, each a random mix of exits and plain code, under a design. Every reading
 * must be what the mix is made of. Even programs run on Sapphire Rapids, odd ones on Skylake server.
 */
export function countMixes(design: DesignName, program: number, regions: number): void {
  const seed = `exits ${program}`;
  const random = seedrandom(seed);
  const below = (limit: number) => Math.floor(random() * limit);
  const code = new GuestCode()
    .wrmsr(MSR.GLOBAL_CTRL, 0n)
    .wrmsr(MSR.PERFEVTSEL0, SELECT.INSTRUCTIONS)
    .wrmsr(MSR.PERFEVTSEL0 + 1, SELECT.BRANCHES)
    .wrmsr(MSR.FIXED_CTR_CTRL, 3n);
  const expected: bigint[] = [];
  for (let region = 0; region < regions; region++) {
    for (const counter of COUNTERS) code.wrmsr(counter, 0n);
    code.wrmsr(MSR.GLOBAL_CTRL, 0x1_0000_0003n);
    let [instructions, branches] = [FRAME, 0];
    for (let piece = 1 + below(12); piece > 0; piece--) {
      const [i, b, emit] = PIECES[below(PIECES.length)]!(1 + below(30));
      emit(code);
      instructions += i;
      branches += b;
    }
    code.wrmsr(MSR.GLOBAL_CTRL, 0n);
    for (const counter of COUNTERS) code.reportMsr(counter);
    expected.push(BigInt(instructions), BigInt(branches), BigInt(instructions));
  }
  const profile = program % 2 ? 'skylake-server' : 'sapphire-rapids';
  const machine = hostFor(design, { profile });
  const guest = machine.start({ code: code.end().bytes, design: DESIGNS[design] });
  machine.finish(20_000_000_000);
  expect(guest.readings, `${design}, ${seed}, ${regions} regions`).toEqual(expected);
}
