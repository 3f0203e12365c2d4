import { isCanonical, MASK32, MASK64, SIZE_MASK } from '../../bits/u64.ts';
import { CR4, DR6, RFLAGS, STATUS_FLAGS } from '../control-registers.ts';
import { EVENT_TYPE, type Event } from '../event.ts';
import { Fault } from '../fault.ts';
import { readStatusFlags, writeStatusFlags } from '../flags.ts';
import type { Insn, Memory, Operand } from '../insn.ts';
import type { Observer } from '../observer.ts';
import type { CpuPorts, MemoryAccess, NonRoot } from '../ports.ts';
import { type SegmentName, STATE } from '../state/layout.ts';
import type { State } from '../state/state.ts';
import type { VmExit } from '../vm-exit.ts';
import { Breakpoints } from './breakpoints.ts';
import { deliver } from './delivery.ts';
import { LinearMemory } from './linear-memory.ts';
import { is64Bit, isRealLike, stackSize } from './mode.ts';
import { Paging, type Privilege } from './paging.ts';
import { CODE_RIGHTS, isCode, RIGHTS } from './rights.ts';
import type { Stale } from './translation-tags.ts';

/**
 * A system instruction. On entry RIP is the instruction's own, `core.nextRip` the next one's, and everything older is
 * in the totals. Before its first effect it throws `Fault` or `VmExit`, or returns with `core.exit` set.
 * One that transfers control sets `core.nextRip`.
 * Whoever called it moves RIP to `core.nextRip` and retires the instruction.
 */
export type SystemFunction = (core: Core, insn: Insn) => void;

/**
 * Executes the system instruction it was made for, which RIP is at, as between two stays of an engine. RIP is then at
 * the next instruction. @returns the VM exit it ends in; otherwise whether it has retired, or the engine is to retire
 * it as one tick and one instruction. @throws Fault, VmExit
 */
export type SystemStep = () => VmExit | 'retired' | 'retiring';

/** What of an engine system instructions reach: caches of translations, and the end of the slice. */
export interface EngineReach {
  /** Forgets translations. */
  flush(stale: Stale): void;
  /** Translations are looked up under other tags from now on. */
  retagged(): void;
  /** Breakpoints have changed: no translation of a watched page may be kept. */
  debugChanged(): void;
  /** Leaves before the next instruction, so that events are looked at. */
  endSlice(): void;
  /** Whether the instruction under way, once it has retired, is followed by the next one with no deadline or event between them. */
  goesOn?(): boolean;
}

/** What CPUID promises, as the system instructions need it. */
export interface Features {
  /** Bits of a physical address (MAXPHYADDR). */
  readonly physicalWidth: number;
  /** Bits that CR4 and XCR0 may hold. */
  readonly cr4: bigint;
  readonly xcr0: bigint;
  readonly xss: bigint;
  /** Whether IA32_SPEC_CTRL and IA32_PRED_CMD exist (CPUID.7.0:EDX[26]). */
  readonly speculationControl?: boolean;
}

/** What system instructions and event delivery work on: the state, and memory as the architecture reaches it. */
export class Core {
  readonly state: State;
  readonly ports: CpuPorts;
  readonly breakpoints: Breakpoints;
  readonly paging: Paging;
  readonly memory: LinearMemory;
  readonly engine: EngineReach;
  readonly features: Features;
  /** RIP of the next instruction, while a system instruction runs. */
  nextRip = 0n;
  /** The event being delivered; what goes wrong meanwhile went wrong in its delivery. */
  delivering: Event | undefined;
  /** The VM exit that a system instruction ends in: what exits often is not thrown, which takes as long as the exit itself. */
  exit: VmExit | undefined;
  /** Whether the instruction under way ends in a single-step trap. */
  stepTrap = false;
  /** Whether the instruction under way loaded RF, which then holds for the one after it. */
  keepRf = false;
  /**
   * Whether RIP is at a repeated instruction that some iterations are done of: an event then pushes RF set.
   * Vol. 3, "Instruction-Breakpoint Exception Condition".
   */
  repeating = false;
  /** Whether MONITOR has armed a range since the last MWAIT. */
  monitoring = false;
  /** Whether MWAIT waits: until an event, and at the latest until the end of the slice. */
  waiting = false;
  /** Hears what is executed, while something needs to know. */
  observer: Observer | undefined;
  /** Whether totals are armed that engines may leave alone otherwise. */
  armed = false;
  /**
   * Retires the instruction under way before its effects, and nothing after it: VM entry belongs to the host that
   * makes it, not to the guest it leads to. Whoever executes system instructions supplies it.
   */
  retire: () => void = () => {};
  /**
   * Prepares a system instruction with `next` as the RIP behind it, for an engine that can have it executed on the way.
   * Without this an engine leaves such instructions to its caller.
   */
  systemStep: ((insn: Insn, next: bigint) => SystemStep) | undefined;

