import { BareMachine } from '../machine/bare.ts';
import { ENGINES } from '../machine/create.ts';
import {
  restoreProcessor,
  type SavedProcessor,
  saveProcessor,
} from '../machine/processor-snapshot.ts';
import type { FuzzCase } from './case.ts';
import type { Chamber } from './chamber.ts';
import { dirtyEnd, type Mode, stubImage } from './guest/image.ts';
import { enableApic, setLvtpc } from './guest/interrupts.ts';
import { CHAMBER_MEMORY, HOST_PORT, LAYOUT, READY_PORT } from './guest/layout.ts';
import { type ExitRecord, readExits, readStored, writeNested } from './guest/nested-tables.ts';
import { statusOf } from './guest/status.ts';
import { readNmis, readResults, type StepResult, writeSteps } from './guest/tables.ts';
import { profileOf } from './profiles.ts';

const BUDGET = 10_000_000;

interface Saved {
  readonly dirty: Uint8Array;
  readonly processor: SavedProcessor;
}

export interface BareTrace {
  readonly steps: readonly StepResult[];
  readonly nmis: number;
  /** How the run ended: `end` is the guest's own end. */
  readonly end: string;
  /** Of a guest that is a hypervisor: the exits it took; undefined where it was at a loss. */
  readonly toL1: readonly ExitRecord[] | undefined;
  /** And what its exit MSR-store list holds at the end. */
  readonly stored: readonly bigint[];
}

/** The guest of a chamber on a processor of its own, whose PMU is the one that the hypervisor shows the guest. */
export class BareChamber {
  readonly #machine: BareMachine;
  readonly #dirty: DataView;
  readonly #shape: Parameters<typeof statusOf>[1];
  readonly #boot: Saved;
  readonly #snapshots = new Map<string, Saved>();

  /** @param nested whether it executes cases with a guest's guest */
  constructor(chamber: Chamber, nested: boolean) {
    const profile = profileOf(chamber.parts.profile);
    const { shape } = chamber.guest.vcpu.vpmu.pmu;
    this.#shape = shape;
    this.#machine = new BareMachine({
      image: stubImage({ cpl: 0, pce: false, nested }),
      profile: { ...profile, pmu: { ...profile.pmu, name: 'guest', shape } },
      memorySize: CHAMBER_MEMORY.guestsMemory,
      engineMemory: CHAMBER_MEMORY.engineMemory,
      engine: ENGINES['interpreter']!,
      seed: 'bare',
    });
    const { hardware, board } = this.#machine;
    board.ports.attach(READY_PORT, 1, {
      read: () => 0,
      write: () => hardware.current.cpu.stop(),
    });
    board.ports.attach(HOST_PORT, 1, { read: () => 0, write: () => {} });
    const { linear } = hardware.memory;
    const start = hardware.memory.offset(LAYOUT.DIRTY);
    this.#dirty = new DataView(linear.buffer, start, dirtyEnd(nested) - LAYOUT.DIRTY);
    enableApic(this.#processor.apic.page);
    this.#boot = this.#save();
  }

  run(fuzzed: FuzzCase): BareTrace {
    this.#restore(this.#snapshot(fuzzed));
    writeSteps(this.#dirty, fuzzed.steps);
    if (fuzzed.nested) writeNested(this.#dirty, fuzzed.nested);
    const { msrs, apic, cpu, pmu } = this.#processor;
    for (const [address, value] of fuzzed.registers) msrs.wrmsr(address, BigInt(value));
    const { globals, ...saved } = pmu.save();
    const status = globals.status | statusOf(fuzzed, this.#shape);
    if (fuzzed.status) pmu.restore({ ...saved, globals: { ...globals, status } });
    setLvtpc(apic.page, fuzzed);
    if (fuzzed.pending) apic.raisePmi();
    const { reason } = cpu.run(BUDGET);
    return {
      steps: readResults(this.#dirty, fuzzed.steps.length),
      nmis: readNmis(this.#dirty),
      end: reason === 'halted' ? 'end' : reason,
      toL1: fuzzed.nested ? readExits(this.#dirty) : [],
      stored: readStored(this.#dirty, fuzzed),
    };
  }

  get #processor() {
    return this.#machine.hardware.current;
  }

  #snapshot(mode: Mode): Saved {
    const key = `${mode.cpl} ${mode.pce}`;
    const known = this.#snapshots.get(key);
    if (known) return known;
    this.#restore(this.#boot);
    stubImage(mode).load(this.#machine.hardware.memory);
    const { reason } = this.#processor.cpu.run(BUDGET);
    if (reason !== 'stopped') throw new RangeError(`the bare guest did not come up: ${reason}`);
    const made = this.#save();
    this.#snapshots.set(key, made);
    return made;
  }

  get #bytes(): Uint8Array {
    const { buffer, byteOffset, byteLength } = this.#dirty;
    return new Uint8Array(buffer, byteOffset, byteLength);
  }

  #save(): Saved {
    return { dirty: this.#bytes.slice(), processor: saveProcessor(this.#processor) };
  }

  #restore(saved: Saved): void {
    this.#bytes.set(saved.dirty);
    restoreProcessor(this.#processor, saved.processor, { samePages: true });
  }
}
