import { PAGE_SIZE, type PhysicalMemory } from '../../memory/physical-memory.ts';

/** Bytes of physical memory that one bit stands for. */
const LINE = 64;
const LINES_PER_WORD = 32;

/** An engine's part in keeping decoded code true to memory. */
export interface CodeWatcher {
  /** The physical page holds decoded code from now on: stores to it must be seen. */
  protect(page: number): void;
  /** Decoded code of the physical page was overwritten. */
  drop(page: number): void;
}

/**
 * Which 64-byte lines of physical memory hold bytes that some CPU has decoded. One per memory, shared by its CPUs,
 * so self- and cross-modifying code and device writes are all the same event: a write to such a line drops
 * what was decoded from its page.
 */
export class CodeLines {
  static readonly #ofMemory = new WeakMap<PhysicalMemory, CodeLines>();
  readonly #pages = new Map<number, Uint32Array>();
  readonly #watchers: CodeWatcher[] = [];

  /** The one for a memory. */
  static of(memory: PhysicalMemory): CodeLines {
    let lines = CodeLines.#ofMemory.get(memory);
    if (!lines) {
      lines = new CodeLines();
      CodeLines.#ofMemory.set(memory, lines);
      memory.onWrite(lines.written);
    }
    return lines;
  }

  watch(watcher: CodeWatcher): void {
    this.#watchers.push(watcher);
  }

  holdsCode(page: number): boolean {
    return this.#pages.has(page);
  }

  /** Bytes of one page were decoded. */
  decoded(address: number, length: number): void {
    const page = Math.floor(address / PAGE_SIZE);
    let lines = this.#pages.get(page);
    if (!lines) {
      lines = new Uint32Array(PAGE_SIZE / LINE / LINES_PER_WORD);
      this.#pages.set(page, lines);
      for (const watcher of this.#watchers) watcher.protect(page);
    }
    const offset = address % PAGE_SIZE;
    for (let line = offset >> 6; line <= (offset + length - 1) >> 6; line++) {
      lines[line >> 5]! |= 1 << (line & 31);
    }
  }

  /** Bytes were written, by whomever. */
  readonly written = (address: number, length: number): void => {
    const last = Math.floor((address + length - 1) / PAGE_SIZE);
    for (let page = Math.floor(address / PAGE_SIZE); page <= last; page++) {
      const lines = this.#pages.get(page);
      if (!lines) continue;
      const from = Math.max(address - page * PAGE_SIZE, 0) >> 6;
      const to = Math.min(address + length - 1 - page * PAGE_SIZE, PAGE_SIZE - 1) >> 6;
      for (let line = from; line <= to; line++) {
        if ((lines[line >> 5]! & (1 << (line & 31))) === 0) continue;
        this.#pages.delete(page);
        for (const watcher of this.#watchers) watcher.drop(page);
        break;
      }
    }
  };
}
