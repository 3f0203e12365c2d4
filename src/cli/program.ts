import { Command, CommanderError } from 'commander';
import { CounterpointError, printable } from '../bits/error.ts';
import { compareCommand } from './commands/compare.ts';
import { fuzzCommand } from './commands/fuzz/fuzz.ts';
import { listCommand } from './commands/list.ts';
import { runCommand } from './commands/run.ts';
import { scenarioCommand } from './commands/scenario.ts';
import { statCommand } from './commands/stat.ts';
import { EXIT_CODE } from './exit-code.ts';
import { menu } from './menu.ts';
import { VERSION } from './version.ts';

/** The command and those below it, their errors in one line each, whatever they quote. */
function speakingPlainly(command: Command): Command {
  command.exitOverride().configureOutput({
    outputError: (text, write) => write(`${printable(text.trimEnd())}\n`),
  });
  for (const each of command.commands) speakingPlainly(each);
  return command;
}

export const program: Command = new Command('counterpoint')
  .description('An x86-64 machine whose performance-monitoring unit is exact.')
  .version(VERSION)
  .showHelpAfterError('(counterpoint --help tells more)');
for (const command of [
  compareCommand,
  runCommand,
  statCommand,
  scenarioCommand,
  fuzzCommand,
  listCommand,
]) {
  program.addCommand(command);
}
speakingPlainly(program);

/** One line on stderr, and the documented exit code. */
function fail(message: string, code: number): void {
  process.stderr.write(`counterpoint: ${message}\n`);
  process.exitCode = code;
}

/** Executes a command line, without the name of the program; an empty one shows the menu. Its exit code is that of the process. */
export async function execute(args: readonly string[]): Promise<void> {
  try {
    if (args.length > 0) await program.parseAsync(args, { from: 'user' });
    else process.stdout.write(menu());
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? EXIT_CODE.PASS : EXIT_CODE.USAGE;
    } else if (error instanceof CounterpointError) fail(error.message, EXIT_CODE.USAGE);
    else if (process.env['COUNTERPOINT_DEBUG']) throw error;
    else fail(`internal error, please report it: ${error}`, EXIT_CODE.INTERNAL);
  }
}
