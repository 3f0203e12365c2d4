import { isSet } from '../../bits/bitfield.ts';
import { CR4 } from '../control-registers.ts';
import { STATE } from '../state/layout.ts';
import type { State } from '../state/state.ts';

/** What DR7 makes a breakpoint stop at. Vol. 3, "Debug Control Register (DR7)". */
const KIND = { EXECUTE: 0, WRITE: 1, PORT: 2, ACCESS: 3 } as const;

/** Bytes that the LEN field of DR7 stands for. */
const LENGTHS = [1, 2, 8, 4] as const;

/** In pending debug exceptions: at least one of the breakpoints met is enabled. */
const ENABLED = 1n << 12n;
const DE = Number(CR4.DE);

interface Breakpoint {
  /** Its bit of DR6. */
  readonly bit: bigint;
  readonly kind: number;
  /** Aligned to the length, as the comparison has it. */
  readonly address: bigint;
  readonly length: number;
}

/** The enabled breakpoints of one CPU, kept up with DR0–3 and DR7. */
export class Breakpoints {
  readonly #state: State;
  #execute: readonly Breakpoint[] = [];
  #data: readonly Breakpoint[] = [];
  #ports: readonly Breakpoint[] = [];
  #pages: ReadonlySet<bigint> = new Set();
  /** Bits 31:0 of DR7, and CR4, as they were read last. */
  #dr7 = 0;
  #cr4 = 0;

  constructor(state: State) {
    this.#state = state;
  }

  /** Whether VM entry or VM exit has changed which breakpoints are enabled. */
  get outdated(): boolean {
    const dr7 = this.#state.get32(STATE.DR + 56);
    if (((dr7 | this.#dr7) & 0xff) === 0) return false;
    return dr7 !== this.#dr7 || ((this.#state.get32(STATE.CR4) ^ this.#cr4) & DE) !== 0;
  }

  /** Reads the debug registers again. */
  refresh(): void {
    const state = this.#state;
    this.#dr7 = state.get32(STATE.DR + 56);
    this.#cr4 = state.get32(STATE.CR4);
    const dr7 = state.get(STATE.DR + 56);
    const enabled: Breakpoint[] = [];
    for (let i = 0; i < 4; i++) {
      if (!isSet(dr7, 3n << BigInt(i * 2))) continue;
      const fields = Number((dr7 >> BigInt(16 + i * 4)) & 15n);
      const length = LENGTHS[fields >> 2]!;
      const address = state.get(STATE.DR + i * 8);
      const aligned = address - (address % BigInt(length));
      enabled.push({ bit: 1n << BigInt(i), kind: fields & 3, address: aligned, length });
    }
    const byPort = isSet(state.get(STATE.CR4), CR4.DE);
    this.#execute = enabled.filter(({ kind }) => kind === KIND.EXECUTE);
    this.#data = enabled.filter(({ kind }) => kind === KIND.WRITE || kind === KIND.ACCESS);
    this.#ports = byPort ? enabled.filter(({ kind }) => kind === KIND.PORT) : [];
    this.#pages = new Set(this.#data.map(({ address }) => address >> 12n));
  }

  /** Whether any stops at instructions, so that each must be looked at. */
  get onInstructions(): boolean {
    return this.#execute.length > 0;
  }

  /** Whether data on the page of `linear` is watched: accesses to it must come here. */
  watchesPage(linear: bigint): boolean {
    return this.#pages.size > 0 && this.#pages.has(linear >> 12n);
  }

  /** DR6 bits of the breakpoints at the instruction at linear address `rip`. */
  instruction(rip: bigint): bigint {
    return this.#execute.reduce((met, { bit, address }) => (address === rip ? met | bit : met), 0n);
  }

  /** Pending-debug bits of the breakpoints that a data access meets. */
  data(linear: bigint, size: number, write: boolean): bigint {
    return overlap(
      this.#data.filter(({ kind }) => write || kind === KIND.ACCESS),
      linear,
      size,
    );
  }

  /** Pending-debug bits of the breakpoints that an access to ports meets. */
  port(port: number, size: number): bigint {
    return overlap(this.#ports, BigInt(port), size);
  }
}

function overlap(breakpoints: readonly Breakpoint[], at: bigint, size: number): bigint {
  let met = 0n;
  for (const { bit, address, length } of breakpoints) {
    if (at < address + BigInt(length) && address < at + BigInt(size)) met |= bit | ENABLED;
  }
  return met;
}
