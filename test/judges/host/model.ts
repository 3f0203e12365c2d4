import type { Engine, EngineExit, EngineFactory } from '../../../src/cpu/engines/engine.ts';
import { Oracle } from '../../../src/cpu/engines/oracle/oracle.ts';
import { Fault, VECTORS } from '../../../src/cpu/fault.ts';
import { readStatusFlags, writeStatusFlags } from '../../../src/cpu/flags.ts';
import type { Insn, Mnemonic } from '../../../src/cpu/insn.ts';
import type { CpuPorts } from '../../../src/cpu/ports.ts';
import { INTERPRETER, STATE } from '../../../src/cpu/state/layout.ts';
import { State } from '../../../src/cpu/state/state.ts';
import { Core, type SystemFunction } from '../../../src/cpu/system/core.ts';
import { X87_INSTRUCTIONS } from '../../../src/cpu/x87/instructions.ts';
import { PhysicalMemory } from '../../../src/memory/physical-memory.ts';
import { type Case, CODE, DATA, type Outcome, PAGE, TEMPLATE } from './case.ts';

/** Physical pages: tables from 0 on, then code and data. */
const TABLES = { pml4: 0x1000, pdpt: 0x2000, pd: 0x3000, code: 0x4000, data: 0x5000 };
const CODE_PAGE = 0x8000;
const DATA_PAGES = 0x9000;

/** In place of a vector: the case came to an instruction that is the system's. */
export const NOT_OURS = 256;

const PRESENT_USER = 5n;
const WRITABLE = 2n;
const NO_EXECUTE = 1n << 63n;
const TF = 0x100n;
const STATUS = 0x8d5n;

/** Segments by code size, as Linux has them; those of 16-bit cases are the harness's. */
// biome-ignore format: a table
const SEGMENTS = {
  2: {
    code: { selector: 0x07, base: BigInt(CODE), limit: 0xffff, rights: 0x00fb },
    data: { selector: 0x0f, base: BigInt(DATA), limit: 3 * PAGE - 1, rights: 0x00f3 },
  },
  4: {
    code: { selector: 0x23, base: 0n, limit: 0xffff_ffff, rights: 0xc0fb },
    data: { selector: 0x2b, base: 0n, limit: 0xffff_ffff, rights: 0xc0f3 },
  },
  8: {
    code: { selector: 0x33, base: 0n, limit: 0xffff_ffff, rights: 0xa0fb },
    data: { selector: 0x2b, base: 0n, limit: 0xffff_ffff, rights: 0xc0f3 },
  },
} as const;
const UNUSABLE = 0x1_0000;

const X87: Readonly<Partial<Record<Mnemonic, SystemFunction>>> = X87_INSTRUCTIONS;

/** Our own machine in the same situation: CPL 3 under Linux, with the same pages. */
export class Model {
  readonly #memory = new PhysicalMemory({ ramSize: 1 << 16, reserved: INTERPRETER.SIZE });
  readonly state = new State(this.#memory.linear, 0);
  readonly #core: Core;
  readonly #engine: Engine;

  constructor(makeEngine: EngineFactory = (core) => new Oracle(core)) {
    let engine: Engine | undefined;
    const ports = { memory: this.#memory } as unknown as CpuPorts;
    const features = { physicalWidth: 46, cr4: 0n, xcr0: 7n, xss: 0n };
    this.#core = new Core(this.state, ports, features, {
      flush: (stale) => engine?.flush(stale),
      retagged: () => engine?.retagged(),
      debugChanged: () => engine?.debugChanged(),
      endSlice: () => engine?.endSlice(),
    });
    this.#engine = engine = makeEngine(this.#core);
    this.#map();
    this.state.set(STATE.CR0, 0x8005_0033n); // PG AM WP NE ET MP PE
    this.state.set(STATE.CR3, BigInt(TABLES.pml4));
    this.state.set(STATE.CR4, 0x620n); // OSXMMEXCPT OSFXSR PAE
    this.state.set(STATE.EFER, 0xd01n); // NXE LMA LME SCE
    this.state.set32(STATE.CPL, 3);
    for (const name of ['FS', 'GS'] as const) {
      this.state.setSegment(name, { selector: 0, base: 0n, limit: 0, rights: UNUSABLE });
    }
    this.#memory.load(DATA_PAGES, TEMPLATE);
  }

