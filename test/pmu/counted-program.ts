import { expect } from 'vitest';
import { bytes, type CountingProcessor } from './counting-processor.ts';

/** What a piece of code counts as, by hand; what is not told is 0. */
export interface Counts {
  readonly inst: number;
  readonly br?: number;
  readonly cond?: number;
  readonly taken?: number;
  readonly call?: number;
  readonly ret?: number;
  readonly near?: number;
  readonly ind?: number;
  readonly far?: number;
  readonly ld?: number;
  readonly st?: number;
  readonly lock?: number;
  readonly splitLd?: number;
  readonly splitSt?: number;
  readonly nop?: number;
  readonly rep?: number;
  readonly pause?: number;
  readonly prefetch?: number;
  readonly lfence?: number;
  readonly x87?: number;
  readonly ss?: number;
  readonly sd?: number;
  readonly ps?: number;
  readonly pd?: number;
  /** Interrupts taken; of the above at CPL 3; changes to CPL 0. */
  readonly hw?: number;
  readonly usr?: number;
  readonly usrBr?: number;
  readonly ring0?: number;
}

/** A loop's body with its listing, and what one round of it counts as. */
export type Program = readonly [name: string, code: string, counts: Counts];

const EVERYWHERE = 0x43_0000;
const USER = 0x41_0000;

/** IA32_PERFEVTSELx by Sapphire Rapids' encodings. */
// biome-ignore format: a table
const SELECT: Readonly<Record<keyof Counts, number>> = {
  inst: EVERYWHERE | 0x00c0,  br: EVERYWHERE | 0x00c4,      cond: EVERYWHERE | 0x11c4,    taken: EVERYWHERE | 0x01c4,
  call: EVERYWHERE | 0x02c4,  ret: EVERYWHERE | 0x08c4,     near: EVERYWHERE | 0x20c4,    ind: EVERYWHERE | 0x80c4,
  far: EVERYWHERE | 0x40c4,   ld: EVERYWHERE | 0x81d0,      st: EVERYWHERE | 0x82d0,      lock: EVERYWHERE | 0x21d0,
  nop: EVERYWHERE | 0x02c0,   splitLd: EVERYWHERE | 0x41d0, splitSt: EVERYWHERE | 0x42d0, rep: EVERYWHERE | 0x08c0,
  pause: EVERYWHERE | 0x40ec, prefetch: EVERYWHERE | 0x0f40, lfence: EVERYWHERE | 0x20e0, x87: EVERYWHERE | 0x10b1,
  sd: EVERYWHERE | 0x01c7,    ss: EVERYWHERE | 0x02c7,      pd: EVERYWHERE | 0x04c7,      ps: EVERYWHERE | 0x08c7,
  hw: EVERYWHERE | 0x01cb,    usr: USER | 0x00c0,           usrBr: USER | 0x00c4,
  // CPL_CYCLES.RING0 with CMASK 1 and EDGE.
  ring0: EVERYWHERE | 0x0104_015c,
};

/** As many events at a time as there are counters. */
export const EVENT_SETS: readonly (readonly (keyof Counts)[])[] = [
  ['inst', 'br', 'cond', 'taken', 'call', 'ret', 'near', 'ind'],
  ['far', 'ld', 'st', 'lock', 'splitLd', 'splitSt', 'nop', 'rep'],
  ['pause', 'prefetch', 'lfence', 'x87', 'ss', 'sd', 'ps', 'pd'],
  ['inst', 'hw', 'usr', 'usrBr', 'ring0'],
];

/** The loop `MOV R15D, times; body; DEC R15D; JNZ; HLT`. */
export function looped(body: string, times: number): number[] {
  const inner = bytes(body);
  const back = -(inner.length + 3 + 6);
  const word = (n: number) => [0, 8, 16, 24].map((shift) => (n >> shift) & 0xff);
  return [0x41, 0xbf, ...word(times), ...inner, 0x41, 0xff, 0xcf, 0x0f, 0x85, ...word(back), 0xf4];
}

/** What the whole loop counts as of one event. */
function whole(body: Counts, times: number, kind: keyof Counts): number {
  const loop: Counts = { inst: 2, br: 1, cond: 1, taken: 1, near: 1 };
  const sum = times * ((body[kind] ?? 0) + (loop[kind] ?? 0));
  // MOV before and HLT after; the last JNZ is not taken.
  if (kind === 'inst') return sum + 2;
  return kind === 'taken' || kind === 'near' ? sum - 1 : sum;
}

/** Runs so many rounds of the program, once for each set of events, and holds every count against the one by hand. */
export function countByHand(
  cpu: CountingProcessor,
  [, code, counts]: Program,
  times: number,
): void {
  for (const kinds of EVENT_SETS) {
    cpu.restart().load(looped(code, times));
    kinds.forEach((kind, i) => {
      cpu.write(0x186 + i, BigInt(SELECT[kind]));
    });
    cpu.runToHalt(100_000);
    expect(cpu.processor.pmu.unsupportedEvents()).toEqual([]);
    const counted = cpu.counts(kinds.length);
    expect(Object.fromEntries(kinds.map((kind, i) => [kind, counted[i]]))).toEqual(
      Object.fromEntries(kinds.map((kind) => [kind, whole(counts, times, kind)])),
    );
  }
}
