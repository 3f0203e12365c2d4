import { ApicBus } from '../apic/apic-bus.ts';
import type { EngineFactory } from '../cpu/engines/engine.ts';
import type { IoPort } from '../cpu/ports.ts';
import { INTERPRETER } from '../cpu/state/layout.ts';
import { PhysicalMemory } from '../memory/physical-memory.ts';
import { attachApicPage } from './board.ts';
import { Processor } from './processor.ts';
import type { Profile } from './profiles.ts';
import { randomSource } from './random.ts';

const APIC_PAGE = 0xfee0_0000;

/** Memory and processors: what a guest or a host runs on. */
export class Hardware {
  readonly profile: Profile;
  readonly memory: PhysicalMemory;
  readonly processors: readonly Processor[];
  /** The processor that is executing, whose APIC the APIC page reaches. */
  current: Processor;

  /** @param memorySize bytes of RAM; @param io what IN and OUT of the processors reach. */
  constructor(parts: {
    profile: Profile;
    memorySize: number;
    processors?: number;
    engine: EngineFactory;
    io: IoPort;
    seed: string;
  }) {
    const { profile, memorySize, processors = 1, engine, io, seed } = parts;
    this.profile = profile;
    this.memory = new PhysicalMemory({
      ramSize: memorySize,
      reserved: processors * INTERPRETER.SIZE,
    });
    const random = randomSource(seed);
    const apics = new ApicBus();
    this.processors = Array.from(
      { length: processors },
      (_, id) =>
        new Processor({
          id,
          processors,
          profile,
          memory: this.memory,
          stateBase: id * INTERPRETER.SIZE,
          engine,
          io,
          random,
          send: (message, from) => apics.send(message, from.apic),
        }),
    );
    for (const { apic } of this.processors) apics.attach(apic);
    this.current = this.processors[0]!;
    attachApicPage(this.memory, APIC_PAGE, () => this.current.apic.page);
  }
}
