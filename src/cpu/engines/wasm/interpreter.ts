import { PAGE_SIZE } from '../../../memory/physical-memory.ts';
import { CR0, CR4, RFLAGS } from '../../control-registers.ts';
import { Fault } from '../../fault.ts';
import { INTERPRETER, STATE } from '../../state/layout.ts';
import type { Core } from '../../system/core.ts';
import type { Stale } from '../../system/translation-tags.ts';
import { VmExit } from '../../vm-exit.ts';
import { CodeLines } from '../code-lines.ts';
import type { Engine, EngineExit } from '../engine.ts';
import { Oracle } from '../oracle/oracle.ts';
import { type AddressSpace, AddressSpaces } from './address-spaces.ts';
import { BlockDecoder, type SystemInsn } from './block-decoder.ts';
import { CodeMap } from './code-map.ts';
import { BANK, DATA_TLB, DataTlb } from './data-tlb.ts';
import { HandlerSet } from './handler-set.ts';
import { HotBlocks } from './hot-blocks.ts';
import { type CodeContext, Contexts } from './mode.ts';
import { RECORD, STUB } from './record.ts';
import { buildRuntime, type Runtime } from './runtime.ts';
import { LEAVE } from './runtime-functions.ts';
import { InterpreterSlowPaths } from './slow-paths.ts';

const SLICE: EngineExit = { reason: 'slice' };
/**
 * Most ticks of one stay in generated code. V8 replaces a function by its optimised version only when it is entered
 * again, so code that loops in itself must come back now and then.
 */
const LONGEST_STAY = 500_000;
const PAGE_MASK = ~0xfffn;
const AC = Number(RFLAGS.AC);
const AM = Number(CR0.AM);
const SMAP = Number(CR4.SMAP);
/**
 * Branches to a block before it gets a handler of its own. Making one costs about as much as 100 000 instructions and
 * saves two thirds of the time of each execution (measured: 220 MIPS with a handler for each of twelve additions,
 * 1100 with one for all).
 */
const HOT = 2000;

/**
 * Tier 0: an interpreter generated as WebAssembly from the semantics. Exact per instruction; what it does not cover
 * (instructions across a page's end, code outside RAM, alignment checking, totals that are kept only while armed)
 * it has the oracle execute.
 */
export class Interpreter implements Engine {
  readonly #core: Core;
  readonly #oracle: Oracle;
  readonly #tlb: DataTlb;
  readonly #map: CodeMap;
  readonly #spaces: AddressSpaces;
  readonly #contexts: Contexts;
  readonly #slowPaths: InterpreterSlowPaths;
  readonly #runtime: Runtime;
  readonly #decoder: BlockDecoder;
  readonly #hotBlocks: HotBlocks;
  readonly #view: DataView;
  readonly #base: number;
  #context!: CodeContext;
  #ended = false;
  #space!: AddressSpace;
  /** Whether a system instruction is being executed on the way, and whether it has made translations stale. */
  #executing = false;
  #flushed = false;
  /** The VM exit that the last system instruction ended in. */
  #exit: EngineExit | undefined;
  /** Ticks at the start of the slice. */
  #start = 0n;

