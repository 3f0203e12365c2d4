import { LocalApic } from '../apic/local-apic.ts';
import type { ApicMessage } from '../apic/message.ts';
import type { ExternalInterrupts } from '../apic/ports.ts';
import { isSet } from '../bits/bitfield.ts';
import { ACTIVITY } from '../cpu/control-registers.ts';
import { Cpu } from '../cpu/cpu.ts';
import { cpuid } from '../cpu/cpuid.ts';
import type { EngineFactory } from '../cpu/engines/engine.ts';
import type { CpuPorts, IoPort } from '../cpu/ports.ts';
import { coreFeatures } from '../cpu/profiles.ts';
import { STATE } from '../cpu/state/layout.ts';
import { State } from '../cpu/state/state.ts';
import { tsc } from '../cpu/system/register-access.ts';
import { attachSystemMsrs } from '../cpu/system/system-msrs.ts';
import type { PhysicalMemory } from '../memory/physical-memory.ts';
import { MsrBus, type ReadOutcome, type WriteOutcome } from '../msr/bus.ts';
import { DEBUGCTL } from '../msr/pmu.ts';
import { TICKS_PER_CRYSTAL_CYCLE } from '../msr/pmu-shape.ts';
import { Pmu } from '../pmu/pmu.ts';
import { Vmx } from '../vmx/vmx.ts';
import { Instruments } from './instruments.ts';
import type { Profile } from './profiles.ts';

const IA32_DEBUGCTL = 0x1d9;

/** What a processor is made from. */
export interface ProcessorParts {
  readonly id: number;
  /** How many there are in all. */
  readonly processors: number;
  readonly profile: Profile;
  readonly memory: PhysicalMemory;
  /** Where its state block lies in linear memory, and how much of that is its own. */
  readonly stateBase: number;
  readonly stateSize: number;
  readonly engine: EngineFactory;
  readonly io: IoPort;
  /** 64 random bits from the run's seed. */
  readonly random: () => bigint;
  /** An interrupt message to the other processors' APICs. */
  readonly send: (message: ApicMessage, from: Processor) => void;
  /** EOI of a level-triggered vector, told to the I/O APIC. */
  readonly endOfInterrupt?: (vector: number) => void;
  /** Devices that keep time by this processor's clock: the bootstrap processor's alone. */
  readonly devices?: TimedDevices;
}

/** Devices around a processor: when they next have something to do, and the i8259 pair among them. */
export interface TimedDevices {
  /** The tick of the next event, Infinity when there is none. */
  nextDeadline(): number;
  elapse(): void;
  readonly external: ExternalInterrupts;
}

/** An access that no hypervisor saw; `value` is what was read or written. */
export interface DirectAccess {
  readonly kind: 'RDMSR' | 'WRMSR' | 'RDPMC';
  /** ECX. */
  readonly address: number;
  readonly value: bigint | '#GP';
}

/** What a processor tells a PMU beside its own. */
export type Companion = Pick<Pmu, 'settle' | 'modeChanged' | 'horizon'>;

/** One logical processor and what belongs to it alone: core, MSRs, PMU, local APIC, VMX, wired together. */
export class Processor {
  readonly state: State;
  readonly msrs = new MsrBus();
  readonly cpu: Cpu;
  readonly pmu: Pmu;
  readonly apic: LocalApic;
  readonly vmx: Vmx;
  readonly instruments: Instruments;
  readonly cpuid: CpuPorts['cpuid'];
  readonly #devices: TimedDevices | undefined;
  /** The tick at which something falls due, as of the core's so many attentions. */
  #due = 0;
  #lookedAt = -1;
  /** Hear of every RDMSR, WRMSR and RDPMC that code on this processor executes itself, once it is done. */
  readonly accessed: ((access: DirectAccess) => void)[] = [];
  /** Hears of every interrupt that code on this processor takes. */
  onInterrupt: ((interrupt: number | 'NMI') => void) | undefined;
  /** Another PMU that counts along, for comparison; it is told before the processor's own. */
  companion: Companion | undefined;