  constructor(state: State, ports: CpuPorts, features: Features, engine: EngineReach) {
    this.state = state;
    this.ports = ports;
    this.features = features;
    this.engine = engine;
    this.breakpoints = new Breakpoints(state);
    this.paging = new Paging(
      state,
      ports.memory,
      features.physicalWidth,
      () => this.nonRoot,
      this.breakpoints,
    );
    this.memory = new LinearMemory(
      state,
      this.paging,
      ports.memory,
      () => this.nonRoot,
      (linear, size, write) => this.pendDebug(this.breakpoints.data(linear, size, write)),
    );
  }

  /** Intercepts, in VMX non-root operation. */
  get nonRoot(): NonRoot | undefined {
    return this.ports.vmx?.nonRoot;
  }

  /** Forgets translations of the current VPID; all of them, or those that are told. */
  forget(stale: Pick<Stale, 'pcid' | 'linear'> = {}): void {
    this.engine.flush({ vpid: this.nonRoot?.vpid ?? 0, ...stale });
  }

  get cpl(): number {
    return this.state.cpl;
  }

  /** Whether an interrupt may be taken, or exits to be made, as soon as RFLAGS.IF is 1. */
  get interruptWaits(): boolean {
    return this.nonRoot !== undefined || this.ports.interrupts.pendingVector() !== undefined;
  }

  /** Moves to another privilege level; what was counted so far counts for the old one. */
  set cpl(cpl: number) {
    if (cpl === this.state.cpl) return;
    this.ports.time.modeChanging();
    const privilege = cpl === 0 || this.state.cpl === 0;
    this.state.set32(STATE.CPL, cpl);
    this.ports.time.modeChanged({ cpl, halted: false });
    // The new level is credited with the change.
    if (privilege) this.state.addTotal('modeChanges', 1);
    // Other counters count now, so other deadlines hold.
    this.engine.endSlice();
  }

  get rflags(): bigint {
    return this.state.get(STATE.RFLAGS_SYSTEM) | readStatusFlags(this.state) | RFLAGS.FIXED;
  }

  set rflags(value: bigint) {
    this.state.set(STATE.RFLAGS_SYSTEM, (value & ~STATUS_FLAGS) | RFLAGS.FIXED);
    writeStatusFlags(this.state, value & STATUS_FLAGS);
  }

  /** Bits of a canonical linear address. */
  get linearWidth(): number {
    return (this.state.get(STATE.CR4) & CR4.LA57) !== 0n ? 57 : 48;
  }

  isCanonical(linear: bigint): boolean {
    return isCanonical(linear, this.linearWidth);
  }

  /**
   * Delivers an event that an instruction asks for (INT n and its kin); the handler is then the next instruction.
   * @throws Fault what goes wrong in delivery, VmExit where the event is intercepted
   */
  deliverFromInstruction(event: Event): void {
    if (event.type !== EVENT_TYPE.SOFTWARE_INTERRUPT) this.nonRoot?.exception(event, 0n);
    this.delivering = event;
    deliver(this, event);
    this.delivering = undefined;
    this.suppressStep();
    this.nextRip = this.state.rip;
  }

