import { bit, ones } from '../../bits/bitfield.ts';
import type { Exposure } from '../case.ts';
import { RIGHTS } from './rights.ts';

/** A PMU by its numbers. */
export interface Shape {
  readonly version: number;
  /** Counters, one bit each. */
  readonly gp: bigint;
  readonly fixed: bigint;
  /** Bits of a counter. */
  readonly width: number;
  /** Counters can be written whole, from 4C1H on. */
  readonly fullWidth: boolean;
  readonly anyThread: boolean;
  readonly metrics: boolean;
  readonly lbr: 'none' | 'legacy' | 'architectural';
  readonly lbrDepth: number;
  /** Records in the DS area, adaptive ones there, or those of version 6. */
  readonly pebs: 'none' | 'basic' | 'adaptive' | 'architectural';
  /** Bits of OFFCORE_RSP and FRONTEND, where there are such selectors. */
  readonly selectors: { readonly offcore: bigint; readonly frontEnd: bigint } | undefined;
  /** UMASK2, EQ, RDPMC user disable, and the addresses of counters from 1900H on. */
  readonly extended: boolean;
}

const NOTHING_ELSE = {
  metrics: false,
  lbr: 'none',
  lbrDepth: 0,
  pebs: 'none',
  selectors: undefined,
  extended: false,
} as const;

const counters = (gp: number, fixed: number, width = 48) =>
  ({
    gp: ones(gp),
    fixed: ones(fixed),
    width,
    fullWidth: true,
    anyThread: false,
    ...NOTHING_ELSE,
  }) as const;

const LEGACY_LBR = { lbr: 'legacy', lbrDepth: 32 } as const;
const SKYLAKE = { version: 4, ...counters(8, 3), anyThread: true } as const;

// biome-ignore format: a table
const HOSTS: Readonly<Record<string, Shape>> = {
  'sapphire-rapids':       { version: 5, ...counters(8, 4) },
  'skylake-server':        SKYLAKE,
  'sapphire-rapids-whole': { version: 5, ...counters(8, 4), metrics: true, lbr: 'architectural', lbrDepth: 32, pebs: 'adaptive', selectors: { offcore: ones(38), frontEnd: 0x7f_ff1fn } },
  'skylake-server-whole':  { ...SKYLAKE, ...LEGACY_LBR, pebs: 'basic', selectors: { offcore: 0x3f_ffff_8fffn, frontEnd: 0x7f_ff17n } },
  'ice-lake-server':       { version: 5, ...counters(8, 4), metrics: true, ...LEGACY_LBR, pebs: 'adaptive', selectors: { offcore: 0x3f_ffff_bfffn, frontEnd: 0x7f_ff17n } },
  'perfmon-v2':            { version: 2, ...counters(2, 3, 40), fullWidth: false },
  'perfmon-v3':            { version: 3, ...counters(4, 3), anyThread: true },
  'perfmon-v4':            { version: 4, ...counters(4, 3), anyThread: true },
  'perfmon-v5':            { version: 5, ...counters(8, 4) },
  'perfmon-v6':            { version: 6, ...counters(8, 7), gp: 0b1011_0111n, fixed: 0b0111_0111n, pebs: 'architectural', extended: true },
};

/** Processors that the policy knows. */
export const KNOWN_PROFILES: readonly string[] = Object.keys(HOSTS);

export const hostShape = (profile: string): Shape => HOSTS[profile]!;

export const hasCounter = (bank: bigint, index: number): boolean =>
  ((bank >> BigInt(index)) & 1n) !== 0n;

/** The lowest `most` counters of a bank, as far as they follow one another: a guest is told a number, not a map. */
function first(most: number, bank: bigint): bigint {
  let told = 0n;
  for (let index = 0; index < most && hasCounter(bank, index); index++) told |= bit(index);
  return told;
}

/** What KVM tells a guest: version 2, at most 8 and 3 counters unless user space asks for more. */
export function guestShape(profile: string, design: string, exposure: Exposure): Shape {
  const host = hostShape(profile);
  const plain: Shape = { ...host, ...NOTHING_ELSE, anyThread: false };
  const { extras, counters: right } = RIGHTS[design]!;
  const all = exposure === 'all';
  switch (exposure) {
    case 'none':
      return { ...plain, version: 0, gp: 0n, fixed: 0n };
    case 'half':
      return { ...plain, version: 2, gp: first(4, host.gp), fixed: first(2, host.fixed) };
    case 'default':
    case 'all': {
      const lbr = all && host.lbr === (right === 'exit' ? 'legacy' : 'architectural');
      const hands = all && extras === 'direct';
      return {
        ...plain,
        version: 2,
        gp: first(8, host.gp),
        fixed: first(all ? 16 : 3, host.fixed),
        metrics: hands && host.metrics,
        ...((host.lbr === 'legacy' ? lbr : lbr && hands) && {
          lbr: host.lbr,
          lbrDepth: host.lbrDepth,
        }),
      };
    }
  }
}

/** Whether a guest has all that counts in the host, which RDPMC reads and GLOBAL_CTRL opens. */
export const isWhole = (guest: Shape, host: Shape): boolean =>
  guest.version >= 2 &&
  guest.gp === host.gp &&
  guest.fixed === host.fixed &&
  guest.metrics === host.metrics;
