import type { ApicMessage } from './message.ts';
import type { ApicState } from './state.ts';

/** Whether a message without shorthand is for this APIC. Vol. 3, "Determining IPI Destination". */
export function isDestination(state: ApicState, message: ApicMessage): boolean {
  const { destination, broadcast, logical } = message;
  if (!state.enabled) return false;
  if (!logical) return destination === broadcast || destination === state.id;
  if (state.extended) {
    if (destination === 0xffff_ffff) return true;
    const { logicalId } = state;
    return logicalId >>> 16 === destination >>> 16 && (logicalId & destination & 0xffff) !== 0;
  }
  const logicalId = state.registers.ldr >>> 24;
  if (state.registers.dfr >>> 28 === 0xf) return (logicalId & destination) !== 0;
  const cluster = destination >> 4 === 0xf || destination >> 4 === logicalId >> 4;
  return cluster && (destination & logicalId & 0xf) !== 0;
}