  /**
   * The single-step trap of a MOV SS, held back until now, does not come: an event has been delivered meanwhile.
   * Vol. 3, "Masking Exceptions and Interrupts When Switching Stacks".
   */
  suppressStep(): void {
    this.state.set(STATE.PENDING_DEBUG, this.state.get(STATE.PENDING_DEBUG) & ~DR6.BS);
  }

  /** Leaves debug conditions (DR6 bits) for the boundary after the current instruction. */
  pendDebug(conditions: bigint): void {
    if (conditions === 0n) return;
    this.state.set(STATE.PENDING_DEBUG, this.state.get(STATE.PENDING_DEBUG) | conditions);
    this.engine.endSlice();
  }

  /** @throws Fault #GP(0) unless CPL is 0 */
  requireCpl0(): void {
    if (this.cpl !== 0) throw new Fault('#GP', 0);
  }

  /** RIP after `insn`, as wide as code is. */
  ripAfter(insn: Insn): bigint {
    return (this.state.rip + BigInt(insn.length)) & (is64Bit(this.state) ? MASK64 : MASK32);
  }

  /** Linear address of the instruction at RIP. */
  get linearRip(): bigint {
    const { state } = this;
    return is64Bit(state) ? state.rip : (state.segment('CS').base + state.rip) & MASK32;
  }

  /** A general register at an operand size; writing four bytes clears the upper half. */
  gpr(index: number, size = 8): bigint {
    return this.state.gpr[index]! & SIZE_MASK[size]!;
  }

  setGpr(index: number, size: number, value: bigint): void {
    const mask = SIZE_MASK[size]!;
    const old = this.state.gpr[index]!;
    this.state.gpr[index] = size >= 4 ? value & mask : (old & ~mask) | (value & mask);
  }

  /** Effective address of a memory operand: the offset in its segment. */
  offset(operand: Memory, insn: Insn): bigint {
    const { gpr, rip } = this.state;
    let sum = operand.disp;
    if (operand.base === 16) sum += rip + BigInt(insn.length);
    else if (operand.base >= 0) sum += gpr[operand.base]!;
    if (operand.index >= 0) sum += gpr[operand.index]! << BigInt(operand.scale);
    return sum & SIZE_MASK[insn.addressSize]!;
  }

  /** Linear address of a memory operand, without any check. */
  linearOf(operand: Memory, insn: Insn): bigint {
    const offset = this.offset(operand, insn);
    if (is64Bit(this.state)) {
      const based = operand.segment === 'FS' || operand.segment === 'GS';
      return based ? (this.state.segment(operand.segment).base + offset) & MASK64 : offset;
    }
    return (this.state.segment(operand.segment).base + offset) & MASK32;
  }

  /**
   * Segment to linear, with every check of segmentation.
   * @throws Fault #GP(0), #SS(0)
   */
  linear(name: SegmentName, offset: bigint, size: number, access: MemoryAccess): bigint {
    const fault = (): Fault => new Fault(name === 'SS' ? '#SS' : '#GP', 0);
    if (is64Bit(this.state)) {
      const based = name === 'FS' || name === 'GS' || name === 'TR' || name === 'LDTR';
      const linear = (based ? this.state.segment(name).base + offset : offset) & MASK64;
      if (!this.isCanonical(linear)) throw fault();
      if (!this.isCanonical((linear + BigInt(size - 1)) & MASK64)) throw fault();
      return linear;
    }
    const { base, limit, rights } = this.state.segment(name);
    if (!isRealLike(this.state)) {
      if ((rights & RIGHTS.UNUSABLE) !== 0) throw fault();
      const writable = !isCode(rights) && (rights & RIGHTS.WRITABLE) !== 0;
      const readable = !isCode(rights) || (rights & CODE_RIGHTS.READABLE) !== 0;
      if (access === 'write' ? !writable : access === 'read' && !readable) throw fault();
    }
    const first = Number(offset);
    const last = first + size - 1;
    const expandDown = (rights & (RIGHTS.CODE | RIGHTS.EXPAND_DOWN)) === RIGHTS.EXPAND_DOWN;
    if (expandDown) {
      const top = (rights & RIGHTS.DB) !== 0 ? 0xffff_ffff : 0xffff;
      if (first <= limit || last > top) throw fault();
    } else if (last > limit && limit !== 0xffff_ffff) throw fault(); // 4 GiB: accesses wrap around
    return (base + offset) & MASK32;
  }

