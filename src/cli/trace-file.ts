import { closeSync, openSync, renameSync, writeSync } from 'node:fs';
import { CounterpointError } from '../bits/error.ts';
import { isSpecial } from './write-whole.ts';

const STDERR = 2;
/** Characters collected before they are written: the machine waits for whoever reads, and memory stays bounded. */
const CHUNK = 64 * 1024;

/**
 * Where a trace goes: stderr, a pipe, or a file that gets its name when it is whole. A write that fails ends the trace
 * with one message, a reader that goes away without; never the run.
 */
export class TraceFile {
  readonly #path: string | undefined;
  readonly #temporary: string | undefined;
  #descriptor: number | undefined;
  #pending = '';
  /** Whether something of it is lost that somebody wanted. */
  failed = false;

  /** @throws CounterpointError `unwritable-file` */
  constructor(path: string | undefined) {
    this.#path = path;
    if (path === undefined) {
      this.#descriptor = STDERR;
      return;
    }
    this.#temporary = isSpecial(path) ? undefined : `${path}.${process.pid}.part`;
    try {
      this.#descriptor = openSync(this.#temporary ?? path, 'w');
    } catch (error) {
      throw new CounterpointError(
        'unwritable-file',
        `${path}: cannot be written (${codeOf(error)})`,
      );
    }
  }

  readonly write = (line: string): void => {
    this.#pending += line;
    if (this.#pending.length >= CHUNK) this.flush();
  };

  flush(): void {
    const text = Buffer.from(this.#pending);
    this.#pending = '';
    for (let at = 0; this.#descriptor !== undefined && at < text.length; ) {
      try {
        at += writeSync(this.#descriptor, text, at);
      } catch (error) {
        // A pipe that takes nothing at the moment: it is asked again.
        if (codeOf(error) === 'EAGAIN') continue;
        this.#fail(error);
      }
    }
  }

  /** Writes what is left and gives the file its name. */
  close(): void {
    this.flush();
    if (this.#descriptor === undefined || this.#path === undefined) return;
    try {
      closeSync(this.#descriptor);
      if (this.#temporary !== undefined) renameSync(this.#temporary, this.#path);
    } catch (error) {
      this.#fail(error);
    }
    this.#descriptor = undefined;
  }

  #fail(error: unknown): void {
    this.#descriptor = undefined;
    // A reader that has gone away has what it wanted.
    if (codeOf(error) === 'EPIPE') return;
    this.failed = true;
    const left =
      this.#temporary === undefined ? '' : `; what there is of it is in ${this.#temporary}`;
    process.stderr.write(
      `counterpoint: the trace ends here: ${this.#path ?? 'stderr'} cannot be written (${codeOf(error)})${left}\n`,
    );
  }
}

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? String(error);
