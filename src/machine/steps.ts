import type { EngineFactory } from '../cpu/engines/engine.ts';
import { type Step, TracingEngine } from '../cpu/engines/tracing.ts';

export type { Step };

/** Lets somebody see each instruction of a machine's guest before it is executed; nothing of the run changes but its speed. */
export class Steps {
  /** What the machine must be made with: another engine, with an eye on it. */
  readonly engine: EngineFactory;
  readonly #engines: TracingEngine[] = [];

  constructor(engine: EngineFactory) {
    this.engine = (core) => {
      const tracing = new TracingEngine(core, engine(core));
      this.#engines.push(tracing);
      return tracing;
    };
  }

  /** From now on, or no more. */
  tell(listener: ((processor: number, step: Step) => void) | undefined): void {
    for (const [processor, engine] of this.#engines.entries()) {
      engine.tell = listener && ((step) => listener(processor, step));
    }
  }
}