  #map(): void {
    const link = (table: number, index: number, entry: bigint) =>
      this.#memory.write(table + index * 8, 8, entry);
    link(TABLES.pml4, 0, BigInt(TABLES.pdpt) | PRESENT_USER | WRITABLE);
    link(TABLES.pdpt, 0, BigInt(TABLES.pd) | PRESENT_USER | WRITABLE);
    link(TABLES.pd, CODE >>> 21, BigInt(TABLES.code) | PRESENT_USER | WRITABLE);
    link(TABLES.pd, DATA >>> 21, BigInt(TABLES.data) | PRESENT_USER | WRITABLE);
    link(TABLES.code, 0, BigInt(CODE_PAGE) | PRESENT_USER);
    for (let i = 0; i < 3; i++) {
      const rights = PRESENT_USER | NO_EXECUTE | (i > 0 ? WRITABLE : 0n);
      link(TABLES.data, i, BigInt(DATA_PAGES + i * PAGE) | rights);
    }
  }

  /** Executes a case made of `insns`; it is not ours to judge what bytes mean that a jump into their middle finds. */
  run(it: Case, insns: readonly Insn[] = []): Outcome {
    const { state } = this;
    const code = new Uint8Array(PAGE).fill(0xcc);
    code.set(it.code, it.codeAt);
    this.#memory.load(CODE_PAGE, code);
    this.#memory.load(DATA_PAGES + it.patchAt, it.patch);
    for (let i = 0; i < 16; i++) state.gpr[i] = it.gpr[i]!;
    const first = BigInt(it.codeSize === 2 ? it.codeAt : CODE + it.codeAt);
    state.rip = first;
    state.set(STATE.RFLAGS_SYSTEM, (it.rflags & ~STATUS) | TF);
    writeStatusFlags(state, it.rflags);
    const { code: cs, data } = SEGMENTS[it.codeSize];
    state.setSegment('CS', cs);
    for (const name of ['SS', 'DS', 'ES'] as const) state.setSegment(name, data);
    if (it.fx) loadFx(state, it.fx);

    let stop = { vector: 1, error: 0, cr2: 0n };
    const inside = insideOf(insns);
    for (let i = 0; i < it.steps && stop.vector === 1; i++) {
      if (inside.has(Number(state.rip - first))) {
        stop.vector = NOT_OURS;
        break;
      }
      const exit = this.#x87(this.#engine.run(1));
      if (exit?.reason === 'system') {
        stop.vector = exit.insn.op === 'INT3' ? VECTORS['#BP'] : NOT_OURS;
      } else if (exit?.reason === 'fault' && exit.fault instanceof Fault) {
        const { exception, code = 0, address } = exit.fault;
        stop = { vector: VECTORS[exception], error: code, cr2: exception === '#PF' ? address : 0n };
      }
    }
    return {
      ...stop,
      gpr: [...state.gpr],
      rip: state.rip,
      rflags: state.get(STATE.RFLAGS_SYSTEM) | readStatusFlags(state),
      ...this.#changes(it),
      ...(it.fx && { fx: saveFx(state, it.fx) }),
    };
  }

  /** The x87 is plain TypeScript: what the engine leaves to us of it. */
  #x87(exit: EngineExit | undefined): EngineExit | undefined {
    if (exit?.reason !== 'system') return exit;
    const execute = X87[exit.insn.op];
    if (!execute) return exit;
    try {
      execute(this.#core, exit.insn);
    } catch (fault) {
      if (fault instanceof Fault) return { reason: 'fault', fault };
      throw fault;
    }
    this.state.rip = this.#core.ripAfter(exit.insn);
    return undefined;
  }

  /** What differs from the memory that the case began with; puts the pattern back. */
  #changes(it: Case): Pick<Outcome, 'changedAt' | 'changedLength' | 'changed'> {
    const before = TEMPLATE.slice();
    before.set(it.patch, it.patchAt);
    const now = this.#memory.slice(DATA_PAGES, 3 * PAGE);
    let low = PAGE;
    let high = 3 * PAGE;
    if (Buffer.compare(before, now) === 0) low = high;
    else {
      const was = new BigUint64Array(before.buffer);
      const is = new BigUint64Array(now.buffer);
      while (was[low / 8] === is[low / 8]) low += 8;
      while (was[high / 8 - 1] === is[high / 8 - 1]) high -= 8;
      this.#memory.load(DATA_PAGES + PAGE, TEMPLATE.subarray(PAGE));
    }
    this.#memory.load(
      DATA_PAGES + it.patchAt,
      TEMPLATE.subarray(it.patchAt, it.patchAt + it.patch.length),
    );
    return {
      changedAt: low,
      changedLength: high - low,
      changed: now.slice(low, Math.min(high, low + 256)),
    };
  }
}

