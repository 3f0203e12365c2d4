import { BLOCKING, DR6, RFLAGS } from './control-registers.ts';
import type { Engine } from './engines/engine.ts';
import { SHADOWS } from './events/priority.ts';
import { Fault } from './fault.ts';
import type { Insn } from './insn.ts';
import { retirement } from './retirement.ts';
import { STATE } from './state/layout.ts';
import type { Core, SystemFunction, SystemStep } from './system/core.ts';
import { SYSTEM_INSTRUCTIONS } from './system/instructions.ts';
import type { VmExit } from './vm-exit.ts';
import type { Watches } from './watches.ts';

const TF = Number(RFLAGS.TF);
const RF = Number(RFLAGS.RF);
/** Ticks of a slice that nothing bounds. */
const LONGEST_SLICE = 2 ** 40;
/** Transfers in plain TypeScript that last-branch records know. */
const FAR: ReadonlySet<string> = new Set(
  // biome-ignore format: a table
  ['CALLF', 'JMPF', 'RETF', 'IRET', 'INT', 'INT1', 'INT3', 'INTO', 'SYSCALL', 'SYSRET', 'SYSENTER', 'SYSEXIT'],
);

/** Executes slices of instructions: the engine's, and where it stops for them the system's; one by one where something asks for that. */
export class Execution {
  readonly #core: Core;
  readonly #engine: Engine;
  readonly #watches: Watches;
  readonly #instructions: Readonly<Record<string, SystemFunction | undefined>>;
  #ended = false;
  /** The system instruction under way, until it is in the totals. */
  #unretired: Insn | undefined;
  /** Its linear address. */
  #linear = 0n;

  constructor(core: Core, engine: Engine, watches: Watches) {
    this.#core = core;
    this.#engine = engine;
    this.#watches = watches;
    this.#instructions = { ...SYSTEM_INSTRUCTIONS, ...core.ports.vmx?.instructions };
    core.retire = () => {
      if (this.#unretired) this.#retire(this.#unretired, false);
    };
    core.systemStep = (insn, next) => this.#prepared(insn, next);
  }

  /** Ends the slice under way before its next instruction. */
  endSlice(): void {
    this.#ended = true;
    this.#engine.endSlice();
  }

  /** Executes at most so many ticks. @returns what the last instruction ended in, if it did not retire. @throws Fault, VmExit */
  run(ticks: number): Fault | VmExit | undefined {
    const { state, ports, breakpoints } = this.#core;
    const flags = state.get32(STATE.RFLAGS_SYSTEM);
    const blocking = state.get32(STATE.INTERRUPTIBILITY) & SHADOWS;
    const watched = !this.#watches.none && this.#watches.at(this.#core.linearRip).length > 0;
    const single =
      (flags & (TF | RF)) !== 0 ||
      blocking !== 0 ||
      watched ||
      breakpoints.onInstructions ||
      ports.vmx?.nonRoot?.watchful;
    this.#core.repeating = false;
    return single
      ? this.#single((flags & TF) !== 0, (flags & RF) !== 0, blocking)
      : this.#slice(ticks);
  }

  /** One instruction (one iteration), and what holds for one only: the shadow of STI and MOV SS, RF, TF. */
  #single(tf: boolean, rf: boolean, blocking: number): Fault | VmExit | undefined {
    const core = this.#core;
    const { state, ports } = core;
    this.#look(rf || (blocking & BLOCKING.MOV_SS) !== 0);
    core.stepTrap = tf;
    core.keepRf = false;
    const before = state.total('ticks');
    const branches = this.#taken;
    const world = core.nonRoot;
    const ending = this.#slice(1);
    // What VM entry has loaded is not this instruction's to change.
    if (ending || state.total('ticks') === before || core.nonRoot !== world) return ending;
    if (blocking !== 0) {
      state.set32(STATE.INTERRUPTIBILITY, state.get32(STATE.INTERRUPTIBILITY) & ~blocking);
    }
    if (rf && !core.keepRf && !core.repeating) {
      state.set(STATE.RFLAGS_SYSTEM, state.get(STATE.RFLAGS_SYSTEM) & ~RFLAGS.RF);
    }
    const trap = core.stepTrap && !(ports.debug?.branchesOnly() && this.#taken === branches);
    core.stepTrap = false;
    if (trap) state.set(STATE.PENDING_DEBUG, state.get(STATE.PENDING_DEBUG) | DR6.BS);
    return undefined;
  }

  /** Taken branches so far, as single-stepping on branches has them. */
  get #taken(): bigint {
    return this.#core.state.total('nearTaken') + this.#core.state.total('farBranches');
  }

