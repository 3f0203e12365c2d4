import type { Exposure, FuzzCase } from '../case.ts';
import { placeOf, type RegisterClass } from '../registers.ts';

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

/** A PMU by its numbers. */
export interface Shape {
  readonly version: number;
  readonly gp: number;
  readonly fixed: number;
  readonly anyThread: boolean;
  readonly metrics: boolean;
  readonly lbr: 'none' | 'legacy' | 'architectural';
  readonly lbrDepth: number;
  readonly pebs: boolean;
}

// biome-ignore format: a table
const PLAIN = { metrics: false, lbr: 'none', lbrDepth: 0, pebs: false } as const;

// biome-ignore format: a table
const HOSTS: Readonly<Record<string, Shape>> = {
  'sapphire-rapids':       { version: 5, gp: 8, fixed: 4, anyThread: false, ...PLAIN },
  'skylake-server':        { version: 4, gp: 8, fixed: 3, anyThread: true,  ...PLAIN },
  'sapphire-rapids-whole': { version: 5, gp: 8, fixed: 4, anyThread: false, metrics: true,  lbr: 'architectural', lbrDepth: 32, pebs: true },
  'skylake-server-whole':  { version: 4, gp: 8, fixed: 3, anyThread: true,  metrics: false, lbr: 'legacy',        lbrDepth: 32, pebs: true },
};

export const hostShape = (profile: string): Shape => HOSTS[profile]!;

/** What KVM tells a guest: version 2, at most 8 and 3 counters unless user space asks for more. */
export function guestShape(profile: string, design: string, exposure: Exposure): Shape {
  const host = hostShape(profile);
  const plain = { ...host, ...PLAIN, anyThread: false };
  const gives = RIGHTS[design]!.extras === 'direct' && exposure === 'all';
  const lbr = gives && host.lbr === 'architectural';
  const extras = {
    metrics: gives && host.metrics,
    ...(lbr && { lbr: host.lbr, lbrDepth: host.lbrDepth }),
  };
  switch (exposure) {
    case 'none':
      return { ...plain, version: 0, gp: 0, fixed: 0 };
    case 'half':
      return { ...plain, version: 2, gp: 4, fixed: 2 };
    case 'default':
      return { ...plain, version: 2, gp: host.gp, fixed: Math.min(3, host.fixed) };
    case 'all':
      return { ...plain, version: 2, ...extras };
  }
}

const isWhole = (guest: Shape, host: Shape) =>
  guest.version >= 2 && guest.gp === host.gp && guest.fixed === host.fixed;

/** MSRs that are the guest's own anyway: SYSENTER, FS and GS bases, the SYSCALL registers, TSC_AUX. */
const OWN_ANYWAY: ReadonlySet<number> = new Set([
  ...[0x174, 0x175, 0x176, 0xc000_0081, 0xc000_0082, 0xc000_0083, 0xc000_0084],
  ...[0xc000_0100, 0xc000_0101, 0xc000_0102, 0xc000_0103],
]);

/** Which right decides about an MSR; undefined: the hypervisor answers, always. */
function rightOf(kind: RegisterClass, index: number, guest: Shape): keyof Rights | undefined {
  switch (kind) {
    case 'PMC':
    case 'A_PMC':
      return index < guest.gp ? 'counters' : undefined;
    case 'FIXED_CTR':
      return index < guest.fixed ? 'counters' : undefined;
    case 'PERFEVTSEL':
      return index < guest.gp ? 'selectors' : undefined;
    case 'FIXED_CTR_CTRL':
      return guest.version >= 2 ? 'selectors' : undefined;
    case 'GLOBAL_CTRL':
      return guest.version >= 2 ? 'globalCtrl' : undefined;
    case 'GLOBAL_STATUS':
    case 'OVF_CTRL':
      return guest.version >= 2 ? 'status' : undefined;
    case 'PERF_METRICS':
      return guest.metrics ? 'extras' : undefined;
    default:
      return undefined;
  }
}

/** The architectural LBR registers a guest of this shape has. */
const isGuestLbr = (address: number, { lbr, lbrDepth }: Shape): boolean => {
  if (lbr !== 'architectural') return false;
  const inBank = (base: number) => address >= base && address < base + lbrDepth;
  return address === 0x14ce || address === 0x14cf || [0x1200, 0x1500, 0x1600].some(inBank);
};

const passes = (right: Right, whole: boolean) =>
  right === 'direct' || (right === 'direct-if-whole' && whole);

/** Whether RDMSR or WRMSR of an address is to exit, by the policy alone. */
export function msrExits(
  { design, profile, exposure }: Pick<FuzzCase, 'design' | 'profile' | 'exposure'>,
  address: number,
): boolean {
  if (OWN_ANYWAY.has(address)) return false;
  const guest = guestShape(profile, design, exposure);
  const place = placeOf(address);
  if (place.version6) return true;
  const rights = RIGHTS[design]!;
  const whole = isWhole(guest, hostShape(profile));
  if (isGuestLbr(address, guest)) return !passes(rights.extras, whole);
  const right = rightOf(place.class, place.index, guest);
  return right === undefined || !passes(rights[right], whole);
}

/** Whether RDPMC is to exit. */
export function rdpmcExits({
  design,
  profile,
  exposure,
}: Pick<FuzzCase, 'design' | 'profile' | 'exposure'>): boolean {
  const whole = isWhole(guestShape(profile, design, exposure), hostShape(profile));
  return !passes(RIGHTS[design]!.rdpmc, whole);
}