  /** `features` restricts decoding, as `decode` has it; `hot` is how often a block runs before it is made faster. */
  constructor(core: Core, features?: ReadonlySet<string>, hot = HOT) {
    const { state, ports } = core;
    const { linear } = ports.memory;
    const lines = CodeLines.of(ports.memory);
    this.#core = core;
    this.#base = state.base;
    this.#view = state.view;
    this.#oracle = new Oracle(core, features);
    this.#tlb = new DataTlb(linear, state.base);
    this.#map = new CodeMap(state, lines, this.#tlb);
    this.#spaces = new AddressSpaces(core, [this.#tlb, this.#map]);
    this.#contexts = new Contexts(state, () => this.#map.clear());
    this.#slowPaths = new InterpreterSlowPaths(core, this.#tlb, lines);
    const table = new WebAssembly.Table({ element: 'anyfunc', initial: STUB.COUNT });
    const runtime = buildRuntime(linear, table, state.base, this.#slowPaths);
    this.#runtime = runtime;
    this.#slowPaths.settle = () => runtime.settle();
    const handlers = new HandlerSet({ memory: linear, table, runtime, base: state.base });
    this.#decoder = new BlockDecoder(core, this.#map, handlers, features, hot);
    this.#slowPaths.execute = () => this.#execute();
    this.#hotBlocks = new HotBlocks(this.#map, handlers, state.view, features, hot);
  }

  run(fuel: number): EngineExit {
    if (this.#plainly) return this.#oracle.run(fuel);
    this.#ended = this.#executing = false;
    if (this.#decoder.stops.size > 0) this.#start = this.#core.state.total('ticks');
    this.#enterMode();
    for (let left = fuel; left > 0 && !this.#ended; ) {
      const stay = Math.min(left, LONGEST_STAY);
      this.#setFuel(stay);
      try {
        const exit = this.#stay();
        if (exit) return exit;
      } catch (thrown) {
        if (thrown instanceof Fault || thrown instanceof VmExit) {
          return { reason: 'fault', fault: thrown };
        }
        throw thrown;
      } finally {
        this.#slowPaths.settle();
      }
      left -= stay;
    }
    return SLICE;
  }

  stopBefore(addresses: ReadonlySet<bigint>): void {
    this.#decoder.stops = addresses;
    this.#oracle.stopBefore(addresses);
    this.#map.clear();
    this.endSlice();
  }

  flush(stale: Stale): void {
    this.#flushed = true;
    this.#spaces.flush(stale);
    this.#oracle.flush();
  }

  /** The address space is looked up before each stay in generated code. */
  retagged(): void {
    this.#oracle.retagged();
  }

  debugChanged(): void {
    this.endSlice();
  }

  /** Generated code reads the fuel again after every slow path; in between nobody can call this. */
  endSlice(): void {
    this.#ended = true;
    const left = this.#fuel;
    if (left <= 1) return;
    const start = this.#view.getUint32(this.#base + STATE.FUEL_START, true);
    this.#view.setUint32(this.#base + STATE.FUEL, 1, true);
    this.#view.setUint32(this.#base + STATE.FUEL_START, start - left + 1, true);
  }

  goesOn(): boolean {
    return this.#executing && this.#fuel > 1;
  }

  get #fuel(): number {
    return this.#view.getUint32(this.#base + STATE.FUEL, true);
  }

  #setFuel(ticks: number): void {
    // The upper halves stay 0: a stay is short.
    this.#view.setUint32(this.#base + STATE.FUEL, ticks, true);
    this.#view.setUint32(this.#base + STATE.FUEL_START, ticks, true);
  }

  /** Runs until the fuel is used up; returns why it stopped before. @throws Fault, VmExit */
  #stay(): EngineExit | undefined {
    const { state } = this.#core;
    while (this.#fuel > 0) {
      this.#map.makeRoom();
      const record = this.#known() || this.#find(state.rip);
      if (record === 0) {
        const exit = this.#stepPlainly();
        if (exit) return exit;
        continue;
      }
      const why = this.#runtime.enter(record);
      if (why === LEAVE.EXIT) return this.#exit;
      if (why === LEAVE.ELSEWHERE) {
        if (this.#plainly) return SLICE;
        this.#enterMode();
        continue;
      }
      this.#core.repeating = why === LEAVE.REPEATING;
      if (why === LEAVE.LINK) this.#link(this.#record);
      else if (why === LEAVE.HOT) this.#promote(state.rip);
      else if (why === LEAVE.SYSTEM) {
        const system = this.#decoder.system(this.#record);
        if (this.#stopsHere()) return SLICE;
        if (system) return { reason: 'system', insn: system.insn };
        const exit = this.#stepPlainly();
        if (exit) return exit;
      }
    }
    return undefined;
  }

  /** Has the system instruction of the record executed; 0 where generated code may go on behind it, else one of `LEAVE`. */
  #execute(): number {
    const system = this.#decoder.system(this.#record);
    if (!system?.execute) return LEAVE.SYSTEM;
    const { epoch } = this.#map;
    this.#runtime.settle();
    this.#executing = true;
    this.#flushed = false;
    const outcome = system.execute();
    this.#executing = false;
    if (typeof outcome === 'object') {
      this.#exit = { reason: 'fault', fault: outcome };
      return LEAVE.EXIT;
    }
    // What retires by now must not be settled once more.
    const fuel = this.#fuel - 1;
    this.#view.setUint32(this.#base + STATE.FUEL, fuel, true);
    if (outcome === 'retired') this.#view.setUint32(this.#base + STATE.FUEL_START, fuel, true);
    const goesOn = (system.keepsMode || this.#keptMode(system)) && epoch === this.#map.epoch;
    return goesOn ? 0 : LEAVE.ELSEWHERE;
  }

  /** Whether control goes on behind the system instruction, with the same code mapped there and handlers of the same mode. */
  #keptMode({ next }: SystemInsn): boolean {
    if (this.#flushed || this.#core.state.rip !== next || this.#plainly) return false;
    const context = this.#context;
    const space = this.#space;
    this.#enterMode();
    return this.#context === context && this.#space === space;
  }

  /** Whether RIP is one of `stopBefore` and the slice did not begin there. */
  #stopsHere(): boolean {
    const { stops } = this.#decoder;
    if (stops.size === 0 || !stops.has(this.#core.linearRip)) return false;
    this.#runtime.settle();
    return this.#core.state.total('ticks') !== this.#start;
  }

  /** The oracle executes one tick. */
  #stepPlainly(): EngineExit | undefined {
    this.#runtime.settle();
    const exit = this.#oracle.step();
    if (!exit) this.#setFuel(this.#fuel - 1);
    return exit;
  }

  get #record(): number {
    return this.#view.getUint32(this.#base + INTERPRETER.RECORD, true);
  }

  /** The record at RIP if the code TLB has its page, which in 64-bit mode is where it is looked up; else 0. */
  #known(): number {
    if (this.#context.mode.codeSize !== 8) return 0;
    const low = this.#view.getInt32(this.#base + STATE.RIP, true);
    const high = this.#view.getInt32(this.#base + STATE.RIP + 4, true);
    return this.#map.lookup(low, high, this.#context.number);
  }

  /** The record of the instruction at `rip`; 0 if it is not in RAM. @throws Fault of fetching, VmExit */
  #find(rip: bigint): number {
    const slots = this.#slots(rip);
    if (slots === undefined) return 0;
    const { page, offset } = slots;
    return this.#map.record(page.slots, offset) || this.#decoder.decode(page, offset, rip);
  }

