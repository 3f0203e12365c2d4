import { Oracle } from '../cpu/engines/oracle/oracle.ts';
import type { EventRow } from '../pmu/events.ts';
import { Hardware } from './hardware.ts';
import { profileNamed } from './profiles.ts';

/** An event as a list shows it. */
export type ListedEvent = Pick<EventRow, 'name' | 'event' | 'umask' | 'exactness'>;

/** The events a profile's PMU knows, by encoding. @throws CounterpointError */
export const events = (profile: string): ListedEvent[] =>
  [...profileNamed(profile).pmu.events].sort((a, b) => a.event - b.event || a.umask - b.umask);

/** A register as a list shows it. */
export interface ListedMsr {
  readonly address: number;
  readonly name: string;
  /** Bits a write may set, or `'none'`. */
  readonly writable: bigint | 'none';
  readonly reset: bigint;
  readonly sdm: string;
}

/** The MSRs of a profile's processor, by address. @throws CounterpointError */
export function msrs(profile: string): ListedMsr[] {
  const { current } = new Hardware({
    profile: profileNamed(profile),
    memorySize: 1 << 20,
    engine: (core) => new Oracle(core),
    io: { read: () => 0, write: () => {} },
    seed: '',
  });
  return [...current.msrs.registers()].map(({ address, name, row }) => ({
    address,
    name: name.replace(/ \(.*/, ''),
    writable: row.writable,
    reset: row.reset ?? 0n,
    sdm: row.sdm,
  }));
}
