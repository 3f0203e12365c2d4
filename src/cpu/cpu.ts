import { ACTIVITY, BLOCKING, DR6, DR7, RFLAGS } from './control-registers.ts';
import type { Engine, EngineFactory } from './engines/engine.ts';
import { EVENT_TYPE, type Event } from './event.ts';
import { Fault, VECTORS } from './fault.ts';
import type { Insn } from './insn.ts';
import { MODELLED } from './models/micro-architecture.ts';
import type { Observer } from './observer.ts';
import type { CpuPorts } from './ports.ts';
import { retirement } from './retirement.ts';
import { ALWAYS_KEPT, STATE, type Total } from './state/layout.ts';
import type { State } from './state/state.ts';
import { Core, type Features, type SystemFunction } from './system/core.ts';
import { deliver } from './system/delivery.ts';
import { combine, exceptionEvent, isFaultClass, TripleFault } from './system/exceptions.ts';
import { SYSTEM_INSTRUCTIONS } from './system/instructions.ts';
import { resetState } from './system/reset.ts';
import { VmExit } from './vm-exit.ts';

/** Why `Cpu.run` came back. */
export type StopReason =
  /** The ticks are used up. */
  | { readonly reason: 'budget' }
  /** `stop` was called. */
  | { readonly reason: 'stopped' }
  /** Halted, and nothing armed here can wake it: it takes an NMI, INIT or an interrupt from elsewhere. */
  | { readonly reason: 'halted' }
  /** Waits for INIT or SIPI. */
  | { readonly reason: 'waiting' }
  /** A VM exit to root-mode software that is no guest code. */
  | { readonly reason: 'vm-exit' }
  /** A triple fault: the exceptions that led to it, oldest first. */
  | { readonly reason: 'shutdown'; readonly faults: readonly FaultRecord[] };

/** One exception of a chain that could not be delivered. */
export interface FaultRecord {
  readonly vector: number;
  readonly code: number | undefined;
  readonly rip: bigint;
  readonly cr2: bigint;
}

/** What `Cpu.save` gives. */
export interface SavedCpu {
  /** The state block, in hex. */
  readonly block: string;
  readonly faults: readonly FaultRecord[];
  readonly halted: boolean;
  readonly monitoring: boolean;
  readonly waiting: boolean;
}

type Watch = (cpl: number) => void;

/** One logical processor: the run loop, event delivery, and the order of events between instructions. */
export class Cpu {
  readonly state: State;
  readonly ports: CpuPorts;
  readonly core: Core;
  readonly engine: Engine;
  readonly #instructions: Readonly<Record<string, SystemFunction | undefined>>;
  readonly #watches = new Map<bigint, Watch[]>();
  #faults: readonly FaultRecord[] = [];
  #stopping = false;
  #sliceEnded = false;
  #halted = false;
  /** The system instruction under way, until it is in the totals. */
  #unretired: Insn | undefined;
  /** Its linear address. */
  #linear = 0n;

