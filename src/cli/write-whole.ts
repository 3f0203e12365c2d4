import { renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { CounterpointError } from '../bits/error.ts';

/** Whether a path is there and is no regular file: a pipe, a device. It is written to, never replaced. */
export function isSpecial(path: string): boolean {
  try {
    return !statSync(path).isFile();
  } catch {
    return false;
  }
}

/** Writes a file whole or not at all: under a temporary name, then renamed. @throws CounterpointError `unwritable-file` */
export function writeWhole(path: string, content: string | Uint8Array): void {
  const temporary = isSpecial(path) ? undefined : `${path}.${process.pid}.part`;
  try {
    writeFileSync(temporary ?? path, content);
    if (temporary !== undefined) renameSync(temporary, path);
  } catch (error) {
    if (temporary !== undefined) rmSync(temporary, { force: true });
    const { code } = error as NodeJS.ErrnoException;
    throw new CounterpointError('unwritable-file', `${path}: cannot be written (${code})`);
  }
}
