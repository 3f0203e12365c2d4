import { CounterpointError } from '../bits/error.ts';
import { hex } from '../bits/hex.ts';
import type { ReadOutcome, WriteOutcome } from '../msr/bus.ts';
import type { VmxOutcome } from '../vmx/outcome.ts';
import { CostAccount, type SavedAccount } from './account.ts';
import { COSTS, type CostName, type CostTable } from './costs.ts';
import type { CpuidRegisters, CpuPorts, MemoryPorts, RegisterPorts, VmxPorts } from './ports.ts';

const X2APIC_EOI = 0x80b;
const X2APIC_ICR = 0x830;
const X2APIC_SELF_IPI = 0x83f;

/** Vector of the interrupt that brings a CPU back to root mode, to look at `needResched` and at its vCPU. */
export const RESCHEDULE_VECTOR = 0xfd;

/** Handles an NMI; answers how many of its own causes it found. */
export type NmiHandler = () => number;
export type InterruptHandler = (vector: number) => void;

/** Accesses of root mode to registers and to the VMCS by kind, whatever row paid for them. */
export interface Operations {
  rdmsr: number;
  wrmsr: number;
  rdpmc: number;
  vmread: number;
  vmwrite: number;
}

export interface SavedHostCpu {
  readonly account: SavedAccount;
  readonly operations: Operations;
  readonly interruptsOff: number;
  readonly needResched: boolean;
  readonly unknownNmis: number;
}

/**
 * One physical CPU as root-mode software sees it. Whatever it does costs time on that CPU: ticks,
 * instructions and branches at CPL 0 in root operation, during which NMIs and interrupts arrive.
 */
export class HostCpu {
  readonly account = new CostAccount();
  readonly operations: Operations = { rdmsr: 0, wrmsr: 0, rdpmc: 0, vmread: 0, vmwrite: 0 };
  /** NMIs that no handler recognised as its own. */
  unknownNmis = 0;
  /** Somebody wants the task that runs here to give the CPU up. */
  needResched = false;
  readonly #ports: CpuPorts;
  readonly #costs: CostTable;
  readonly #nmiHandlers: NmiHandler[] = [];
  readonly #interruptHandlers = new Map<number, InterruptHandler>();
  #interruptsOff = 0;
  #inNmi = false;
  #inInterrupt = false;
  /** Rows whose price covers what is done within them, outermost first, with the ticks spent so far. */
  #envelopes: { name: CostName; spent: number }[] = [];

  constructor(ports: CpuPorts, costs: CostTable = COSTS) {
    this.#ports = ports;
    this.#costs = costs;
    this.onInterrupt(RESCHEDULE_VECTOR, () => this.wrmsr(X2APIC_EOI, 0n));
  }

  get id(): number {
    return this.#ports.id;
  }

  get vmx(): VmxPorts {
    return this.#ports.vmx;
  }

  get registers(): RegisterPorts {
    return this.#ports.registers;
  }

  get memory(): MemoryPorts {
    return this.#ports.memory;
  }

  /** Ticks of this CPU since power-up. */
  now(): bigint {
    return this.#ports.now();
  }

  cpuid(leaf: number, subleaf = 0): CpuidRegisters {
    return this.#ports.cpuid(leaf, subleaf);
  }

  /** RDMSR by software that expects no fault. @throws CounterpointError `host-gp` if it faults. */
  rdmsr(address: number): bigint {
    const value = this.rdmsrSafe(address);
    if (typeof value === 'bigint') return value;
    throw new CounterpointError('host-gp', `RDMSR ${hex(address)} in root mode: ${value}`);
  }

  rdmsrSafe(address: number): ReadOutcome {
    const value = this.#ports.rdmsr(address);
    this.operations.rdmsr += 1;
    this.spend('rdmsr');
    return value;
  }

  /** WRMSR by software that expects no fault. @throws CounterpointError `host-gp` if it faults. */
  wrmsr(address: number, value: bigint): void {
    const outcome = this.wrmsrSafe(address, value);
    if (outcome === 'done') return;
    throw new CounterpointError(
      'host-gp',
      `WRMSR ${hex(address)} = ${hex(value)} in root mode: ${outcome}`,
    );
  }

  wrmsrSafe(address: number, value: bigint): WriteOutcome {
    const outcome = this.#ports.wrmsr(address, value);
    this.operations.wrmsr += 1;
    this.spend('wrmsr');
    return outcome;
  }

  /** RDPMC at CPL 0. @throws CounterpointError `host-gp` on an index that does not exist. */
  rdpmc(ecx: number): bigint {
    const value = this.#ports.rdpmc(ecx);
    this.operations.rdpmc += 1;
    this.spend('rdpmc');
    if (value !== '#GP') return value;
    throw new CounterpointError('host-gp', `RDPMC ${hex(ecx)} in root mode: #GP`);
  }

  /** @throws CounterpointError `vmx` on a field that does not exist. */
  vmread(field: number): bigint {
    const value = this.#ports.vmx.vmread(field);
    this.operations.vmread += 1;
    if (value !== undefined) return value;
    throw new CounterpointError('vmx', `VMREAD ${hex(field)} failed`);
  }

  /** @throws CounterpointError `vmx` on a field that does not exist or is read-only. */
  vmwrite(field: number, value: bigint): void {
    const outcome = this.#ports.vmx.vmwrite(field, value);
    this.operations.vmwrite += 1;
    if (outcome === 'VMsucceed') return;
    throw new CounterpointError(
      'vmx',
      `VMWRITE ${hex(field)} = ${hex(value)}: ${describe(outcome)}`,
    );
  }