  /** On whose behalf an ordinary data access is made. */
  get privilege(): Privilege {
    return this.state.cpl === 3 ? 'user' : 'supervisor';
  }

  load(segment: SegmentName, offset: bigint, size: number): bigint {
    return this.memory.read(this.linear(segment, offset, size, 'read'), size, this.privilege);
  }

  store(segment: SegmentName, offset: bigint, size: number, value: bigint): void {
    const linear = this.linear(segment, offset, size, 'write');
    this.memory.write(linear, size, value, this.privilege);
  }

  /** Value of operand `i`, `size` bytes of it (the operand size unless told). */
  operand(insn: Insn, i: number, size: number = insn.size): bigint {
    const operand = this.#operand(insn, i);
    switch (operand.kind) {
      case 'gpr':
        return operand.high
          ? (this.state.gpr[operand.index]! >> 8n) & 0xffn
          : this.gpr(operand.index, size);
      case 'imm':
        return operand.value & SIZE_MASK[size]!;
      case 'mem':
        return this.load(operand.segment, this.offset(operand, insn), size);
      default:
        throw new TypeError(`${insn.op}: operand ${i} is no value: ${operand.kind}`);
    }
  }

  /** Writes operand `i`. A register gets `size` bytes by the rules of that size. */
  setOperand(insn: Insn, i: number, value: bigint, size: number = insn.size): void {
    const operand = this.#operand(insn, i);
    if (operand.kind === 'gpr') this.setGpr(operand.index, size, value);
    else if (operand.kind === 'mem') {
      this.store(operand.segment, this.offset(operand, insn), size, value & SIZE_MASK[size]!);
    } else throw new TypeError(`${insn.op}: operand ${i} cannot be written: ${operand.kind}`);
  }

  memoryOperand(insn: Insn): Memory | undefined {
    return insn.operands.find((operand): operand is Memory => operand.kind === 'mem');
  }

  #operand(insn: Insn, i: number): Operand {
    const operand = insn.operands[i];
    if (!operand) throw new TypeError(`${insn.op} has no operand ${i}`);
    return operand;
  }

  /** The stack pointer, as wide as the stack segment makes it. */
  get stackPointer(): bigint {
    return this.gpr(4, stackSize(this.state));
  }

  /** Sets the stack pointer, keeping bits that the stack segment's size leaves alone. */
  setStackPointer(value: bigint): void {
    const size = stackSize(this.state);
    const mask = SIZE_MASK[size]!;
    this.state.gpr[4] = (this.state.gpr[4]! & ~mask) | (value & mask);
  }

  /** `count` values of `size` bytes from the top of the stack, the stack pointer unmoved. */
  peekStack(count: number, size: number, at = 0): bigint[] {
    const mask = SIZE_MASK[stackSize(this.state)]!;
    const top = (this.stackPointer + BigInt(at)) & mask;
    const bytes = count * size;
    if (top + BigInt(bytes) <= mask && (size === 2 || size === 4 || size === 8)) {
      const linear = this.linear('SS', top, bytes, 'read');
      return this.memory.readBlock(linear, count, size, this.privilege);
    }
    return Array.from({ length: count }, (_, i) =>
      this.load('SS', (top + BigInt(i * size)) & mask, size),
    );
  }

  /** Writes below the top of the current stack, all or nothing. The stack pointer moves last. */
  push(values: readonly bigint[], size: number): void {
    const mask = SIZE_MASK[stackSize(this.state)]!;
    const top = this.stackPointer;
    const slots = values.map((value, i) => ({
      value,
      linear: this.linear('SS', (top - BigInt((i + 1) * size)) & mask, size, 'write'),
    }));
    for (const { linear } of slots) this.memory.probe(linear, size, this.privilege);
    for (const { linear, value } of slots) {
      this.memory.write(linear, size, value & SIZE_MASK[size]!, this.privilege);
    }
    this.setStackPointer(top - BigInt(values.length * size));
  }
}