  constructor(options: {
    state: State;
    ports: CpuPorts;
    features: Features;
    engine: EngineFactory;
  }) {
    const { state, ports, features, engine } = options;
    this.state = state;
    this.ports = ports;
    this.#instructions = { ...SYSTEM_INSTRUCTIONS, ...ports.vmx?.instructions };
    this.core = new Core(state, ports, features, {
      flush: (stale) => {
        this.engine.flush(stale);
        this.core.observer?.flushed?.(stale);
      },
      retagged: () => {
        this.engine.retagged();
        this.core.observer?.flushed?.({});
      },
      debugChanged: () => {
        this.core.breakpoints.refresh();
        this.engine.flush({});
        this.engine.debugChanged();
        this.attention();
      },
      endSlice: () => this.attention(),
    });
    this.core.retire = () => {
      if (this.#unretired) this.#retire(this.#unretired, false);
    };
    this.engine = engine(this.core);
    resetState(state);
  }

  /** RESET, or INIT, which keeps more. Vol. 3, "Processor State After Reset". */
  reset(kind: 'reset' | 'init' = 'reset'): void {
    resetState(this.state, kind);
    this.#faults = [];
    this.#halted = false;
    this.core.monitoring = this.core.waiting = false;
    this.engine.flush({});
    this.core.breakpoints.refresh();
  }

  /** Everything of the CPU between two instructions; watches and what is armed belong to others. */
  save(): SavedCpu {
    const { view, base } = this.state;
    const block = new Uint8Array(view.buffer, base, STATE.SIZE);
    return {
      block: Array.from(block, (byte) => byte.toString(16).padStart(2, '0')).join(''),
      faults: this.#faults,
      halted: this.#halted,
      monitoring: this.core.monitoring,
      waiting: this.core.waiting,
    };
  }

  restore(saved: SavedCpu): void {
    const { view, base } = this.state;
    const block = new Uint8Array(view.buffer, base, STATE.SIZE);
    for (let i = 0; i < STATE.SIZE; i++)
      block[i] = Number.parseInt(saved.block.slice(i * 2, i * 2 + 2), 16);
    this.#faults = saved.faults;
    this.#halted = saved.halted;
    this.core.monitoring = saved.monitoring;
    this.core.waiting = saved.waiting;
    this.core.engine.debugChanged();
  }

  /** Something became pending or a deadline moved: events are looked at before the next instruction. */
  attention(): void {
    this.#sliceEnded = true;
    this.engine.endSlice();
  }

  /** Makes `run` come back before the next instruction. */
  stop(): void {
    this.#stopping = true;
    this.attention();
  }

  /** Calls `callback` before each execution of the instruction at linear address `rip`; returns how to end that. */
  watch(rip: bigint, callback: Watch): () => void {
    const callbacks = this.#watches.get(rip) ?? [];
    this.#watches.set(rip, [...callbacks, callback]);
    this.#watchesChanged();
    return () => {
      const rest = (this.#watches.get(rip) ?? []).filter((other) => other !== callback);
      if (rest.length > 0) this.#watches.set(rip, rest);
      else this.#watches.delete(rip);
      this.#watchesChanged();
    };
  }

  #watchesChanged(): void {
    this.engine.stopBefore(new Set(this.#watches.keys()));
    this.attention();
  }

  /** Runs at most `maxTicks` ticks. */
  run(maxTicks: number): StopReason {
    const start = this.state.total('ticks');
    this.#stopping = false;
    for (;;) {
      const left = maxTicks - Number(this.state.total('ticks') - start);
      try {
        if (this.#stopping) return { reason: 'stopped' };
        if (left <= 0) return { reason: 'budget' };
        const stop = this.#events();
        if (stop) return stop;
        const ticks = Math.min(left, this.ports.time.horizon());
        if (this.#halted) {
          if (!Number.isFinite(ticks) || !this.#wakeable()) return { reason: 'halted' };
          this.state.addTotal('ticks', BigInt(ticks));
        } else if (this.core.waiting) this.#wait(ticks);
        else this.#execute(ticks);
      } catch (thrown) {
        const stop = this.#thrown(thrown);
        if (stop) return stop;
      }
      this.ports.time.boundary();
    }
  }

  /** MWAIT lets the time of one slice pass; where nothing bounds it, none. */
  #wait(ticks: number): void {
    this.core.waiting = false;
    if (!Number.isFinite(ticks)) return;
    this.#setHalted(true);
    this.state.addTotal('ticks', BigInt(ticks));
  }

  /** Runs a slice; instruction by instruction while something asks for that. */
  #execute(ticks: number): void {
    const { state, core } = this;
    const flags = state.get32(STATE.RFLAGS_SYSTEM);
    const blocking = state.get32(STATE.INTERRUPTIBILITY) & SHADOWS;
    const tf = (flags & TF) !== 0;
    const rf = (flags & RF) !== 0;
    const watchful = this.ports.vmx?.nonRoot?.watchful ?? false;
    const watched = this.#watches.size > 0 && this.#watches.has(core.linearRip);
    const single =
      tf || rf || watchful || blocking !== 0 || watched || core.breakpoints.onInstructions;
    if (!single) {
      this.#slice(ticks);
      return;
    }
    this.#look(rf);
    core.stepTrap = tf;
    core.keepRf = false;
    const before = state.total('ticks');
    const branches = this.#taken;
    const world = this.ports.vmx?.nonRoot;
    this.#slice(1);
    // What VM entry has loaded is not this instruction's to change.
    if (state.total('ticks') === before || this.ports.vmx?.nonRoot !== world) return;
    if (blocking !== 0) {
      state.set32(STATE.INTERRUPTIBILITY, state.get32(STATE.INTERRUPTIBILITY) & ~blocking);
    }
    if (rf && !core.keepRf) {
      state.set(STATE.RFLAGS_SYSTEM, state.get(STATE.RFLAGS_SYSTEM) & ~RFLAGS.RF);
    }
    const trap = core.stepTrap && !(this.ports.debug?.branchesOnly() && this.#taken === branches);
    core.stepTrap = false;
    if (trap) state.set(STATE.PENDING_DEBUG, state.get(STATE.PENDING_DEBUG) | DR6.BS);
  }

  /** Taken branches so far, as single-stepping on branches has them. */
  get #taken(): bigint {
    return this.state.total('nearTaken') + this.state.total('farBranches');
  }

  /** Runs the engine and, where it stops for them, system instructions. @throws Fault, VmExit */
  #slice(ticks: number): void {
    const { state } = this;
    const end = state.total('ticks') + BigInt(Math.min(ticks, LONGEST_SLICE));
    this.#sliceEnded = false;
    for (;;) {
      const left = Number(end - state.total('ticks'));
      if (left <= 0 || this.#sliceEnded) return;
      const exit = this.engine.run(left);
      if (exit.reason === 'slice') return;
      if (exit.reason === 'fault') throw exit.fault;
      this.#system(exit.insn);
    }
  }

  /** Instruction breakpoints, which fault, and the lab's watchpoints, which only look. @throws Fault #DB */
  #look(rf: boolean): void {
    const linear = this.core.linearRip;
    const met = rf ? 0n : this.core.breakpoints.instruction(linear);
    if (met !== 0n) throw new Fault('#DB', undefined, met);
    for (const callback of this.#watches.get(linear) ?? []) callback(this.state.cpl);
  }

  /**
   * What happens between two instructions, by priority. Vol. 3, "Priority Among Concurrent Events"; in VMX non-root
   * operation with the exits of "Priority of VM Exits".
   */
  #events(): StopReason | undefined {
    const { state, ports, core } = this;
    if (this.#faults.length > 0) return { reason: 'shutdown', faults: this.#faults };
    for (;;) {
      const nonRoot = ports.vmx?.nonRoot;
      const root = nonRoot === undefined && ports.vmx?.operation === true;
      const injected = nonRoot?.takeInjection();
      if (injected) {
        this.#deliver(injected, false, [this.#record(injected)]);
        continue;
      }
      const activity = state.get32(STATE.ACTIVITY);
      const signal = ports.interrupts.pendingSignal();
      // VMX root operation blocks INIT. Vol. 3, "Restrictions on VMX Operation".
      const taken = signal === 'INIT' ? !root : activity === ACTIVITY.WAIT_FOR_SIPI;
      if (signal !== undefined && taken) {
        this.#signal(signal);
        continue;
      }
      const shutdown = activity === ACTIVITY.SHUTDOWN;
      if (shutdown && !nonRoot) return { reason: 'shutdown', faults: this.#faults };
      if (activity === ACTIVITY.WAIT_FOR_SIPI) return { reason: 'waiting' };

      const blocking = state.get32(STATE.INTERRUPTIBILITY);
      const byMovSs = (blocking & BLOCKING.MOV_SS) !== 0;
      if (nonRoot?.watchful) nonRoot.monitorTrap();
      const debug = state.get(STATE.PENDING_DEBUG) & PENDING;
      if (debug !== 0n && !byMovSs) {
        state.set(STATE.PENDING_DEBUG, 0n);
        this.#raise(exceptionEvent(new Fault('#DB')), debug);
        continue;
      }
      if (nonRoot?.watchful) nonRoot.preemptionTimer();

      const nmiOpen = !byMovSs && !(nonRoot ? nonRoot.nmiBlocked : (blocking & BLOCKING.NMI) !== 0);
      if (nmiOpen) {
        if (nonRoot?.watchful) nonRoot.nmiWindow();
        if (ports.interrupts.nmiPending()) {
          nonRoot?.nmi();
          ports.interrupts.takeNmi();
          state.addTotal('hardwareInterrupts', 1n);
          this.#raise({ vector: 2, type: EVENT_TYPE.NMI }, 0n);
          continue;
        }
      }

      const enabled = (state.get32(STATE.RFLAGS_SYSTEM) & IF) !== 0 && (blocking & SHADOWS) === 0;
      if (enabled && nonRoot?.watchful) nonRoot.interruptWindow();
      const exits = nonRoot?.externalInterruptExiting === true && (blocking & SHADOWS) === 0;
      if ((enabled || exits) && !shutdown) {
        if (ports.interrupts.pendingVector() !== undefined) {
          nonRoot?.externalInterrupt();
          const vector = ports.interrupts.acknowledge();
          state.addTotal('hardwareInterrupts', 1n);
          this.#raise({ vector, type: EVENT_TYPE.EXTERNAL }, 0n);
          continue;
        }
      }
      this.#setHalted(activity === ACTIVITY.HLT || shutdown);
      if (core.delivering) core.delivering = undefined;
      return this.#faults.length > 0 ? { reason: 'shutdown', faults: this.#faults } : undefined;
    }
  }

  #signal(signal: 'INIT' | { readonly sipi: number }): void {
    const { state, ports } = this;
    const nonRoot = ports.vmx?.nonRoot;
    if (signal === 'INIT') {
      nonRoot?.init();
      ports.interrupts.takeSignal();
      ports.time.modeChanging();
      this.reset('init');
      if (!ports.interrupts.bootstrap()) state.set32(STATE.ACTIVITY, ACTIVITY.WAIT_FOR_SIPI);
      ports.time.modeChanged({ cpl: 0, halted: false });
      return;
    }
    nonRoot?.sipi(signal.sipi);
    ports.interrupts.takeSignal();
    const base = BigInt(signal.sipi << 12);
    state.setSegment('CS', { ...state.segment('CS'), selector: signal.sipi << 8, base });
    state.rip = 0n;
    state.set32(STATE.ACTIVITY, ACTIVITY.ACTIVE);
  }

  /** Tells the counters when the CPU stops and when it goes on. */
  #setHalted(halted: boolean): void {
    if (halted === this.#halted) return;
    this.ports.time.modeChanging();
    this.#halted = halted;
    this.ports.time.modeChanged({ cpl: this.state.cpl, halted });
  }

  /** Whether something that only time brings can end the halt. */
  #wakeable(): boolean {
    const { nonRoot } = this.ports.vmx ?? {};
    return nonRoot !== undefined || (this.state.get32(STATE.RFLAGS_SYSTEM) & IF) !== 0;
  }

  /** An instruction ended in a fault or a VM exit. */
  #thrown(thrown: unknown): StopReason | undefined {
    try {
      if (thrown instanceof Fault) {
        this.#fault(thrown);
        return undefined;
      }
    } catch (exit) {
      return this.#exit(exit);
    }
    return this.#exit(thrown);
  }

  #exit(thrown: unknown): StopReason | undefined {
    if (!(thrown instanceof VmExit) || !this.ports.vmx) throw thrown;
    const { delivering } = this.core;
    this.core.delivering = undefined;
    const next = this.ports.vmx.vmExit(thrown, delivering);
    return next === 'leave' ? { reason: 'vm-exit' } : undefined;
  }

