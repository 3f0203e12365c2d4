import { CounterpointError } from '../bits/error.ts';
import type { MemoryPorts } from './ports.ts';

const PAGE = 4096;

/** The host's free physical pages: a stretch of memory no guest is given. */
export class PageAllocator {
  readonly #memory: MemoryPorts;
  readonly #end: number;
  #next: number;
  #free: number[] = [];

  /** @param base page-aligned physical address; `size` in bytes. */
  constructor(memory: MemoryPorts, { base, size }: { base: number; size: number }) {
    this.#memory = memory;
    this.#next = base;
    this.#end = base + size;
  }

  /** Physical address of a page of zeroes. @throws CounterpointError `host-memory` when there is none left. */
  allocate(): number {
    const page = this.#free.pop() ?? this.#next;
    if (page === this.#next) {
      if (page + PAGE > this.#end) {
        throw new CounterpointError('host-memory', 'the host has no free page left');
      }
      this.#next += PAGE;
    }
    for (let at = page; at < page + PAGE; at += 8) this.#memory.write(at, 8, 0n);
    return page;
  }

  free(page: number): void {
    this.#free.push(page);
  }

  save(): { next: number; free: readonly number[] } {
    return { next: this.#next, free: [...this.#free] };
  }

  restore(saved: { next: number; free: readonly number[] }): void {
    this.#next = saved.next;
    this.#free = [...saved.free];
  }
}