  /** Instruction breakpoints, which fault unless suppressed, and the lab's watchpoints, which only look. @throws Fault #DB */
  #look(suppressed: boolean): void {
    const { linearRip, breakpoints, state } = this.#core;
    const met = suppressed ? 0n : breakpoints.instruction(linearRip);
    if (met !== 0n) throw new Fault('#DB', undefined, met);
    for (const callback of this.#watches.at(linearRip)) callback(state.cpl);
  }

  #slice(ticks: number): Fault | VmExit | undefined {
    const { state } = this.#core;
    const end = state.total('ticks') + BigInt(Math.min(ticks, LONGEST_SLICE));
    this.#ended = false;
    for (;;) {
      const left = Number(end - state.total('ticks'));
      if (left <= 0 || this.#ended) return undefined;
      const stop = this.#engine.run(left);
      if (stop.reason === 'slice') return undefined;
      if (stop.reason === 'fault') return stop.fault;
      const exit = this.#system(stop.insn);
      if (exit) return exit;
    }
  }

  /** What executes a system instruction at one place, again and again. */
  #prepared(insn: Insn, next: bigint): SystemStep {
    const core = this.#core;
    const execute = this.#instructions[insn.op];
    if (!execute || insn.rep || FAR.has(insn.op)) return () => this.#system(insn) ?? 'retired';
    const totals = retirement(insn);
    return () => {
      if (core.observer) return this.#system(insn) ?? 'retired';
      const exit = this.#execute(execute, insn, next);
      if (exit) return exit;
      if (!this.#unretired) return 'retired';
      this.#unretired = undefined;
      for (const total of totals) core.state.addTotal(total, 1);
      return 'retiring';
    };
  }

  /** Executes and retires a system instruction. @throws Fault, VmExit */
  #system(insn: Insn): VmExit | undefined {
    const core = this.#core;
    const { state, ports } = core;
    const execute = this.#instructions[insn.op];
    if (!execute) throw new Fault('#UD');
    const { rip: from, cpl } = state;
    const next = core.ripAfter(insn);
    this.#linear = core.linearRip;
    const exit = this.#execute(execute, insn, next);
    if (exit) return exit;
    if (this.#unretired) this.#retire(insn, core.nextRip === from);
    if (ports.branched && FAR.has(insn.op) && (insn.op !== 'INTO' || state.rip !== next)) {
      ports.branched(from, state.rip, cpl, state.cpl);
    }
    return undefined;
  }

  /** Executes a system instruction, all but its retirement. @throws Fault, VmExit */
  #execute(execute: SystemFunction, insn: Insn, next: bigint): VmExit | undefined {
    const core = this.#core;
    core.nextRip = next;
    this.#unretired = insn;
    execute(core, insn);
    if (core.exit) {
      const { exit } = core;
      core.exit = undefined;
      return exit;
    }
    core.state.rip = core.nextRip;
    return undefined;
  }

  /** Adds an instruction, or one iteration of it, to the totals. */
  #retire(insn: Insn, repeats: boolean): void {
    const { state, observer, nextRip } = this.#core;
    this.#unretired = undefined;
    this.#core.repeating = insn.rep !== undefined && repeats;
    state.addTotal('ticks', 1);
    state.addTotal('unhaltedTicks', 1);
    if (this.#core.repeating) {
      state.addTotal('repIterations', 1);
    } else {
      state.addTotal('instructions', 1);
      for (const total of retirement(insn)) state.addTotal(total, 1);
    }
    if (!observer?.retired) return;
    const taken = retirement(insn).includes('branches');
    observer.retired({ insn, linear: this.#linear, next: nextRip, taken, repeats });
  }
}
