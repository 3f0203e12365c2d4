import { bits, ones } from '../../bits/bitfield.ts';
import { placeOf } from '../registers.ts';
import { hasCounter, type Shape } from './shapes.ts';

/** What an access comes to: done, #GP, or a matter this table says nothing about. */
export type Verdict = 'done' | '#GP' | 'unspecified';

/** KVM: PERFCTR0 and 1 never fault, even in a guest without a PMU. */
export const KVM_ALWAYS: ReadonlySet<number> = new Set([0xc1, 0xc2]);

const FREEZE = bits(60, 58);
const PEBS_THRESHOLD = 1n << 54n;
const UNCORE = 1n << 61n;
const BUFFER = 1n << 62n;
const CONDITION = 1n << 63n;

/** Bits that a PERFEVTSEL of the shape lets software set; bit 19 is dropped. */
const selectorBits = ({ anyThread, pebs, extended }: Shape): bigint =>
  0xffdf_ffffn |
  (anyThread ? 1n << 21n : 0n) |
  (pebs === 'adaptive' ? 1n << 34n : 0n) |
  (extended ? bits(37, 36) | bits(47, 40) : 0n);

function fixedControlBits({ fixed, anyThread, pebs, extended }: Shape): bigint {
  const nibble =
    (anyThread ? 0xfn : 0xbn) |
    (pebs === 'adaptive' ? 1n << 32n : 0n) |
    (extended ? 1n << 33n : 0n);
  let mask = 0n;
  for (let i = 0; i < 16; i++) if (hasCounter(fixed, i)) mask |= nibble << BigInt(4 * i);
  return mask;
}

/** Bits of GLOBAL_CTRL. */
export const counterBits = ({ gp, fixed, metrics }: Shape): bigint =>
  gp | (fixed << 32n) | (metrics ? 1n << 48n : 0n);

const fits = (value: bigint, mask: bigint): Verdict => ((value & ~mask) === 0n ? 'done' : '#GP');

/**
 * RDMSR and WRMSR at CPL 0 of a PMU of this shape, from the SDM's access rules.
 * Vol. 3, "Architectural Performance Monitoring"; vol. 4, "Architectural MSRs".
 */
export function msrVerdict(shape: Shape, address: number, value: bigint | undefined): Verdict {
  const { class: kind, index, version6, name } = placeOf(address);
  if (version6) return shape.extended ? 'unspecified' : '#GP';
  const { version, gp, fixed, selectors } = shape;
  const width = ones(shape.width);
  const exists = (there: boolean, writable: bigint | 'none'): Verdict => {
    if (!there) return '#GP';
    if (value === undefined) return 'done';
    return writable === 'none' ? '#GP' : fits(value, writable);
  };
  const counters = counterBits(shape);
  const threshold = shape.pebs === 'architectural' ? PEBS_THRESHOLD : 0n;
  switch (kind) {
    case 'PMC':
      return exists(hasCounter(gp, index), ones(64));
    case 'A_PMC':
      return exists(shape.fullWidth && hasCounter(gp, index), width);
    case 'FIXED_CTR':
      return exists(version >= 2 && hasCounter(fixed, index), width);
    case 'PERFEVTSEL':
      // Some addresses of the bank are other registers' where there are fewer selectors.
      if (index >= 8) return 'unspecified';
      return exists(hasCounter(gp, index), selectorBits(shape));
    case 'FIXED_CTR_CTRL':
      return exists(version >= 2, fixedControlBits(shape));
    case 'GLOBAL_STATUS':
      return exists(version >= 2, 'none');
    case 'GLOBAL_CTRL':
      return exists(version >= 2, counters);
    case 'OVF_CTRL': {
      const more = version >= 4 ? FREEZE | UNCORE : version >= 3 ? UNCORE : 0n;
      return exists(version >= 2, counters | threshold | BUFFER | CONDITION | more);
    }
    case 'STATUS_SET':
      return exists(version >= 4, counters | threshold | FREEZE | UNCORE | BUFFER);
    case 'INUSE':
      return exists(version >= 4, 'none');
    case 'PERF_CAPABILITIES':
      return exists(version >= 1, 'none');
    case 'PERF_METRICS':
      return exists(shape.metrics, ones(64));
    case 'OFFCORE_RSP':
      return exists(selectors !== undefined, selectors?.offcore ?? 0n);
    case 'FRONTEND':
      return exists(selectors !== undefined, selectors?.frontEnd ?? 0n);
    case 'LD_LAT':
      return exists(selectors !== undefined, ones(16));
    case 'PEBS':
      return shape.pebs === 'none' ? '#GP' : 'unspecified';
    case 'LBR': {
      if (name === 'IA32_DEBUGCTL') return 'unspecified';
      const lbr = name.startsWith('MSR_L') ? 'legacy' : 'architectural';
      if (shape.lbr !== lbr || name.startsWith('MSR_LER') || index >= shape.lbrDepth) return '#GP';
      return value === undefined ? 'done' : 'unspecified';
    }
    case 'CLOCK':
      return name === 'IA32_TIME_STAMP_COUNTER' || name === 'IA32_TSC_ADJUST'
        ? 'unspecified'
        : '#GP';
    default:
      return 'unspecified';
  }
}

/** RDPMC where CPL and CR4.PCE allow it. Vol. 2, "RDPMC—Read Performance-Monitoring Counters". */
export function rdpmcVerdict({ version, gp, fixed, metrics }: Shape, ecx: number): Verdict {
  if (version === 0) return '#GP';
  const index = ecx & 0xffff;
  switch (ecx >>> 16) {
    case 0:
      return hasCounter(gp, index) ? 'done' : '#GP';
    case 0x4000:
      return hasCounter(fixed, index) ? 'done' : '#GP';
    case 0x2000:
      return metrics && index === 0 ? 'done' : '#GP';
    default:
      return '#GP';
  }
}
