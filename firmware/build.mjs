// Assembles every guest into the image beside its source. Needs nasm.
import { writeFileSync } from 'node:fs';
import { assemble, GUESTS, hasAssembler, imagePath } from './images.mjs';

if (!hasAssembler()) {
  console.error('nasm is not installed: the guests cannot be assembled');
  process.exit(1);
}
for (const guest of GUESTS) {
  const image = assemble(guest);
  writeFileSync(imagePath(guest), image);
  console.log(`${guest}: ${image.length} bytes`);
}