  /** A fault of the instruction at RIP, or in the delivery that the instruction asked for. */
  #fault(fault: Fault): void {
    const first = this.core.delivering;
    // What the instruction met before it faulted, it will meet again.
    this.state.set(STATE.PENDING_DEBUG, 0n);
    const record = this.#record(exceptionEvent(fault), fault);
    this.#raiseAfter(first, fault, [record]);
  }

  /** Delivers an event and, where that fails, what the failure turns into. @throws VmExit */
  #raise(event: Event, conditions: bigint): void {
    const { core } = this;
    const isException = event.type === EVENT_TYPE.HARDWARE_EXCEPTION;
    if (isException) {
      core.nonRoot?.exception(event, conditions);
      this.state.addTotal('exceptions', 1n);
    }
    if (isException && event.vector === VECTORS['#DB']) this.#latchDebug(conditions);
    this.#deliver(event, false, isException ? [this.#record(event)] : []);
  }

  #deliver(event: Event, resumeFlag: boolean, chain: readonly FaultRecord[]): void {
    const { core } = this;
    core.delivering = event;
    this.#wake();
    const { rip: from, cpl } = this.state;
    try {
      deliver(core, event, resumeFlag);
      core.delivering = undefined;
      core.observer?.delivered?.(from, this.state.rip);
      core.observer?.settle?.();
      this.ports.branched?.(from, this.state.rip, cpl, this.state.cpl);
      // A counter of interrupts may have overflowed: it has its say before the handler's first instruction.
      this.ports.time.boundary();
    } catch (thrown) {
      if (!(thrown instanceof Fault)) throw thrown;
      this.#raiseAfter(event, thrown, [...chain, this.#record(exceptionEvent(thrown), thrown)]);
    }
  }

  /** Raises `fault`, which arose while `first` was being delivered (if anything was). */
  #raiseAfter(first: Event | undefined, fault: Fault, chain: readonly FaultRecord[]): void {
    const { core, state } = this;
    const raised = exceptionEvent(fault);
    // Vol. 3, "Operations that Invalidate TLBs and Paging-Structure Caches".
    if (fault.exception === '#PF') core.forget({ linear: fault.address });
    // Its own bit of the exception bitmap comes before what two exceptions make together.
    core.nonRoot?.exception(raised, fault.address);
    const outcome = combine(first, fault);
    if (outcome instanceof TripleFault) {
      core.nonRoot?.tripleFault();
      this.#faults = chain;
      state.set32(STATE.ACTIVITY, ACTIVITY.SHUTDOWN);
      return;
    }
    const isDebug = outcome.vector === VECTORS['#DB'];
    if (outcome.vector !== raised.vector) core.nonRoot?.exception(outcome, 0n);
    if (outcome.vector === VECTORS['#PF']) state.set(STATE.CR2, fault.address);
    if (isDebug) this.#latchDebug(fault.address);
    state.addTotal('exceptions', 1n);
    if (outcome.vector === VECTORS['#PF']) state.addTotal('pageFaults', 1n);
    this.#deliver(outcome, isFaultClass(outcome.vector) && !isDebug, chain);
  }

  #record(event: Event, fault?: Fault): FaultRecord {
    return {
      vector: event.vector,
      code: event.code,
      rip: this.state.rip,
      cr2: fault?.exception === '#PF' ? fault.address : this.state.get(STATE.CR2),
    };
  }

  /** DR6 takes the conditions of a debug exception; GD and what DEBUGCTL arms end with it. */
  #latchDebug(conditions: bigint): void {
    const { state } = this;
    const dr6 = STATE.DR + 48;
    const dr7 = STATE.DR + 56;
    state.set(dr6, (state.get(dr6) & ~DR6.B) | conditions | DR6.FIXED);
    state.set(dr7, state.get(dr7) & ~DR7.GD);
    this.ports.debug?.delivered();
  }

  #wake(): void {
    this.core.waiting = false;
    this.state.set32(STATE.ACTIVITY, ACTIVITY.ACTIVE);
    this.#setHalted(false);
  }

  /** Executes and retires a system instruction. @throws Fault, VmExit */
  #system(insn: Insn): void {
    const { core, state } = this;
    const execute = this.#instructions[insn.op];
    if (!execute) throw new Fault('#UD');
    const { rip: from, cpl } = state;
    const next = core.ripAfter(insn);
    core.nextRip = next;
    this.#linear = core.linearRip;
    this.#unretired = insn;
    execute(core, insn);
    state.rip = core.nextRip;
    if (this.#unretired) this.#retire(insn, core.nextRip === from);
    if (this.ports.branched && FAR.has(insn.op) && (insn.op !== 'INTO' || state.rip !== next)) {
      this.ports.branched(from, state.rip, cpl, state.cpl);
    }
  }

  /** Adds an instruction, or one iteration of it, to the totals. */
  #retire(insn: Insn, repeats: boolean): void {
    const { state } = this;
    this.#unretired = undefined;
    state.addTotal('ticks', 1n);
    state.addTotal('unhaltedTicks', 1n);
    if (insn.rep !== undefined && repeats) {
      state.addTotal('repIterations', 1n);
    } else {
      state.addTotal('instructions', 1n);
      for (const total of retirement(insn)) state.addTotal(total, 1n);
    }
    const { observer, nextRip } = this.core;
    if (!observer?.retired) return;
    const taken = retirement(insn).includes('branches');
    observer.retired({ insn, linear: this.#linear, next: nextRip, taken, repeats });
    observer.settle?.();
  }

  /**
   * Keeps these totals, and of those that only some engines keep no others, from the retirement of the instruction
   * under way on; `observer` hears of everything executed meanwhile.
   */
  arm(names: readonly Total[], observer?: Observer): void {
    this.core.observer = observer;
    this.core.armed = names.some((name) => !ALWAYS_KEPT.has(name) && !MODELLED.has(name));
    this.attention();
  }
}

/** Transfers in plain TypeScript that last-branch records know. */
const FAR: ReadonlySet<string> = new Set(
  // biome-ignore format: a table
  ['CALLF', 'JMPF', 'RETF', 'IRET', 'INT', 'INT1', 'INT3', 'INTO', 'SYSCALL', 'SYSRET', 'SYSENTER', 'SYSEXIT'],
);
/** Ticks of a slice that nothing bounds. */
const LONGEST_SLICE = 2 ** 40;

const TF = Number(RFLAGS.TF);
const RF = Number(RFLAGS.RF);
const IF = Number(RFLAGS.IF);
const SHADOWS = BLOCKING.STI | BLOCKING.MOV_SS;
/** Pending debug exceptions that are conditions of DR6; bit 12, "enabled breakpoint", only qualifies them. */
const PENDING = DR6.B | DR6.BS | DR6.BT;
