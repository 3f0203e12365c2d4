import type { PmuCore } from './ports.ts';
import type { Total } from './totals.ts';

/** What the PMU wants of the core beside totals, for what counts now. */
export interface Demand {
  readonly branches: boolean;
  readonly sampling: boolean;
}

/** Tells the core what the PMU wants of it, when that has changed; and each time that the horizon may have. */
export class Demands {
  readonly #core: PmuCore;
  #totals = '';
  #branches = false;
  #sampling = false;

  constructor(core: PmuCore) {
    this.#core = core;
  }

  /** The totals that what counts now reads. */
  keep(totals: ReadonlySet<Total>): void {
    // LBR inserts happen in the PMU itself and are no business of the core.
    const names = [...totals].filter((name) => name !== 'lbrInserts').sort();
    const key = names.join(' ');
    if (key === this.#totals) return;
    this.#totals = key;
    this.#core.arm(names);
  }

  tell({ branches, sampling }: Demand): void {
    if (branches !== this.#branches) {
      this.#branches = branches;
      this.#core.traceBranches?.(branches);
    }
    if (sampling !== this.#sampling) {
      this.#sampling = sampling;
      this.#core.sampling?.arm(sampling);
    }
    this.changed();
  }

  /** The horizon may have changed. */
  changed(): void {
    this.#core.changed();
  }
}