/** Offsets in the code that are no first byte of an instruction. */
function insideOf(insns: readonly Insn[]): ReadonlySet<number> {
  const inside = new Set<number>();
  let at = 0;
  for (const { length } of insns) {
    for (let i = 1; i < length; i++) inside.add(at + i);
    at += length;
  }
  return inside;
}

/** Registers of an FXSAVE image: FCW FSW FTW(abridged) FOP FIP FDP MXCSR, ST from the top, XMM. */
function loadFx(state: State, fx: Uint8Array): void {
  const view = new DataView(fx.buffer, fx.byteOffset);
  const { view: block, base } = state;
  const fsw = view.getUint16(2, true);
  block.setUint16(base + STATE.FCW, view.getUint16(0, true), true);
  block.setUint16(base + STATE.FSW, fsw, true);
  block.setUint16(base + STATE.FTW, fx[4]!, true);
  for (const pointer of [STATE.FIP, STATE.FDP] as const) state.set(pointer, 0n);
  for (const word of [STATE.FOP, STATE.FCS, STATE.FDS] as const)
    block.setUint16(base + word, 0, true);
  state.set32(STATE.MXCSR, view.getUint32(24, true));
  const top = (fsw >> 11) & 7;
  for (let i = 0; i < 8; i++) {
    const at = base + STATE.ST + ((top + i) & 7) * 16;
    for (let k = 0; k < 10; k++) block.setUint8(at + k, fx[32 + i * 16 + k]!);
    for (let k = 0; k < 16; k++)
      block.setUint8(base + STATE.XMM + i * 32 + k, fx[160 + i * 16 + k]!);
  }
  for (let i = 8; i < 16; i++) {
    for (let k = 0; k < 16; k++)
      block.setUint8(base + STATE.XMM + i * 32 + k, fx[160 + i * 16 + k]!);
  }
}

function saveFx(state: State, image: Uint8Array): Uint8Array {
  const fx = image.slice();
  const view = new DataView(fx.buffer);
  const { view: block, base } = state;
  const fsw = block.getUint16(base + STATE.FSW, true);
  view.setUint16(0, block.getUint16(base + STATE.FCW, true), true);
  view.setUint16(2, fsw, true);
  fx[4] = block.getUint8(base + STATE.FTW);
  view.setUint32(24, state.get32(STATE.MXCSR), true);
  const top = (fsw >> 11) & 7;
  for (let i = 0; i < 8; i++) {
    const at = base + STATE.ST + ((top + i) & 7) * 16;
    for (let k = 0; k < 10; k++) fx[32 + i * 16 + k] = block.getUint8(at + k);
  }
  for (let i = 0; i < 16; i++) {
    for (let k = 0; k < 16; k++)
      fx[160 + i * 16 + k] = block.getUint8(base + STATE.XMM + i * 32 + k);
  }
  return fx;
}
