import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { Oracle } from '../../../src/cpu/engines/oracle/oracle.ts';
import { BareMachine } from '../../../src/machine/bare.ts';
import { readGuestImage } from '../../../src/machine/guest-image.ts';
import { profileNamed } from '../../../src/machine/profiles.ts';
import { bochsOutput, hasBochs } from './bochs.ts';
import { DIFFERENCES, parse, surprises } from './differences.ts';

const IMAGE = readFileSync('firmware/hypervisor.elf');

function ourOutput(): string {
  let text = '';
  const machine = new BareMachine({
    image: readGuestImage(IMAGE),
    profile: profileNamed('skylake-server'),
    memorySize: 64 << 20,
    engine: (core) => new Oracle(core),
    seed: 'judge',
    onOutput: (byte) => {
      text += String.fromCharCode(byte);
    },
  });
  expect(machine.run({ maxInstructions: 100_000_000n }).exitValue).toBe(0);
  return text;
}

it.skipIf(!hasBochs())(
  'the hypervisor guest says the same under Bochs, but for the listed differences',
  async () => {
    const theirs = (await bochsOutput(IMAGE, 'SUMMARY')).split(/\r?\n/);
    const ours = ourOutput().split('\n');
    expect(ours.length).toBe(theirs.length);
    const applied = new Set<string>();
    const found: string[] = [];
    let cases = 0;
    for (const [i, line] of ours.entries()) {
      const mine = parse(line);
      const other = parse(theirs[i]!);
      if (!mine || !other) {
        expect(theirs[i]).toBe(line);
        continue;
      }
      cases += 1;
      expect(mine.name).toBe(other.name);
      const differing = surprises(mine, other);
      if (differing.length > 0)
        found.push(`${differing.join(', ')}
${line}
${theirs[i]}`);
      for (const row of DIFFERENCES)
        if (line !== theirs[i] && row.applies(mine, other)) applied.add(row.why);
    }
    expect(found).toEqual([]);
    expect(cases).toBeGreaterThan(1600);
    // A difference that no case shows any more is to be struck from the list.
    expect([...applied].sort()).toEqual(DIFFERENCES.map(({ why }) => why).sort());
  },
);
