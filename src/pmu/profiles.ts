import { ones } from '../bits/bitfield.ts';
import type { PmuShape } from '../msr/pmu-shape.ts';
import {
  ARCHITECTURAL_EVENTS,
  type EventRow,
  SAPPHIRE_RAPIDS_EVENTS,
  SKYLAKE_EVENTS,
} from './events.ts';

/** A PMU as some processor has it: its shape and the events it knows. */
export interface PmuProfile {
  readonly name: string;
  readonly shape: PmuShape;
  readonly events: readonly EventRow[];
}

/** Version 5, eight and four counters of 48 bits. Four of the slots events are this model's, not in leaf 0AH's vector. */
export const SAPPHIRE_RAPIDS: PmuProfile = {
  name: 'sapphire-rapids',
  shape: {
    version: 5,
    gp: ones(8),
    gpWidth: 48,
    fixed: ones(4),
    fixedWidth: 48,
    anyThread: false,
    pdcm: true,
    fullWidthWrites: true,
    eventsMissing: 0n,
    eventVectorLength: 8,
  },
  events: [...ARCHITECTURAL_EVENTS, ...SAPPHIRE_RAPIDS_EVENTS],
};

/** Version 4, three fixed counters of 48 bits; eight general-purpose ones as one thread has them without SMT. */
export const SKYLAKE_SERVER: PmuProfile = {
  name: 'skylake-server',
  shape: {
    version: 4,
    gp: ones(8),
    gpWidth: 48,
    fixed: ones(3),
    fixedWidth: 48,
    anyThread: true,
    pdcm: true,
    fullWidthWrites: true,
    eventsMissing: 0n,
    eventVectorLength: 7,
  },
  events: [...ARCHITECTURAL_EVENTS.slice(0, 7), ...SKYLAKE_EVENTS],
};

/** The profiles by name. */
export const PMU_PROFILES: Readonly<Record<string, PmuProfile>> = {
  [SAPPHIRE_RAPIDS.name]: SAPPHIRE_RAPIDS,
  [SKYLAKE_SERVER.name]: SKYLAKE_SERVER,
};
