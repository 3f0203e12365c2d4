import { MASK32 } from '../../bits/u64.ts';
import {
  INTERPRETER,
  SEGMENT,
  SEGMENTS,
  type SegmentName,
  STATE,
  TOTALS,
  type Total,
} from './layout.ts';

/** A segment register with its hidden part; `rights` in the VMCS format (bit 16 = unusable). */
export interface Segment {
  selector: number;
  base: bigint;
  limit: number;
  rights: number;
}

/** Number of each segment register, as ModR/M has it. */
export const SEGMENT_INDEX = Object.fromEntries(SEGMENTS.map((name, i) => [name, i])) as Readonly<
  Record<SegmentName, number>
>;

const RAX = 0;
const RDX = 2;

const TOTAL_INDEX = Object.fromEntries(TOTALS.map((name, i) => [name, i])) as Readonly<
  Record<Total, number>
>;
/** Index of the low half of the ticks in words of 32 bits. */
const TICKS = 2 * TOTAL_INDEX.ticks;

/** Typed view on one CPU's state block in linear memory. */
export class State {
  readonly linear: WebAssembly.Memory;
  readonly view: DataView;
  /** Offset of the block in linear memory. */
  readonly base: number;
  /** Bytes from there on that are this CPU's, for its engine to keep things in. */
  readonly size: number;
  /** The block in 32-bit words. */
  readonly words: Uint32Array;
  /** The sixteen general registers, as the engines see them. */
  readonly gpr: BigUint64Array;
  /** Event totals in the order of `TOTALS`. */
  readonly totals: BigUint64Array;
  /** The same in halves, low before high. */
  readonly #totalWords: Uint32Array;

  constructor(linear: WebAssembly.Memory, base: number, size: number = INTERPRETER.SIZE) {
    this.linear = linear;
    this.view = new DataView(linear.buffer);
    this.base = base;
    this.size = size;
    this.words = new Uint32Array(linear.buffer, base, STATE.SIZE / 4);
    this.gpr = new BigUint64Array(linear.buffer, base + STATE.GPR, 16);
    this.totals = new BigUint64Array(linear.buffer, base + STATE.TOTALS, 64);
    this.#totalWords = new Uint32Array(linear.buffer, base + STATE.TOTALS, 128);
  }

  /** A u64 field of `STATE` by offset. */
  get(offset: number): bigint {
    return this.view.getBigUint64(this.base + offset, true);
  }

  set(offset: number, value: bigint): void {
    this.view.setBigUint64(this.base + offset, value, true);
  }

  /** A u32 field of `STATE` by offset. */
  get32(offset: number): number {
    return this.view.getUint32(this.base + offset, true);
  }

  set32(offset: number, value: number): void {
    this.view.setUint32(this.base + offset, value, true);
  }

  get rip(): bigint {
    return this.get(STATE.RIP);
  }

  set rip(value: bigint) {
    this.set(STATE.RIP, value);
  }

  get cpl(): number {
    return this.get32(STATE.CPL);
  }

  total(name: Total): bigint {
    return this.totals[TOTAL_INDEX[name]]!;
  }

  /** Ticks since power-up as a number; exact up to 2^53. */
  get ticks(): number {
    return this.#totalWords[TICKS + 1]! * 2 ** 32 + this.#totalWords[TICKS]!;
  }

  /** @param count no less than 0; exact up to 2^53 */
  addTotal(name: Total, count: number): void {
    this.#add(2 * TOTAL_INDEX[name], count);
  }

  /** `addTotal` of one total, for who adds to it all the time. */
  adder(name: Total): (count: number) => void {
    const at = 2 * TOTAL_INDEX[name];
    return (count) => this.#add(at, count);
  }

  #add(at: number, count: number): void {
    const words = this.#totalWords;
    const low = words[at]! + count;
    words[at] = low;
    if (low >= 2 ** 32) words[at + 1]! += Math.floor(low / 2 ** 32);
  }

  /** The low half of a general register. */
  gpr32(index: number): number {
    return this.words[2 * index]!;
  }

  /** Loads a general register with 32 bits, which clears its upper half. */
  setGpr32(index: number, value: number): void {
    this.words[2 * index] = value;
    this.words[2 * index + 1] = 0;
  }

  get edxEax(): bigint {
    return ((this.gpr[RDX]! & MASK32) << 32n) | (this.gpr[RAX]! & MASK32);
  }

  /** EDX:EAX, for which RDMSR and its kin clear the upper halves of both registers. */
  set edxEax(value: bigint) {
    this.gpr[RAX] = value;
    this.setGpr32(RDX, this.words[2 * RAX + 1]!);
    this.words[2 * RAX + 1] = 0;
  }

  segment(name: SegmentName): Segment {
    const at = this.base + STATE.SEGMENT + SEGMENT_INDEX[name] * SEGMENT.SIZE;
    return {
      base: this.view.getBigUint64(at + SEGMENT.BASE, true),
      limit: this.view.getUint32(at + SEGMENT.LIMIT, true),
      rights: this.view.getUint32(at + SEGMENT.RIGHTS, true),
      selector: this.view.getUint32(at + SEGMENT.SELECTOR, true),
    };
  }

  setSegment(name: SegmentName, { selector, base, limit, rights }: Segment): void {
    const at = this.base + STATE.SEGMENT + SEGMENT_INDEX[name] * SEGMENT.SIZE;
    this.view.setBigUint64(at + SEGMENT.BASE, base, true);
    this.view.setUint32(at + SEGMENT.LIMIT, limit, true);
    this.view.setUint32(at + SEGMENT.RIGHTS, rights, true);
    this.view.setUint32(at + SEGMENT.SELECTOR, selector, true);
  }
}
