#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { CounterpointError } from '../bits/error.ts';
import { compareCommand } from './commands/compare.ts';
import { fuzzCommand } from './commands/fuzz/fuzz.ts';
import { listCommand } from './commands/list.ts';
import { runCommand } from './commands/run.ts';
import { scenarioCommand } from './commands/scenario.ts';
import { statCommand } from './commands/stat.ts';
import { EXIT_CODE } from './exit-code.ts';
import { menu } from './menu.ts';
import { VERSION } from './version.ts';

/** One line on stderr, and the documented exit code. */
function fail(message: string, code: number): void {
  process.stderr.write(`counterpoint: ${message}\n`);
  process.exitCode = code;
}

// A reader that goes away ends the command quietly; what it has computed keeps its exit code.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit();
  throw error;
});

const program = new Command('counterpoint')
  .description('An x86-64 machine whose performance-monitoring unit is exact.')
  .version(VERSION)
  .showHelpAfterError('(counterpoint --help tells more)')
  .exitOverride()
  .configureOutput({ outputError: (text) => process.stderr.write(text) });
for (const command of [
  compareCommand,
  runCommand,
  statCommand,
  scenarioCommand,
  fuzzCommand,
  listCommand,
]) {
  program.addCommand(command.exitOverride());
}

try {
  if (process.argv.length > 2) await program.parseAsync();
  else process.stdout.write(menu());
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? EXIT_CODE.PASS : EXIT_CODE.USAGE;
  } else if (error instanceof CounterpointError) fail(error.message, EXIT_CODE.USAGE);
  else if (process.env['COUNTERPOINT_DEBUG']) throw error;
  else fail(`internal error, please report it: ${error}`, EXIT_CODE.INTERNAL);
}
