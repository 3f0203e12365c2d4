import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { VERSION } from '../../src/cli/version.ts';
import { answerTo, complaintAbout, randomArguments } from './random-arguments.ts';

it('whatever its arguments are, the command takes them or refuses them with 2 in one line', async () => {
  let refused = 0;
  for (let i = 0; i < 2000; i++) {
    const args = randomArguments(`arguments/${i}`);
    const answer = await answerTo(args);
    expect(complaintAbout(answer), JSON.stringify(args)).toBe(undefined);
    if (answer.code === 2) refused += 1;
  }
  // Both ends are met.
  expect(refused).toBeGreaterThan(500);
  expect(refused).toBeLessThan(1950);
});

it('its version is that of the package', () => {
  expect(JSON.parse(readFileSync('package.json', 'utf8')).version).toBe(VERSION);
});
