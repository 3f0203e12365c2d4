import { describe, expect, it } from 'vitest';
import { Interpreter } from '../../src/cpu/engines/wasm/interpreter.ts';
import { restoreProcessor, saveProcessor } from '../../src/machine/processor-snapshot.ts';
import { type Profile, profileNamed, withTiming } from '../../src/machine/profiles.ts';
import { SAPPHIRE_RAPIDS_WHOLE } from '../../src/pmu/profiles.ts';
import { bytes, CountingProcessor } from './counting-processor.ts';

/** Ten times round: an inner loop, a call, a walk, a REP STOSB. */
const PROGRAM = bytes(`
  41 bf 0a 00 00 00
  b8 05 00 00 00  ff c8  75 fc
  e8 02 00 00 00  eb 01  c3
  48 8b 06  48 83 c6 40
  57  b9 04 00 00 00  f3 aa  5f
  41 ff cf  75 d5
  f4`);
const TICKS = 10 * (1 + 10 + 3 + 2 + 2 + 4 + 1 + 2) + 2;
const EVENTS = [0x1000c0, 0x00c4, 0x003c, 0x0151, 0x00c5, 0x81d0, 0x08c0, 0x01e4];

const sapphire = profileNamed('sapphire-rapids');
const PROFILES: Readonly<Record<string, Profile>> = {
  'in unit timing': sapphire,
  'in modelled timing': withTiming(sapphire),
  'with branch records': { ...withTiming(sapphire), pmu: SAPPHIRE_RAPIDS_WHOLE },
};

function start(profile: Profile): CountingProcessor {
  const cpu = new CountingProcessor(profile, (core) => new Interpreter(core)).load(PROGRAM);
  if (profile.pmu.shape.lbr) cpu.write(0x14ce, 0x7f_0007n);
  return cpu.write(0xc1, 0xffff_ff9cn).count(...EVENTS); // 100 instructions to the overflow
}

/** Everything that software could read of the PMU. */
const registers = ({ processor }: CountingProcessor): string =>
  [...processor.msrs.registers()].map(({ address }) => processor.rdmsr(address)).join(' ');

describe.each(Object.entries(PROFILES))('a processor %s', (_name, profile) => {
  const uncut = start(profile).runToHalt();

  it.each([1, 99, 100, 150, TICKS - 1])(
    'that was saved after %i ticks goes on as if it had not been',
    (ticks) => {
      const first = start(profile);
      expect(first.processor.cpu.run(ticks).reason).toBe('budget');
      const saved = structuredClone(saveProcessor(first.processor));
      const second = new CountingProcessor(profile, (core) => new Interpreter(core));
      const { memory } = first.hardware;
      second.hardware.memory.load(0, memory.slice(0, memory.ramSize));
      restoreProcessor(second.processor, saved);
      expect(registers(second)).toBe(registers(first));
      second.runToHalt();
      expect(registers(second)).toBe(registers(uncut));
    },
  );
});