  #slots(rip: bigint) {
    const core = this.#core;
    const { memory } = core.ports;
    const linear = core.linear('CS', rip, 1, 'execute');
    const { physical, shift } = core.paging.translate(linear, 'execute', core.privilege);
    const offset = Number(linear & 0xfffn);
    const start = physical - offset;
    if (!memory.isRam(start, PAGE_SIZE)) return undefined;
    const address = linear & PAGE_MASK;
    const slots = this.#map.slots(start / PAGE_SIZE, address, this.#context.number);
    this.#map.map(address, this.#context.number, slots, shift);
    const page = {
      slots,
      address,
      host: memory.offset(start),
      physical: start,
      context: this.#context,
    };
    return { page, offset };
  }

  /** Patches the edge of a stub, so that the branch goes straight to its target from now on. */
  #link(stub: number): void {
    const view = this.#view;
    const epoch = this.#map.epoch;
    this.#map.makeRoom();
    if (epoch !== this.#map.epoch) return;
    const rip = this.#core.state.rip;
    const found = this.#slots(rip);
    if (!found || found.page.slots !== view.getUint32(stub + RECORD.STUB_SLOTS, true)) return;
    const record = this.#find(rip);
    const edge = view.getUint32(stub + RECORD.EDGE, true);
    if (edge === 0) {
      view.setUint32(stub + RECORD.EDGE, record, true);
      view.setUint32(stub + RECORD.HANDLER, STUB.GOTO, true);
    } else view.setUint32(edge, record, true);
  }

  /** Gives a handler of its own to the block at `rip`, and to those of its page that are nearly as hot. */
  #promote(rip: bigint): void {
    if (this.#find(rip) === 0) return;
    const slots = this.#slots(rip);
    if (slots) this.#hotBlocks.promote(slots.page);
  }

  #enterMode(): void {
    const { state } = this.#core;
    this.#contexts.armed = this.#core.armed;
    const observed = this.#core.observer?.generated;
    this.#contexts.observed = observed;
    this.#view.setUint32(this.#base + INTERPRETER.OBSERVED, observed ? 1 : 0, true);
    this.#context = this.#contexts.current();
    const lifted =
      (state.get32(STATE.CR4) & SMAP) !== 0 && (state.get32(STATE.RFLAGS_SYSTEM) & AC) !== 0;
    const bank = state.cpl === 3 ? BANK.USER : lifted ? BANK.SUPERVISOR_AC : BANK.SUPERVISOR;
    this.#slowPaths.bank = bank;
    const space = this.#spaces.current();
    this.#space = space;
    this.#tlb.use(space);
    this.#map.use(space);
    const banks = space.set * BANK.COUNT + bank;
    state.set32(STATE.TLB_BASE, this.#base + INTERPRETER.DATA_TLB + banks * DATA_TLB.BANK_SIZE);
    this.#view.setUint32(this.#base + INTERPRETER.CONTEXT, this.#context.number, true);
  }

  /** Whether the oracle must execute, because of alignment checking or an observer that generated code cannot report to. */
  get #plainly(): boolean {
    const { observer } = this.#core;
    const deaf = observer !== undefined && observer.generated === undefined;
    return deaf || this.#alignmentChecked();
  }

  #alignmentChecked(): boolean {
    const { state } = this.#core;
    return (
      state.cpl === 3 &&
      (state.get32(STATE.RFLAGS_SYSTEM) & AC) !== 0 &&
      (state.get32(STATE.CR0) & AM) !== 0
    );
  }
}
