import { ApicBus } from '../apic/apic-bus.ts';
import type { ApicMessage } from '../apic/message.ts';
import type { EngineFactory } from '../cpu/engines/engine.ts';
import type { IoPort } from '../cpu/ports.ts';
import { INTERPRETER } from '../cpu/state/layout.ts';
import { PhysicalMemory } from '../memory/physical-memory.ts';
import { attachApicPage } from './board.ts';
import { Processor, type ProcessorParts } from './processor.ts';
import { restoreProcessor, saveProcessor } from './processor-snapshot.ts';
import type { Profile } from './profiles.ts';
import { RandomSource } from './random.ts';

const APIC_PAGE = 0xfee0_0000;

/** Memory and processors: what a guest or a host runs on. */
export class Hardware {
  readonly profile: Profile;
  /** Seed of everything random. */
  readonly seed: string;
  readonly memory: PhysicalMemory;
  readonly processors: readonly Processor[];
  /** The processor that is executing, whose APIC the APIC page reaches. */
  current: Processor;
  readonly #apics = new ApicBus();
  readonly #random: RandomSource;

  /** @param memorySize bytes of RAM; @param io what IN and OUT of the processors reach. */
  constructor(parts: {
    profile: Profile;
    memorySize: number;
    /** Bytes of linear memory for the engine of each processor: decoded code, in the main. */
    engineMemory?: number;
    processors?: number;
    engine: EngineFactory;
    io: IoPort;
    seed: string;
    /** Timed devices, by the bootstrap processor's clock. */
    devices?: ProcessorParts['devices'];
    endOfInterrupt?: (vector: number) => void;
  }) {
    const { profile, memorySize, processors = 1, engine, io, seed, endOfInterrupt } = parts;
    const { engineMemory = INTERPRETER.SIZE } = parts;
    this.profile = profile;
    this.seed = seed;
    this.memory = new PhysicalMemory({
      ramSize: memorySize,
      reserved: processors * engineMemory,
    });
    this.#random = new RandomSource(seed);
    this.processors = Array.from(
      { length: processors },
      (_, id) =>
        new Processor({
          id,
          processors,
          profile,
          memory: this.memory,
          stateBase: id * engineMemory,
          stateSize: engineMemory,
          engine,
          io,
          random: this.#random.next,
          send: (message, from) => this.#apics.send(message, from.apic),
          ...(endOfInterrupt && { endOfInterrupt }),
          ...(parts.devices && id === 0 && { devices: parts.devices }),
        }),
    );
    for (const { apic } of this.processors) this.#apics.attach(apic);
    this.current = this.processors[0]!;
    attachApicPage(this.memory, APIC_PAGE, () => this.current.apic.page);
  }

  /** An interrupt message from a device. */
  send(message: ApicMessage): void {
    this.#apics.send(message);
  }

  /** Everything of the processors that is not memory, as plain data. */
  save() {
    return {
      processors: this.processors.map(saveProcessor),
      current: this.processors.indexOf(this.current),
      random: this.#random.save(),
    };
  }

  /** For hardware made alike, whose memory has been restored already. */
  restore(saved: ReturnType<Hardware['save']>): void {
    for (const [at, processor] of this.processors.entries()) {
      restoreProcessor(processor, saved.processors[at]!);
    }
    this.current = this.processors[saved.current]!;
    this.#random.restore(saved.random);
  }
}
