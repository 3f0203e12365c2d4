#!/usr/bin/env node
import { execute } from './program.ts';

// A reader that goes away ends the command quietly; what it has computed keeps its exit code.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit();
  throw error;
});

await execute(process.argv.slice(2));