  constructor(parts: ProcessorParts) {
    const { id, processors, profile, memory, engine, io, random, send } = parts;
    const features = coreFeatures(profile.cpu, profile.pmu.shape);
    const state = new State(memory.linear, parts.stateBase, parts.stateSize);
    const attention = () => this.cpu?.attention();
    this.state = state;
    this.#devices = parts.devices;
    this.cpuid = cpuid(profile.cpu, profile.pmu.shape, { apicId: id, processors });

    this.apic = new LocalApic(
      {
        id,
        bootstrap: id === 0,
        physicalAddressBits: profile.cpu.physicalWidth,
        ticksPerTimerCount: TICKS_PER_CRYSTAL_CYCLE,
      },
      {
        now: () => state.ticks,
        tsc: () => this.tsc(),
        send: (message) => send(message, this),
        attention,
        eoi: (vector) => parts.endOfInterrupt?.(vector),
        waitsForSipi: () => state.get32(STATE.ACTIVITY) === ACTIVITY.WAIT_FOR_SIPI,
        taken: (interrupt) => this.onInterrupt?.(interrupt),
        ...(parts.devices && { external: parts.devices.external }),
      },
    );
    this.instruments = new Instruments({
      cpu: () => this.cpu,
      timing: profile.timing,
      branch: (taken) => this.pmu.branch(taken),
    });
    this.pmu = new Pmu({
      profile: profile.pmu,
      totals: { read: (name) => state.total(name) },
      core: {
        changed: attention,
        arm: (names) => this.instruments.arm(names),
        traceBranches: (on) => this.instruments.traceBranches(on),
        sampling: this.instruments.sampling,
      },
      timing: profile.timing ? 'modelled' : 'unit',
      ...(profile.deviations && { deviations: profile.deviations }),
      raisePmi: () => this.apic.raisePmi(),
    });
    this.apic.attach(this.msrs);
    this.pmu.attach(this.msrs);
    this.vmx = new Vmx({ shape: profile.vmx, memory, msr: this.msrs });

    this.cpu = new Cpu({
      state,
      ports: this.#ports(memory, io, random),
      features,
      engine,
    });
    this.vmx.connect(this.cpu.core);
    attachSystemMsrs(this.msrs, this.cpu.core);
  }

  /** The time-stamp counter as RDTSC reads it in root operation. */
  tsc(): bigint {
    return tsc(this.cpu.core);
  }

  /** Most ticks that may pass before something of this processor falls due; at least 1. */
  horizon(): number {
    const deadline = Math.min(
      this.apic.nextDeadline(),
      this.#devices?.nextDeadline() ?? Number.POSITIVE_INFINITY,
    );
    const timer = deadline - this.state.ticks;
    const pmu = Math.min(this.pmu.horizon(), this.companion?.horizon() ?? Number.POSITIVE_INFINITY);
    return Math.max(1, Math.min(pmu, timer, this.vmx.horizon()));
  }

  /**
   * Whether so many ticks may pass in root mode with nothing falling due, at their end neither: nothing need be looked
   * at then. What moves a deadline asks for the core's attention.
   */
  quiet(ticks: number): boolean {
    const now = this.state.ticks;
    if (this.cpu.attentions !== this.#lookedAt || now >= this.#due) {
      this.#settle();
      if (this.apic.nmiPending() || this.apic.pendingVector() !== undefined) return false;
      this.#lookedAt = this.cpu.attentions;
      this.#due = now + this.horizon();
    }
    return now + ticks < this.#due;
  }

  /** Brings the devices up to date and fires what is due. */
  boundary(): void {
    this.#settle();
    this.apic.elapse();
    this.#devices?.elapse();
  }

  rdmsr(address: number): ReadOutcome {
    return this.msrs.rdmsr(address);
  }

  wrmsr(address: number, value: bigint): WriteOutcome {
    return this.msrs.wrmsr(address, value);
  }

  #settle(): void {
    this.companion?.settle();
    this.pmu.settle();
  }

  #done(kind: DirectAccess['kind'], address: number, value: bigint | '#GP'): void {
    for (const tell of this.accessed) tell({ kind, address, value });
  }

  #ports(memory: PhysicalMemory, io: IoPort, random: () => bigint): CpuPorts {
    return {
      memory,
      msr: {
        rdmsr: (address) => {
          this.companion?.settle();
          const value = this.msrs.rdmsr(address);
          this.#done('RDMSR', address, value === 'unclaimed' ? '#GP' : value);
          return value;
        },
        wrmsr: (address, value) => {
          this.companion?.settle();
          const outcome = this.msrs.wrmsr(address, value);
          this.#done('WRMSR', address, outcome === 'done' ? value : '#GP');
          return outcome;
        },
      },
      io,
      interrupts: this.apic,
      time: {
        horizon: () => this.horizon(),
        boundary: () => this.boundary(),
        modeChanging: () => this.#settle(),
        modeChanged: (mode) => {
          this.companion?.modeChanged(mode);
          this.pmu.modeChanged(mode);
        },
      },
      rdpmc: (ecx) => {
        this.companion?.settle();
        const value = this.pmu.rdpmc(ecx);
        this.#done('RDPMC', ecx, value);
        return value;
      },
      cpuid: this.cpuid,
      random,
      branched: (from, to, cplFrom, cplTo) => this.instruments.far(from, to, cplFrom, cplTo),
      predictionBarrier: () => this.instruments.predictionBarrier(),
      debug: {
        branchesOnly: () => isSet(this.pmu.debugctl, DEBUGCTL.BTF),
        delivered: () => {
          const { debugctl } = this.pmu;
          const ended = DEBUGCTL.LBR | DEBUGCTL.BTF;
          if (isSet(debugctl, ended)) this.msrs.wrmsr(IA32_DEBUGCTL, debugctl & ~ended);
        },
      },
      ...(this.pmu.lbrState && { lbrs: this.pmu.lbrState }),
      vmx: this.vmx,
    };
  }
}
