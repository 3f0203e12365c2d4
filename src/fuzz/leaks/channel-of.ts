import { type AccessStep, type FuzzCase, isAccess } from '../case.ts';
import { guestShape, hasCounter } from '../oracles/shapes.ts';
import { placeOf } from '../registers.ts';

/** Where a guest's guest is concerned. */
export const NESTED_CHANNEL = 19;

type Where = Pick<FuzzCase, 'design' | 'profile' | 'exposure' | 'cpl' | 'pce' | 'nested'>;

/** The row of the table of leak channels that an access which goes wrong is a case of. */
export function channelOf(where: Where, step: FuzzCase['steps'][number]): number | undefined {
  if (!isAccess(step)) return undefined;
  if (where.nested) return NESTED_CHANNEL;
  if (step.do === 'rdpmc') return rdpmcChannel(where, step);
  if (step.do !== 'rdmsr' && step.do !== 'wrmsr') return 18;
  return msrChannel(where, step);
}

function rdpmcChannel(where: Where, { register }: AccessStep): number {
  if (where.cpl > 0 && !where.pce) return 7;
  const { gp, fixed } = guestShape(where.profile, where.design, where.exposure);
  const index = register & 0xffff;
  if (register >>> 16 === 0) return hasCounter(gp, index) ? 6 : 3;
  if (register >>> 16 === 0x4000) return hasCounter(fixed, index) ? 6 : 4;
  return register >>> 16 === 0x2000 ? 5 : 6;
}

function msrChannel(where: Where, { register, do: form }: AccessStep): number {
  const { gp, fixed } = guestShape(where.profile, where.design, where.exposure);
  const { class: kind, index, name } = placeOf(register);
  switch (kind) {
    case 'PMC':
      return hasCounter(gp, index) ? 1 : 3;
    case 'A_PMC':
      return 2;
    case 'FIXED_CTR':
      return hasCounter(fixed, index) ? 1 : 4;
    case 'PERF_METRICS':
      return 5;
    case 'PERFEVTSEL':
    case 'OFFCORE_RSP':
    case 'LD_LAT':
    case 'FRONTEND':
    case 'RELOAD':
    case 'RELOAD_CAUSES':
      return 8;
    case 'FIXED_CTR_CTRL':
      return 9;
    case 'GLOBAL_STATUS':
      return 10;
    case 'OVF_CTRL':
    case 'STATUS_SET':
    case 'INUSE':
      return 11;
    case 'GLOBAL_CTRL':
      return 12;
    case 'LVTPC':
      return 14;
    case 'LBR':
      return 15;
    case 'PEBS':
      return 16;
    case 'PERF_CAPABILITIES':
      return 22;
    case 'CLOCK':
      return name === 'IA32_TSC_ADJUST' && form === 'wrmsr' ? 17 : 23;
    default:
      return 17;
  }
}
