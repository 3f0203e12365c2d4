import { LVT } from '../msr/apic.ts';
import { DELIVERY } from './message.ts';

/** The entries of the local vector table, in the order of their registers from offset 320H. */
export const LVT_ENTRIES = ['TIMER', 'THERMAL', 'PMI', 'LINT0', 'LINT1', 'ERROR'] as const;
export type LvtEntry = (typeof LVT_ENTRIES)[number];

export const MASKED = Number(LVT.MASKED);
const LEVEL = Number(LVT.LEVEL);
const REMOTE_IRR = Number(LVT.REMOTE_IRR);
const VECTOR = Number(LVT.VECTOR);

/** What an unmasked entry sends to its own processor. */
export interface LocalInterrupt {
  readonly mode: number;
  readonly vector: number;
  readonly level: boolean;
}

/** The local vector table: six entries and their masks. Vol. 3, "Local Vector Table". */
export class LocalVectorTable {
  readonly values = new Uint32Array(LVT_ENTRIES.length);
  readonly #writable: Readonly<Record<LvtEntry, number>>;

  constructor(writable: Readonly<Record<LvtEntry, number>>) {
    this.#writable = writable;
    this.reset();
  }

  reset(): void {
    this.values.fill(MASKED);
  }

  read(entry: LvtEntry): number {
    return this.values[LVT_ENTRIES.indexOf(entry)]!;
  }

  /** Software writes; `held` keeps the mask set, as a software-disabled APIC does. */
  write(entry: LvtEntry, value: number, held: boolean): void {
    const index = LVT_ENTRIES.indexOf(entry);
    const remote = this.values[index]! & REMOTE_IRR;
    this.values[index] = (value & this.#writable[entry]) | remote | (held ? MASKED : 0);
  }

  maskAll(): void {
    for (let index = 0; index < this.values.length; index++) this.values[index]! |= MASKED;
  }

  mask(entry: LvtEntry): void {
    this.values[LVT_ENTRIES.indexOf(entry)]! |= MASKED;
  }

  /** What the entry sends when its source asks, or undefined while it is masked. */
  interrupt(entry: LvtEntry): LocalInterrupt | undefined {
    const value = this.read(entry);
    if ((value & MASKED) !== 0) return undefined;
    const vector = value & VECTOR;
    if (entry === 'TIMER' || entry === 'ERROR') {
      return { mode: DELIVERY.FIXED, vector, level: false };
    }
    const mode = (value >> 8) & 7;
    const pin = entry === 'LINT0' || entry === 'LINT1';
    return { mode, vector, level: pin && mode === DELIVERY.FIXED && (value & LEVEL) !== 0 };
  }

  /** Whether a level-triggered pin's interrupt waits for its EOI. */
  remoteIrr(entry: LvtEntry): boolean {
    return (this.read(entry) & REMOTE_IRR) !== 0;
  }

  setRemoteIrr(entry: LvtEntry, set: boolean): void {
    const index = LVT_ENTRIES.indexOf(entry);
    if (set) this.values[index]! |= REMOTE_IRR;
    else this.values[index]! &= ~REMOTE_IRR;
  }
}
