import { CR0, RFLAGS } from '../control-registers.ts';
import { Fault } from '../fault.ts';
import type { Insn } from '../insn.ts';
import { STATE } from '../state/layout.ts';
import type { Core } from '../system/core.ts';
import { isWidth } from '../system/linear-memory.ts';

const AC = RFLAGS.AC;
const AM = CR0.AM;

/** @throws Fault #AC(0) where user mode has its alignment checked */
export function checkAlignment({ state }: Core, linear: bigint, alignment: number): void {
  if (linear % BigInt(alignment) === 0n || state.cpl !== 3) return;
  const checked =
    (state.get(STATE.RFLAGS_SYSTEM) & AC) !== 0n && (state.get(STATE.CR0) & AM) !== 0n;
  if (checked) throw new Fault('#AC', 0);
}

/** What an address has to be a multiple of: always, or where user mode has its alignment checked. */
export interface Alignment {
  readonly demanded?: number;
  readonly checked?: number;
}

/** The memory operand of an instruction that saves or restores state: bytes, all or nothing. */
export class Area {
  readonly #core: Core;
  readonly #linear: bigint;
  readonly #size: number;
  /** Physical address, where all of it is together; else -1. */
  readonly #place: number;

  /** @throws Fault #GP(0) unless aligned, and as any access */
  constructor(
    core: Core,
    insn: Insn,
    size: number,
    access: 'read' | 'write',
    alignment: Alignment,
  ) {
    const memory = core.memoryOperand(insn)!;
    const offset = core.offset(memory, insn);
    if (core.linearOf(memory, insn) % BigInt(alignment.demanded ?? 1) !== 0n)
      throw new Fault('#GP', 0);
    this.#core = core;
    this.#size = size;
    this.#linear = core.linear(memory.segment, offset, size, access);
    checkAlignment(core, this.#linear, alignment.checked ?? 1);
    this.#place = core.memory.place(this.#linear, size, core.privilege, access);
    if (this.#place >= 0) return;
    for (let at = 0; at < size; at += 4096) this.#probe(at, Math.min(4096, size - at), access);
  }

  #probe(at: number, size: number, access: 'read' | 'write'): void {
    this.#core.memory.probe(this.#at(at), size, this.#core.privilege, access);
  }

  #at(offset: number): bigint {
    return this.#linear + BigInt(offset);
  }

  read(at: number, size: number): bigint {
    if (this.#place >= 0 && isWidth(size))
      return this.#core.ports.memory.read(this.#place + at, size);
    return this.#core.memory.read(this.#at(at), size, this.#core.privilege);
  }

  write(at: number, size: number, value: bigint | number): void {
    if (this.#place >= 0 && isWidth(size)) {
      this.#core.ports.memory.write(this.#place + at, size, BigInt(value));
      return;
    }
    this.#core.memory.write(this.#at(at), size, BigInt(value), this.#core.privilege);
  }

  /** Bytes from `at` on are zero. */
  isClear(at: number, length: number): boolean {
    for (let i = 0; i < length; i += 8) if (this.read(at + i, 8) !== 0n) return false;
    return true;
  }

  get size(): number {
    return this.#size;
  }
}
