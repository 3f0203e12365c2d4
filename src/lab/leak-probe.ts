import { hex } from '../bits/hex.ts';
import { perfOptionsOf, type VpmuDesign } from '../kvm/vpmu/designs.ts';
import { HostMachine, PROGRAM_BASE } from '../machine/host-machine.ts';
import { GuestCode } from './scenarios/guest-code.ts';

/** First address and number of registers that count, record or tell of others; of long banks the first. */
// biome-ignore format: a table
const RANGES: readonly (readonly [first: number, count: number])[] = [
  [0x0c1, 8], [0x0e7, 2], [0x186, 8], [0x1a6, 2], [0x1c8, 2], [0x1dd, 2], [0x309, 4], [0x329, 1], [0x38e, 5], [0x3f1, 2],
  [0x3f6, 2], [0x4c1, 8], [0x600, 1], [0x64e, 1], [0x680, 2], [0x6c0, 2], [0xdc0, 2], [0x14ce, 2], [0x1200, 2], [0x1500, 2],
  [0x1600, 2],
];
const ADDRESSES = RANGES.flatMap(([first, count]) =>
  Array.from({ length: count }, (_, i) => first + i),
);
/** RDPMC types and indices. Vol. 2, "RDPMC—Read Performance-Monitoring Counters". */
const SELECTIONS = [0, 0x2000_0000, 0x4000_0000, 0x8000_0000].flatMap((type) =>
  Array.from({ length: 8 }, (_, i) => (type | i) >>> 0),
);
const NAMES = [
  ...ADDRESSES.map((address) => `RDMSR ${hex(address)}`),
  ...SELECTIONS.map((ecx) => `RDPMC ${hex(ecx)}`),
];
/** Where in its memory the guest writes what it reads. */
const RESULTS = PROGRAM_BASE + 0x1_0000;

/** What the probe found. */
export interface LeakReport {
  /** Registers that the guest read first of all. */
  readonly probed: number;
  /** Those whose value followed what the host had left in its PMU: `RDPMC 0x40000003`. */
  readonly leaks: readonly string[];
}

/** Leaves a value in every register of the host's PMU that takes it. Controls stay: nothing counts. */
function leaveSecrets({ hosts }: HostMachine, secret: bigint): void {
  const isControl = (address: number) =>
    (address >= 0x186 && address <= 0x1a7) || address === 0x38f || address === 0x14ce;
  for (const address of ADDRESSES) {
    if (!isControl(address)) hosts[0]!.wrmsrSafe(address, secret);
  }
}

/** Reads every register once; a read that faults gives all ones. */
const PROBE = (() => {
  const code = new GuestCode().skipFaults().storeAt(RESULTS);
  for (const address of ADDRESSES) code.rdmsr(address).store();
  for (const ecx of SELECTIONS) code.rdpmc(ecx).store();
  return code.end().bytes;
})();

/**
 * Non-interference in small: the same guest reads the same registers on two hosts that differ only in what they left
 * in their PMUs. Whatever it reads differently has come from the host.
 */
export function findLeaks(design: VpmuDesign, profile: string): LeakReport {
  const [one, other] = [0x5aa5n, 0x1234_5678n].map((secret) => {
    const machine = new HostMachine({ profile, perf: perfOptionsOf(design) });
    leaveSecrets(machine, secret);
    const guest = machine.start({ code: PROBE, design });
    machine.finish();
    return NAMES.map((_, i) => guest.ram.read(RESULTS + 8 * i, 8));
  }) as [bigint[], bigint[]];
  return { probed: NAMES.length, leaks: NAMES.filter((_, i) => one[i] !== other[i]) };
}