  /** Does the work of a row of the cost table, `times` times. */
  spend(name: CostName, times = 1): void {
    const { cycles, instructions } = this.#costs[name];
    const outer = this.#envelopes[0];
    this.account.add(outer?.name ?? name, outer ? 0 : times, cycles * times);
    for (const envelope of this.#envelopes) envelope.spent += cycles * times;
    this.work(cycles * times, instructions * times);
  }

  /** Does something whose whole price, register accesses included, is a row of the cost table. */
  within<Result>(name: CostName, body: () => Result): Result {
    const envelope = { name, spent: 0 };
    if (this.#envelopes.length === 0) this.account.add(name, 1, 0);
    this.#envelopes.push(envelope);
    try {
      return body();
    } finally {
      const { cycles, instructions } = this.#costs[name];
      const rest = cycles - envelope.spent;
      if (rest > 0) {
        this.account.add(this.#envelopes[0]!.name, 0, rest);
        for (const outer of this.#envelopes) outer.spent += rest;
      }
      this.#envelopes.pop();
      if (rest > 0) this.work(rest, Math.floor((instructions * rest) / cycles));
    }
  }

  /** Lets `ticks` pass in which `instructions` retire, a fifth of them branches; whatever falls due is taken on the way. */
  work(ticks: number, instructions: number): void {
    this.#pass(ticks, instructions, Math.floor(instructions / 5), false);
  }

  /** Halts until something is pending or `maxTicks` have passed. */
  halt(maxTicks: number): void {
    this.#deliver();
    if (this.#ports.interruptPending()) return;
    const ticks = Math.min(maxTicks, this.#ports.horizon());
    if (ticks > 0) this.#pass(ticks, 0, 0, true);
  }

  /** An interrupt that another CPU sends; it costs that one, not this. */
  receiveIpi(vector: number): void {
    this.#ports.wrmsr(X2APIC_SELF_IPI, BigInt(vector));
  }

  /** Sends an interrupt to another CPU: a write of the interrupt command register. */
  sendIpi(cpu: number, vector: number): void {
    this.wrmsr(X2APIC_ICR, (BigInt(cpu) << 32n) | BigInt(vector));
  }

  /** CLI … STI around `body`; NMIs still arrive. */
  withInterruptsOff<Result>(body: () => Result): Result {
    this.interruptsOff();
    try {
      return body();
    } finally {
      this.interruptsOn();
    }
  }

  interruptsOff(): void {
    this.#interruptsOff += 1;
  }

  interruptsOn(): void {
    this.#interruptsOff -= 1;
    this.#deliver();
  }

  onNmi(handler: NmiHandler): void {
    this.#nmiHandlers.push(handler);
  }

  onInterrupt(vector: number, handler: InterruptHandler): void {
    this.#interruptHandlers.set(vector, handler);
  }

  /** Runs the handlers for an NMI that a VM exit reported; NMIs stay blocked until they are done. */
  handleNmi(): void {
    const outer = this.#envelopes;
    this.#envelopes = [];
    this.#inNmi = true;
    let handled = 0;
    for (const handler of this.#nmiHandlers) handled += handler();
    if (handled === 0) this.unknownNmis += 1;
    this.#inNmi = false;
    this.#envelopes = outer;
    this.#deliver();
  }

  /** Runs the handler of a vector that was acknowledged, here or by a VM exit. */
  handleInterrupt(vector: number): void {
    const outer = this.#envelopes;
    this.#envelopes = [];
    this.#inInterrupt = true;
    this.spend('host-interrupt');
    const handler = this.#interruptHandlers.get(vector);
    if (!handler) {
      throw new CounterpointError('host-interrupt', `no handler for interrupt ${hex(vector)}`);
    }
    handler(vector);
    this.#inInterrupt = false;
    this.#envelopes = outer;
    this.#deliver();
  }

  /** Runs the guest that was entered, until a VM exit or until `maxTicks` have passed. */
  run(maxTicks: number): 'exit' | 'budget' {
    return this.#ports.run(maxTicks);
  }

  save(): SavedHostCpu {
    return {
      account: this.account.save(),
      operations: { ...this.operations },
      interruptsOff: this.#interruptsOff,
      needResched: this.needResched,
      unknownNmis: this.unknownNmis,
    };
  }

  restore(saved: SavedHostCpu): void {
    this.account.restore(saved.account);
    Object.assign(this.operations, saved.operations);
    this.#interruptsOff = saved.interruptsOff;
    this.needResched = saved.needResched;
    this.unknownNmis = saved.unknownNmis;
  }

  /** Spreads the work evenly over its ticks and stops at every deadline on the way, if there is one. */
  #pass(ticks: number, instructions: number, branches: number, halted: boolean): void {
    if (ticks > 0 && this.#ports.quiet(ticks)) {
      this.#ports.retire({ ticks, instructions, branches }, halted);
      return;
    }
    let done = 0;
    let retired = 0;
    let taken = 0;
    while (done < ticks) {
      const slice = Math.min(ticks - done, Math.max(1, this.#ports.horizon()));
      done += slice;
      const work = {
        ticks: slice,
        instructions: Math.floor((instructions * done) / ticks) - retired,
        branches: Math.floor((branches * done) / ticks) - taken,
      };
      this.#ports.retire(work, halted);
      retired += work.instructions;
      taken += work.branches;
      this.#ports.boundary();
      this.#deliver();
    }
  }

  #deliver(): void {
    if (this.#inNmi) return;
    if (this.#ports.takeNmi()) this.handleNmi();
    if (this.#inInterrupt || this.#interruptsOff > 0) return;
    const vector = this.#ports.takeInterrupt();
    if (vector !== undefined) this.handleInterrupt(vector);
  }
}

const describe = (outcome: VmxOutcome): string =>
  typeof outcome === 'string' ? outcome : `VMfailValid(${outcome.VMfailValid})`;
