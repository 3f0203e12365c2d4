import type { Engine, EngineExit } from '../../../src/cpu/engines/engine.ts';
import { Oracle } from '../../../src/cpu/engines/oracle/oracle.ts';
import { Interpreter } from '../../../src/cpu/engines/wasm/interpreter.ts';
import { readStatusFlags } from '../../../src/cpu/flags.ts';
import { MicroArchitecture } from '../../../src/cpu/models/micro-architecture.ts';
import { GOLDEN_COVE } from '../../../src/cpu/models/parameters.ts';
import { surroundings } from '../../../src/cpu/models/surroundings.ts';
import type { CpuPorts } from '../../../src/cpu/ports.ts';
import { INTERPRETER, SEGMENTS, STATE, TOTALS } from '../../../src/cpu/state/layout.ts';
import { State } from '../../../src/cpu/state/state.ts';
import { Core, type EngineReach } from '../../../src/cpu/system/core.ts';
import { PhysicalMemory } from '../../../src/memory/physical-memory.ts';

export type Random = () => number;

/** Totals that every engine always keeps are the first group of `TOTALS`; the others move while armed. */
const DYNAMIC = TOTALS.indexOf('loads');

/** Caches so small that random programs miss. */
const TINY = {
  ...GOLDEN_COVE,
  caches: {
    l1d: { bytes: 512, ways: 2 },
    l1i: { bytes: 256, ways: 2 },
    l2: { bytes: 1024, ways: 2 },
    llc: { bytes: 2048, ways: 2 },
  },
  tlbs: {
    dtlb: { entries: 4, ways: 2 },
    itlb: { entries: 2, ways: 1 },
    stlb: { entries: 8, ways: 2 },
  },
};

/** So low that random programs are promoted. */
const HOT = 2;

export const RAM_SIZE = 0x40000;
/** Page tables: PML4 (or PDPT), PDPT, directory, table; everything linear maps one to one below RAM_SIZE. */
const TABLES = 0x3c000;
export const CODE = 0x10000;
export const DATA = 0x20000;
export const STACK = 0x30000;

/** Pages of the data area that are not as the others: read-only, missing, clean. */
const PAGE_BITS: Readonly<Record<number, number>> = { 36: 0x21, 37: 0, 38: 0x03, 39: 0x07 };

export interface Start {
  readonly codeSize: 2 | 4 | 8;
  readonly paging: boolean;
  readonly user: boolean;
  /** Outside 64-bit mode: bases and limits of segments that are not flat. */
  readonly segments?: Readonly<Record<string, { base: number; limit: number; rights?: number }>>;
  readonly stackSize?: 2 | 4;
  /** The dynamic totals are armed. */
  readonly armed?: boolean;
  /** The micro-architecture model listens. */
  readonly observed?: boolean;
}

/** One CPU with an engine of its own, in a chosen mode. */
export class Twin {
  readonly memory: PhysicalMemory;
  readonly state: State;
  readonly core: Core;
  readonly engine!: Engine;
  readonly #start: Start;

  /** @param beside another CPU on the same memory */
  constructor(makeEngine: (core: Core) => Engine, start: Start, beside?: Twin) {
    this.memory =
      beside?.memory ?? new PhysicalMemory({ ramSize: RAM_SIZE, reserved: 2 * INTERPRETER.SIZE });
    this.state = new State(this.memory.linear, beside ? INTERPRETER.SIZE : 0);
    let engine: Engine | undefined;
    const reach: EngineReach = {
      flush: (stale) => engine?.flush(stale),
      retagged: () => engine?.retagged(),
      debugChanged: () => engine?.debugChanged(),
      endSlice: () => engine?.endSlice(),
    };
    const ports = { memory: this.memory } as unknown as CpuPorts;
    const features = { physicalWidth: 46, cr4: 0n, xcr0: 7n, xss: 0n };
    this.#start = start;
    this.reset();
    const core = new Core(this.state, ports, features, reach);
    this.core = core;
    core.armed = start.armed ?? false;
    if (start.observed) core.observer = new MicroArchitecture(TINY, surroundings(core));
    this.engine = engine = makeEngine(core);
  }

  /** Zeroes memory and state, and enters the chosen mode. */
  reset(): void {
    const { codeSize, paging, user, segments = {}, stackSize } = this.#start;
    const { state } = this;
    this.memory.load(0, new Uint8Array(RAM_SIZE));
    new Uint8Array(state.view.buffer, state.base, STATE.SIZE).fill(0);
    const long = codeSize === 8;
    state.set(STATE.CR0, paging || long ? 0x8001_0011n : 0x11n);
    state.set(STATE.CR4, 0x620n); // PAE, OSFXSR, OSXMMEXCPT
    state.set32(STATE.MXCSR, 0x1f80);
    state.set32(STATE.FCW, 0x37f);
    state.set(STATE.EFER, long ? 0x500n : 0n);
    state.set(STATE.RFLAGS_SYSTEM, 2n);
    state.set32(STATE.CPL, user ? 3 : 0);
    const code = { 2: 0x009b, 4: 0xc09b, 8: 0xa09b }[codeSize] | (user ? 0x60 : 0);
    const stack = stackSize ?? codeSize;
    for (const name of SEGMENTS.slice(0, 6)) {
      const rights = name === 'CS' ? code : name === 'SS' && stack === 2 ? 0x0093 : 0xc093;
      const own = segments[name];
      state.setSegment(name, {
        selector: 8,
        base: BigInt(own?.base ?? 0),
        limit: own?.limit ?? (codeSize === 2 ? 0xffff : 0xffff_ffff),
        rights: own?.rights ?? rights | (user ? 0x60 : 0),
      });
    }
    this.#pageTables(long);
    this.engine?.flush({});
  }

