import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { CounterpointError } from '../bits/error.ts';

/** Writes a file whole or not at all: under a temporary name, then renamed. @throws CounterpointError `unwritable-file` */
export function writeWhole(path: string, content: string | Uint8Array): void {
  const temporary = `${path}.${process.pid}.part`;
  try {
    writeFileSync(temporary, content);
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    const { code } = error as NodeJS.ErrnoException;
    throw new CounterpointError('unwritable-file', `${path}: cannot be written (${code})`);
  }
}
