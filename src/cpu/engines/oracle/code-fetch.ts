import { decode } from '../../decode/decode.ts';
import { Fault } from '../../fault.ts';
import type { Insn } from '../../insn.ts';
import type { Core } from '../../system/core.ts';
import { codeSize, isRealLike } from '../../system/mode.ts';
import { CodeLines } from '../code-lines.ts';

const PAGE = 4096;
const LONGEST = 15;

/** Fetches and decodes, keeping what it decoded by physical address until the page is written. */
export class CodeFetch {
  readonly #core: Core;
  readonly #features: ReadonlySet<string> | undefined;
  /** So that engines which store past the page cache tell of stores to code. */
  readonly #lines: CodeLines;
  /** Physical page → offset in it · 16 + code size → instruction. */
  readonly #pages = new Map<number, Map<number, Insn>>();
  readonly #bytes = new Uint8Array(LONGEST);
  /** The last page fetched from: linear page, privilege, physical address of the page. */
  #last: { page: bigint; privilege: string; physical: number } | undefined;

  constructor(core: Core, features: ReadonlySet<string> | undefined) {
    this.#core = core;
    this.#features = features;
    this.#lines = CodeLines.of(core.ports.memory);
    core.ports.memory.onWrite((address, length) => {
      const end = Math.floor((address + length - 1) / PAGE);
      for (let page = Math.floor(address / PAGE); page <= end; page++) this.#pages.delete(page);
    });
  }

  /** Forgets translations; instructions are known by physical address. */
  flush(): void {
    this.#last = undefined;
  }

  /** The instruction at RIP. @throws Fault of fetching and decoding, VmExit */
  insn(rip: bigint): Insn {
    const size = codeSize(this.#core.state);
    const linear = this.#core.linear('CS', rip, 1, 'execute');
    const physical = this.#translate(linear);
    const insn = this.#known(physical, size) ?? this.#decode(rip, physical, size);
    if (insn.length > 1) this.#core.linear('CS', rip, insn.length, 'execute');
    if (insn.vex && isRealLike(this.#core.state)) throw new Fault('#UD');
    return insn;
  }

  #known(physical: number, size: number): Insn | undefined {
    return this.#pages.get(Math.floor(physical / PAGE))?.get((physical % PAGE) * 16 + size);
  }

  #decode(rip: bigint, physical: number, size: 2 | 4 | 8): Insn {
    const room = Math.min(LONGEST, PAGE - (physical % PAGE));
    this.#read(physical, 0, room);
    let insn = decode(this.#bytes, 0, size, room, this.#features);
    if (insn === 'short' && room < LONGEST) {
      const rest = this.#core.linear('CS', rip + BigInt(room), 1, 'execute');
      this.#read(this.#translate(rest), room, LONGEST - room);
      insn = decode(this.#bytes, 0, size, LONGEST, this.#features);
    }
    if (insn === '#UD') throw new Fault('#UD');
    if (typeof insn === 'string') throw new Fault('#GP', 0);
    if (insn.length <= room) {
      const page = Math.floor(physical / PAGE);
      const known = this.#pages.get(page) ?? new Map<number, Insn>();
      this.#pages.set(page, known.set((physical % PAGE) * 16 + size, insn));
      this.#lines.decoded(physical, insn.length);
    }
    return insn;
  }

  #translate(linear: bigint): number {
    const { privilege, paging } = this.#core;
    const offset = Number(linear & 0xfffn);
    const page = linear >> 12n;
    if (this.#last?.page !== page || this.#last.privilege !== privilege) {
      const { physical } = paging.translate(linear, 'execute', privilege);
      this.#last = { page, privilege, physical: physical - offset };
    }
    return this.#last.physical + offset;
  }

  #read(physical: number, at: number, length: number): void {
    const { memory } = this.#core.ports;
    for (let i = 0; i < length; i++) this.#bytes[at + i] = Number(memory.read(physical + i, 1));
  }
}
