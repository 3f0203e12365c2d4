import { decode } from '../../decode/decode.ts';
import type { Insn } from '../../insn.ts';
import { type CodePage, LEAVES } from './block-decoder.ts';
import type { CodeMap } from './code-map.ts';
import type { HandlerSet } from './handler-set.ts';
import { RECORD, STUB } from './record.ts';

const PAGE = 4096;
/** A block that is promoted takes along those of its page that were entered this part as often. */
const WARM = 1 / 8;
/** Most instructions in one handler: V8 optimises functions of this size in some ten milliseconds, in the background. */
const LONGEST = 32;
/** Handlers after which no more are made, so that code that is always new does not fill memory. */
const MOST_HANDLERS = 30_000;

/** Gives hot blocks of decoded instructions handlers that execute them in one go. */
export class HotBlocks {
  readonly #map: CodeMap;
  readonly #handlers: HandlerSet;
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #features: ReadonlySet<string> | undefined;
  readonly #warm: number;

  constructor(
    map: CodeMap,
    handlers: HandlerSet,
    view: DataView,
    features: ReadonlySet<string> | undefined,
    threshold: number,
  ) {
    this.#map = map;
    this.#handlers = handlers;
    this.#view = view;
    this.#bytes = new Uint8Array(view.buffer);
    this.#features = features;
    this.#warm = -Math.floor(threshold * (1 - WARM));
  }

  /** Promotes every block of a page that is hot or nearly so. */
  promote(page: CodePage): void {
    if (this.#handlers.size > MOST_HANDLERS) return;
    const view = this.#view;
    for (let offset = 0; offset < PAGE; offset++) {
      const record = this.#map.record(page.slots, offset);
      if (record === 0) continue;
      const fresh = view.getUint32(record + RECORD.SINGLE, true) === 0;
      if (fresh && view.getInt32(record + RECORD.HEAT, true) >= this.#warm)
        this.#fuse(page, offset, record);
    }
    this.#handlers.make();
  }

  /** Gives the block at a record its handler, and goes on behind it unless control never does. */
  #fuse(page: CodePage, start: number, first: number): void {
    const view = this.#view;
    let offset = start;
    let record = first;
    for (;;) {
      if (view.getUint32(record + RECORD.HANDLER, true) === STUB.SYSTEM) {
        view.setUint32(record + RECORD.SINGLE, STUB.SYSTEM, true);
        offset += view.getUint32(record + RECORD.LENGTH, true);
        record += RECORD.SIZE;
        if (offset >= PAGE || this.#map.record(page.slots, offset) !== record) return;
        continue;
      }
      const insns = this.#run(page, offset, record);
      const single = view.getUint32(record + RECORD.HANDLER, true);
      if (single === STUB.STALE || view.getUint32(record + RECORD.SINGLE, true) !== 0) return;
      view.setUint32(record + RECORD.SINGLE, single, true);
      if (insns.length > 1) {
        const linear = view.getBigUint64(record + RECORD.LINEAR, true);
        const block = this.#handlers.block(insns, page.context.mode, linear);
        view.setUint32(record + RECORD.HANDLER, block, true);
      }
      const last = insns.at(-1);
      if (!last || LEAVES.has(last.op)) return;
      for (const { length } of insns) offset += length;
      record += insns.length * RECORD.SIZE;
      if (offset >= PAGE || this.#map.record(page.slots, offset) !== record) return;
    }
  }

  /** The instructions that one handler can take from a record on; one at least, if it is no stub. */
  #run(page: CodePage, start: number, first: number): Insn[] {
    const insns: Insn[] = [];
    let offset = start;
    let record = first;
    while (insns.length < LONGEST && offset < PAGE) {
      if (this.#map.record(page.slots, offset) !== record) break;
      const handler = this.#view.getUint32(record + RECORD.HANDLER, true);
      if (handler === STUB.PLAIN || handler === STUB.SYSTEM) break;
      const { codeSize } = page.context.mode;
      const insn = decode(this.#bytes, page.host + offset, codeSize, PAGE - offset, this.#features);
      if (typeof insn === 'string') break;
      // A REP instruction comes back to itself between iterations: it stays alone.
      if (insn.rep && insns.length > 0) break;
      insns.push(insn);
      if (insn.rep || LEAVES.has(insn.op)) break;
      offset += insn.length;
      record += RECORD.SIZE;
    }
    return insns;
  }
}