  #pageTables(long: boolean): void {
    const { state, memory } = this;
    const table = TABLES + 0x3000;
    memory.write(TABLES, 8, BigInt((TABLES + 0x1000) | 7));
    memory.write(TABLES + 0x1000, 8, BigInt((TABLES + 0x2000) | (long ? 7 : 1)));
    memory.write(TABLES + 0x2000, 8, BigInt(table | 7));
    for (let page = 0; page < RAM_SIZE >> 12; page++) {
      const bits = PAGE_BITS[page] ?? 0x67;
      memory.write(table + 8 * page, 8, BigInt(bits === 0 ? 0 : (page << 12) | bits));
    }
    state.set(STATE.CR3, BigInt(long ? TABLES : TABLES + 0x1000));
    state.set(STATE.PDPTE, BigInt((TABLES + 0x2000) | 1));
  }

  /** Everything that software could tell, as text. */
  snapshot(): string {
    const { state } = this;
    const hex = (values: Iterable<bigint>) => [...values].map((v) => v.toString(16)).join(' ');
    const xmm = Array.from({ length: 32 }, (_, i) =>
      state.get(STATE.XMM + 32 * (i >> 1) + 8 * (i & 1)),
    );
    const x87 = Array.from({ length: 16 }, (_, i) => state.get(STATE.ST + 8 * i));
    return [
      `rip ${state.rip.toString(16)} flags ${readStatusFlags(state).toString(16)} ${state.get(STATE.RFLAGS_SYSTEM).toString(16)}`,
      `gpr ${hex(state.gpr)}`,
      `totals ${hex(state.totals.subarray(0, this.#start.armed ? TOTALS.length : DYNAMIC))}`,
      `xmm ${hex(xmm)}`,
      `x87 ${hex(x87)} ${state.get(STATE.MXCSR).toString(16)} ${state.get(STATE.FTW).toString(16)}`,
    ].join('\n');
  }
}

/** Why an engine came back, as text. */
function reason(exit: EngineExit): string {
  if (exit.reason === 'slice') return 'slice';
  if (exit.reason === 'system') return `system ${exit.insn.op}`;
  return `fault ${JSON.stringify(exit.fault, (_, v) => (typeof v === 'bigint' ? v.toString(16) : v))}`;
}

export interface Difference {
  readonly before: string;
  readonly oracle: string;
  readonly interpreter: string;
}

/** The oracle and the interpreter, to run the same programs. */
export class Twins {
  readonly oracle: Twin;
  readonly interpreter: Twin;
  /** Ticks that both have run. */
  ticks = 0;

  constructor(start: Start) {
    this.oracle = new Twin((core) => new Oracle(core), start);
    this.interpreter = new Twin((core) => new Interpreter(core, undefined, HOT), start);
  }

  /**
   * Runs what `prepare` has put into both, stopping them at random horizons, for `ticks`; says where they differ first.
   * `resume` gives the RIP to go on at after a fault or system instruction at a RIP, undefined to end.
   */
  compare(
    prepare: (twin: Twin) => void,
    random: Random,
    ticks: number,
    resume: (rip: bigint) => bigint | undefined,
  ): Difference | undefined {
    const { oracle, interpreter } = this;
    for (const twin of [oracle, interpreter]) {
      twin.reset();
      prepare(twin);
    }
    for (let passed = 0; passed < ticks; ) {
      const fuel = 1 + Math.floor(random() ** 3 * 60);
      const before = oracle.snapshot();
      const exits = [oracle, interpreter].map(({ engine }) => reason(engine.run(fuel)));
      const [expected, got] = [oracle, interpreter].map((twin, i) => {
        const within = exits[i] === 'slice' && twin.core.repeating ? ', repeating' : '';
        return `${exits[i]}${within}\n${twin.snapshot()}`;
      }) as [string, string];
      if (expected !== got) {
        return { before: `fuel ${fuel}\n${before}`, oracle: expected, interpreter: got };
      }
      passed += fuel;
      if (exits[0] === 'slice') continue;
      const rip = resume(oracle.state.rip);
      if (rip === undefined) break;
      oracle.state.rip = interpreter.state.rip = rip;
    }
    this.ticks += Number(oracle.state.total('ticks'));
    const at = firstDifference(oracle.memory, interpreter.memory);
    if (at < 0) return undefined;
    return { before: '', oracle: '', interpreter: `memory differs at ${at.toString(16)}` };
  }
}

function firstDifference(a: PhysicalMemory, b: PhysicalMemory): number {
  const left = a.slice(0, RAM_SIZE);
  const right = b.slice(0, RAM_SIZE);
  if (Buffer.compare(left, right) === 0) return -1;
  return left.findIndex((byte, i) => byte !== right[i]);
}
