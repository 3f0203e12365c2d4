import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SystemCase } from './cases.ts';

const HERE = new URL('.', import.meta.url).pathname;

/** The cases as the runner includes them. */
const listing = (cases: readonly SystemCase[]): string =>
  [
    ...cases.map(
      ({ name, mode, code }, i) => `CASE ${i}, '${name}', ${mode}\n${code}\nEND_CASE ${i}\n`,
    ),
    '%macro CASE_TABLE 0',
    ...cases.map((_, i) => `ENTRY ${i}`),
    '%endmacro',
  ].join('\n');

/** A disk image of a runner and its cases, and the program alone, which is loaded at 7E00H. */
export function assemble(
  runner: string,
  cases: readonly SystemCase[],
): { readonly disk: string; readonly program: Uint8Array } {
  const directory = mkdtempSync(join(tmpdir(), 'counterpoint-judge-'));
  writeFileSync(join(directory, 'cases.inc'), listing(cases));
  const nasm = (source: string, output: string) => {
    const to = join(directory, output);
    execFileSync('nasm', ['-f', 'bin', '-i', `${directory}/`, '-o', to, join(HERE, source)]);
    return readFileSync(to);
  };
  const boot = nasm('boot.asm', 'boot.bin');
  const program = nasm(runner, 'program.bin');
  if (program.length > 120 * 512) throw new RangeError(`${runner} is too long for its loader`);
  const disk = new Uint8Array(20 * 16 * 63 * 512);
  disk.set(boot);
  disk.set(program, 512);
  const path = join(directory, 'disk.img');
  writeFileSync(path, disk);
  return { disk: path, program };
}
