import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildCommand, counterpoint } from './command.ts';

let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'counterpoint-fuzz-'));
  await buildCommand();
}, 60_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const fuzz = (...args: string[]) => counterpoint('fuzz', ...args);

describe('counterpoint fuzz', () => {
  it('ends with 0 and one report where nothing was found', () => {
    const { status, stdout, stderr } = fuzz('--cases', '20', '--design', 'passthrough');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^executed {3}20 cases, \d+ accesses$/m);
    expect(stdout).toMatch(/^findings {3}0$/m);
    expect(stderr).toBe('');
  });

  it('writes what a leaky twin shows to files, and a finding that is gone is told so', () => {
    const found = join(folder, 'found');
    const { status, stdout } = fuzz('--leaky', '3', '--findings', found);
    expect(status).toBe(0);
    expect(stdout).toContain('RDMSR IA32_PMC4 (0xc5)');
    const [first] = readdirSync(found);
    const again = fuzz('--replay', join(found, first!));
    expect(again.status).toBe(0);
    expect(again.stdout).toContain('the finding does not show any more');
  });

  it.each([
    [['--design', 'nope'], /there is no design 'nope'/],
    [['--shard', '3/2'], /a shard is i\/n/],
    [['--time', '5'], /a time is a number/],
    [['--leaky', '27'], /there is no leak channel '27'/],
    [['--replay', 'no-such-file'], /no-such-file: cannot be read \(ENOENT\)/],
    [['merge', 'no-such-file'], /no-such-file: cannot be read \(ENOENT\)/],
    [['worker'], /fuzz worker is told where the queue is by --redis/],
    [['--redis', 'http://x:1'], /'http:\/\/x:1' is no redis:\/\/host:port/],
    [['--redis', 'redis://:secret@127.0.0.1:1'], /redis:\/\/127.0.0.1:1: no Redis answers/],
  ])('refuses %j with 2', (args, message) => {
    const { status, stderr } = fuzz(...args);
    expect(status).toBe(2);
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/^\s+at /m);
  });

  it('refuses a file that is no finding and one that is no report', () => {
    const path = join(folder, 'x.json');
    writeFileSync(path, '{"shards": 1}');
    expect(fuzz('--replay', path).stderr).toMatch(/this is no finding of counterpoint fuzz/);
    expect(fuzz('merge', path).stderr).toMatch(/this is no report of fuzz --output/);
  });
});
