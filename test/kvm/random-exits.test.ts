import seedrandom from 'seedrandom';
import { describe, expect, it } from 'vitest';
import { DESIGNS, type DesignName } from '../../src/kvm/vpmu/designs.ts';
import { GuestCode, MSR, SELECT } from '../../src/lab/scenarios/guest-code.ts';
import { hostFor } from '../../src/lab/scenarios/scenario.ts';

const LONG = 120_000;
const REGIONS = 40;
/** More with COUNTERPOINT_EXIT_PROGRAMS: each is `REGIONS` mixes. */
const PROGRAMS = Number(process.env['COUNTERPOINT_EXIT_PROGRAMS'] ?? 2);

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

describe.each(Object.keys(DESIGNS) as DesignName[])('random mixes of exits under %s', (design) => {
  it(
    'retire in a counted region what they are made of',
    () => {
      for (let program = 0; program < PROGRAMS; program++) {
        const seed = `exits ${program}`;
        const random = seedrandom(seed);
        const below = (limit: number) => Math.floor(random() * limit);
        const code = new GuestCode()
          .wrmsr(MSR.GLOBAL_CTRL, 0n)
          .wrmsr(MSR.PERFEVTSEL0, SELECT.INSTRUCTIONS)
          .wrmsr(MSR.PERFEVTSEL0 + 1, SELECT.BRANCHES)
          .wrmsr(MSR.FIXED_CTR_CTRL, 3n);
        const expected: bigint[] = [];
        for (let region = 0; region < REGIONS; region++) {
          for (const counter of [MSR.PMC0, MSR.PMC0 + 1, MSR.FIXED_CTR0]) code.wrmsr(counter, 0n);
          code.wrmsr(MSR.GLOBAL_CTRL, 0x1_0000_0003n);
          let [instructions, branches] = [FRAME, 0];
          for (let piece = 1 + below(12); piece > 0; piece--) {
            const [i, b, emit] = PIECES[below(PIECES.length)]!(1 + below(30));
            emit(code);
            instructions += i;
            branches += b;
          }
          code.wrmsr(MSR.GLOBAL_CTRL, 0n);
          for (const counter of [MSR.PMC0, MSR.PMC0 + 1, MSR.FIXED_CTR0]) code.reportMsr(counter);
          expected.push(BigInt(instructions), BigInt(branches), BigInt(instructions));
        }
        const machine = hostFor(design, {
          profile: program % 2 ? 'skylake-server' : 'sapphire-rapids',
        });
        const guest = machine.start({ code: code.end().bytes, design: DESIGNS[design] });
        machine.finish();
        expect(guest.readings, seed).toEqual(expected);
      }
    },
    LONG,
  );
});
