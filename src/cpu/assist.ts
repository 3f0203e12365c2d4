import { STATE } from './state/layout.ts';
import type { State } from './state/state.ts';

/**
 * Plain TypeScript behind `Emit.assist`, `Emit.effect` and `Emit.vector`. Arguments stand in the slots of the state
 * block's SCRATCH in their order, zero-extended to 16 bytes; results go to the slots from the first on.
 */
export type Assist = (state: State) => void;

/** Offset in the state block of the i-th argument or result. */
export const slot = (i: number): number => STATE.SCRATCH + 16 * i;
