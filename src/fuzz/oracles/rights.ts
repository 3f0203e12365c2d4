/** Whether an access leaves the guest: always, never, or never if the guest has all that the host has. */
export type Right = 'exit' | 'direct' | 'direct-if-whole';

/** Who may see what without the hypervisor. */
export interface Rights {
  readonly counters: Right;
  readonly globalCtrl: Right;
  /** GLOBAL_STATUS and OVF_CTRL. */
  readonly status: Right;
  readonly selectors: Right;
  readonly rdpmc: Right;
  /** PERF_METRICS and last branch records of a guest that was given them. */
  readonly extras: Right;
}

// biome-ignore format: a table
const EMULATED: Rights = { counters: 'exit',   globalCtrl: 'exit',            status: 'exit',            selectors: 'exit',   rdpmc: 'exit',            extras: 'exit' };
// biome-ignore format: a table
const MERGED: Rights   = { counters: 'direct', globalCtrl: 'direct-if-whole', status: 'direct-if-whole', selectors: 'exit',   rdpmc: 'direct-if-whole', extras: 'exit' };
// biome-ignore format: a table
const RFC_V1: Rights   = { counters: 'direct', globalCtrl: 'direct',          status: 'direct',          selectors: 'direct', rdpmc: 'direct',          extras: 'exit' };

/** By design, from what was posted and merged; written apart from the designs themselves. */
export const RIGHTS: Readonly<Record<string, Rights>> = {
  emulated: EMULATED,
  'emulated-priority': EMULATED,
  'emulated-sides': EMULATED,
  'emulated-identity': { ...EMULATED, globalCtrl: 'direct-if-whole' },
  'emulated-all-three': { ...EMULATED, globalCtrl: 'direct-if-whole' },
  mediated: MERGED,
  'mediated-extras': { ...MERGED, extras: 'direct' },
  'guest-owned': MERGED,
  'opt-out': MERGED,
  blend: MERGED,
  'rfc-v1': RFC_V1,
  'rfc-v1-filter': { ...RFC_V1, selectors: 'exit' },
};
