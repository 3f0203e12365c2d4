import { Fault } from '../fault.ts';
import { STATE } from '../state/layout.ts';
import type { State } from '../state/state.ts';

/** Status word. Vol. 1, "x87 FPU Status Register". */
// biome-ignore format: a table
export const FSW = {
  IE: 1 << 0, DE: 1 << 1, ZE: 1 << 2, OE: 1 << 3, UE: 1 << 4, PE: 1 << 5, SF: 1 << 6, ES: 1 << 7,
  C0: 1 << 8, C1: 1 << 9, C2: 1 << 10, C3: 1 << 14, B: 1 << 15,
} as const;
const TOP = 11;
export const CONDITIONS = FSW.C0 | FSW.C1 | FSW.C2 | FSW.C3;
export const EXCEPTIONS = 0x3f;

const CR0_EM = 1 << 2;
const CR0_TS = 1 << 3;
const CR0_NE = 1 << 5;

/** The x87 registers of a state: typed access to the state block. */
export class X87 {
  readonly state: State;

  constructor(state: State) {
    this.state = state;
  }

  #word(offset: number): number {
    return this.state.view.getUint16(this.state.base + offset, true);
  }

  #setWord(offset: number, value: number): void {
    this.state.view.setUint16(this.state.base + offset, value, true);
  }

  get fcw(): number {
    return this.#word(STATE.FCW);
  }
  /** Bit 6 reads as 1; the others beyond RC do not exist. */
  set fcw(value: number) {
    this.#setWord(STATE.FCW, (value & 0x1f3f) | 0x40);
    this.summarise();
  }
  get fsw(): number {
    return this.#word(STATE.FSW);
  }
  set fsw(value: number) {
    this.#setWord(STATE.FSW, value);
  }
  /** Abridged: bit n says that physical register n is not empty. */
  get ftw(): number {
    return this.#word(STATE.FTW);
  }
  set ftw(value: number) {
    this.#setWord(STATE.FTW, value);
  }
  get fop(): number {
    return this.#word(STATE.FOP);
  }
  set fop(value: number) {
    this.#setWord(STATE.FOP, value);
  }
  get fcs(): number {
    return this.#word(STATE.FCS);
  }
  set fcs(value: number) {
    this.#setWord(STATE.FCS, value);
  }
  get fds(): number {
    return this.#word(STATE.FDS);
  }
  set fds(value: number) {
    this.#setWord(STATE.FDS, value);
  }

  get top(): number {
    return (this.fsw >> TOP) & 7;
  }
  set top(value: number) {
    this.fsw = (this.fsw & ~(7 << TOP)) | ((value & 7) << TOP);
  }

  /** Physical number of ST(i). */
  physical(i: number): number {
    return (this.top + i) & 7;
  }

  isEmpty(i: number): boolean {
    return ((this.ftw >> this.physical(i)) & 1) === 0;
  }

  /** The 80 bits of ST(i). */
  get(i: number): bigint {
    return this.physicalBits(this.physical(i));
  }

  set(i: number, bits: bigint): void {
    const at = this.physical(i);
    this.setPhysicalBits(at, bits);
    this.ftw |= 1 << at;
  }

  free(i: number): void {
    this.ftw &= ~(1 << this.physical(i));
  }

  physicalBits(at: number): bigint {
    const offset = STATE.ST + 16 * at;
    return this.state.get(offset) | (BigInt(this.#word(offset + 8)) << 64n);
  }

  setPhysicalBits(at: number, bits: bigint): void {
    const offset = STATE.ST + 16 * at;
    this.state.set(offset, bits & 0xffff_ffff_ffff_ffffn);
    this.#setWord(offset + 8, Number(bits >> 64n));
  }

  /** The condition codes; `mask` says which of them change. */
  setConditions(values: number, mask = CONDITIONS): void {
    this.fsw = (this.fsw & ~mask) | values;
  }

  /** ES and B follow from flags and masks. */
  summarise(): void {
    const pending = (this.fsw & ~this.fcw & EXCEPTIONS) !== 0;
    this.fsw = pending ? this.fsw | FSW.ES | FSW.B : this.fsw & ~(FSW.ES | FSW.B);
  }

  /** Vol. 1, "FINIT/FNINIT—Initialize Floating-Point Unit". */
  init(): void {
    this.#setWord(STATE.FCW, 0x37f);
    this.fsw = 0;
    this.ftw = 0;
    this.fop = 0;
    this.state.set(STATE.FIP, 0n);
    this.state.set(STATE.FDP, 0n);
    this.fcs = 0;
    this.fds = 0;
  }
}

/** @throws Fault #NM where the operating system emulates the x87 or has not switched to its state */
export function requireX87(state: State): void {
  if ((state.get32(STATE.CR0) & (CR0_EM | CR0_TS)) !== 0) throw new Fault('#NM');
}

/**
 * Vol. 1, "x87 FPU Exception Handling in Software". With CR0.NE clear, the way of the PC (FERR# and IRQ 13) is not
 * modelled: the exception stays pending.
 * @throws Fault #MF
 */
export function raisePending(state: State): void {
  const fsw = state.view.getUint16(state.base + STATE.FSW, true);
  if ((fsw & FSW.ES) !== 0 && (state.get32(STATE.CR0) & CR0_NE) !== 0) throw new Fault('#MF');
}
