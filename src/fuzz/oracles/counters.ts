import { type FuzzCase, isAccess } from '../case.ts';
import { placeOf } from '../registers.ts';
import { msrVerdict } from './access-rules.ts';
import { guestShape, hasCounter, type Shape } from './shapes.ts';

const EVENT = 0xffffn;
/** Edge, INV, CMASK: instructions that KVM completes ignore them. */
const CONDITIONS = 0xff84_0000n;
const EN = 1n << 22n;
const EXACT: ReadonlySet<bigint> = new Set([0x00c0n, 0x00c4n]);

export const PMC0 = 0x0c1;
export const FIXED0 = 0x309;

/** The counter that a register or an RDPMC index names: `PMC0` + i or `FIXED0` + i. */
export function counterOf(step: FuzzCase['steps'][number]): number | undefined {
  if (!isAccess(step)) return undefined;
  const { register } = step;
  if (step.do === 'rdpmc') {
    if (register >>> 16 === 0) return PMC0 + register;
    return register >>> 16 === 0x4000 ? FIXED0 + (register & 0xffff) : undefined;
  }
  return counterAt(register);
}

/** The counter of an MSR. */
export function counterAt(address: number): number | undefined {
  const { class: kind, index } = placeOf(address);
  if (kind === 'PMC' || kind === 'A_PMC') return PMC0 + index;
  return kind === 'FIXED_CTR' ? FIXED0 + index : undefined;
}

/** What a guest made of its PMU, as far as its own writes tell. */
export class Controls {
  readonly #shape: Shape;
  readonly #selectors = new Map<number, bigint>();
  #fixed = 0n;
  #global: bigint;

  constructor(fuzzed: FuzzCase) {
    this.#shape = guestShape(fuzzed.profile, fuzzed.design, fuzzed.exposure);
    this.#global = this.#shape.gp;
    for (const [address, value] of fuzzed.registers) {
      // What the guest's PMU has no room for was refused.
      if (msrVerdict(this.#shape, address, BigInt(value)) === 'done') {
        this.write(address, BigInt(value));
      }
    }
  }

  /** A write that was taken. */
  write(address: number, value: bigint): void {
    const { class: kind, index } = placeOf(address);
    if (kind === 'PERFEVTSEL' && hasCounter(this.#shape.gp, index))
      this.#selectors.set(index, value);
    else if (kind === 'FIXED_CTR_CTRL') this.#fixed = value;
    else if (kind === 'GLOBAL_CTRL') this.#global = value;
  }

  reset(): void {
    this.#selectors.clear();
    this.#fixed = 0n;
    this.#global = this.#shape.gp;
  }

  /** Whether a counter may move at all, whatever the privilege level. */
  mayMove(counter: number): boolean {
    const isFixed = counter >= FIXED0;
    const index = isFixed ? counter - FIXED0 : counter - PMC0;
    const gate = 1n << BigInt(isFixed ? 32 + index : index);
    if (this.#shape.version >= 2 && (this.#global & gate) === 0n) return false;
    if (isFixed) return ((this.#fixed >> BigInt(4 * index)) & 3n) !== 0n;
    return ((this.#selectors.get(index) ?? 0n) & EN) !== 0n;
  }
}

/** Everything that a case may write: before its first step, by its steps, by the MSR lists of a guest hypervisor. */
export function writesOf({
  registers,
  steps,
  nested,
}: FuzzCase): [address: number, value: bigint][] {
  const lists = (nested?.lists ?? []).filter(({ list }) => list !== 'exit-store');
  return [
    ...registers.map(([address, value]): [number, bigint] => [address, BigInt(value)]),
    ...steps.flatMap((step): [number, bigint][] =>
      step.do === 'wrmsr' ? [[step.register, BigInt(step.value ?? '0x0')]] : [],
    ),
    ...lists.map(({ address, value }): [number, bigint] => [address, BigInt(value)]),
  ];
}

/** Counters that count something else than instructions and branches, plainly, at some time of a case. */
export function inexactCounters(fuzzed: FuzzCase): ReadonlySet<number> {
  const inexact = new Set([FIXED0 + 1, FIXED0 + 2, FIXED0 + 3]);
  const look = (address: number, value: bigint) => {
    const { class: kind, index } = placeOf(address);
    if (kind !== 'PERFEVTSEL' || (value & EN) === 0n) return;
    if (!EXACT.has(value & EVENT) || (value & CONDITIONS) !== 0n) inexact.add(PMC0 + index);
  };
  for (const [address, value] of writesOf(fuzzed)) look(address, value);
  return inexact;
}
