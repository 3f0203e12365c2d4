#!/usr/bin/env node
import { EXIT_CODE } from './exit-code.ts';
import { execute } from './program.ts';

// A reader that goes away ends the command quietly; what it has computed keeps its exit code.
process.stdout.on('error', ({ code }: NodeJS.ErrnoException) => {
  if (code === 'EPIPE') process.exit();
  process.stderr.write(`counterpoint: stdout cannot be written (${code})\n`);
  process.exit(EXIT_CODE.USAGE);
});
// Where nobody hears complaints there are none.
process.stderr.on('error', () => {});

await execute(process.argv.slice(2));
