import type { Command } from 'commander';
import { execute, program } from '../../src/cli/program.ts';
import { Draw } from '../../src/fuzz/draw.ts';

/** Values that options take, that they nearly take, and that nothing should make anything of. */
// biome-ignore format: a table
const VALUES = [
  '1', '0', '-1', '2/4', '3/2', '0/0', '90s', '5x', '1e3', '1_000', '0x10', '99999999999999999999999', 'mediated', 'emulated,', ',', '',
  ' ', '--', '-', '---', '=', '--cases=', '--json=1', 'all', '27', 'count', 'cycles', 'r00c0', '/', '../x', '\n', 'a\nb', '\u001b[31m', '\u202e',
  '😀', '%s', '__proto__', 'constructor', 'help', '-h', '--help', '--version', '64M', '-1M', 'redis://x', 'sapphire-rapids', '-qj', '@',
] as const;

const commandsIn = (command: Command): Command[] => [
  command,
  ...command.commands.flatMap(commandsIn),
];
const COMMANDS = commandsIn(program);
// Arguments are read and nothing is done.
for (const command of COMMANDS) {
  if (command !== program) command.action(() => {});
}
const WORDS = [
  ...COMMANDS.map((command) => command.name()),
  ...COMMANDS.flatMap(({ options }) => options.flatMap(({ short, long }) => [short, long])),
].filter((word) => word !== undefined);

export function randomArguments(seed: string): string[] {
  const draw = new Draw(seed);
  const rest = Array.from({ length: draw.below(7) }, () => {
    const word = draw.of(draw.chance(0.5) ? WORDS : VALUES);
    return draw.chance(0.1) ? `${word}=${draw.of(VALUES)}` : word;
  });
  return draw.chance(0.7) ? [draw.of(COMMANDS.slice(1)).name(), ...rest] : rest;
}

/** What a command line is answered with, on stderr and by its exit code. */
export async function answerTo(args: readonly string[]): Promise<{ code: number; stderr: string }> {
  const { stdout, stderr } = process;
  const [out, err] = [stdout.write, stderr.write];
  let told = '';
  stdout.write = () => true;
  stderr.write = (text: string | Uint8Array) => {
    told += text;
    return true;
  };
  try {
    process.exitCode = 0;
    await execute(args);
    return { code: Number(process.exitCode), stderr: told };
  } finally {
    stdout.write = out;
    stderr.write = err;
    process.exitCode = 0;
  }
}

const HINT = '(counterpoint --help tells more)\n';

/** What is wrong with an answer: it is to be accepted in silence, or refused with 2, in one line or by the usage. */
export function complaintAbout({
  code,
  stderr,
}: {
  code: number;
  stderr: string;
}): string | undefined {
  const told = stderr.replace(HINT, '');
  if (code === 0) return told === '' ? undefined : `accepted, but said ${told}`;
  if (code !== 2) return `ended with ${code}: ${told}`;
  return /^([^\n]+\n|Usage: [\s\S]*)$/.test(told)
    ? undefined
    : `not one line: ${JSON.stringify(told)}`;
}
