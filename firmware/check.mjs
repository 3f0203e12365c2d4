// Fails if a committed image differs from what its source assembles to. Without nasm, says what it skipped.
import { existsSync, readFileSync } from 'node:fs';
import { assemble, GUESTS, hasAssembler, imagePath } from './images.mjs';

if (!hasAssembler()) {
  console.log(`SKIP: nasm is not installed, images not compared: ${GUESTS.join(', ')}`);
  process.exit(0);
}
let stale = 0;
for (const guest of GUESTS) {
  const path = imagePath(guest);
  const same = existsSync(path) && assemble(guest).equals(readFileSync(path));
  if (!same) stale += 1;
  console.log(`${same ? 'same' : 'STALE'}: ${guest}`);
}
process.exit(stale === 0 ? 0 : 1);
