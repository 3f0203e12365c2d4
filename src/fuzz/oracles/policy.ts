import type { FuzzCase } from '../case.ts';
import { placeOf, type RegisterClass } from '../registers.ts';
import { RIGHTS, type Right, type Rights } from './rights.ts';
import { guestShape, hasCounter, hostShape, isWhole, type Shape } from './shapes.ts';

/** MSRs that are the guest's own anyway: SYSENTER, FS and GS bases, the SYSCALL registers, TSC_AUX. */
const OWN_ANYWAY: ReadonlySet<number> = new Set([
  ...[0x174, 0x175, 0x176, 0xc000_0081, 0xc000_0082, 0xc000_0083, 0xc000_0084],
  ...[0xc000_0100, 0xc000_0101, 0xc000_0102, 0xc000_0103],
]);

/** Which right decides about an MSR; undefined: the hypervisor answers, always. */
function rightOf(kind: RegisterClass, index: number, guest: Shape): keyof Rights | undefined {
  switch (kind) {
    case 'A_PMC':
      return guest.fullWidth && hasCounter(guest.gp, index) ? 'counters' : undefined;
    case 'PMC':
      return hasCounter(guest.gp, index) ? 'counters' : undefined;
    case 'FIXED_CTR':
      return hasCounter(guest.fixed, index) ? 'counters' : undefined;
    case 'PERFEVTSEL':
      return hasCounter(guest.gp, index) ? 'selectors' : undefined;
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

/** Last branch records that a guest of this shape has. */
const isGuestLbr = (address: number, { lbr, lbrDepth }: Shape): boolean => {
  const inBank = (base: number) => address >= base && address < base + lbrDepth;
  if (lbr === 'legacy') {
    return address === 0x1c8 || address === 0x1c9 || [0x680, 0x6c0, 0xdc0].some(inBank);
  }
  return address === 0x14ce || address === 0x14cf || [0x1200, 0x1500, 0x1600].some(inBank);
};

const passes = (right: Right, whole: boolean) =>
  right === 'direct' || (right === 'direct-if-whole' && whole);

/**
 * Whether an address is a legacy LBR register that the guest was given: the first access exits and asks host perf for
 * the stack; while the guest has it they pass.
 */
export const isClaimed = (address: number, guest: Shape): boolean =>
  guest.lbr === 'legacy' && isGuestLbr(address, guest);

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
  if (guest.lbr === 'architectural' && isGuestLbr(address, guest))
    return !passes(rights.extras, whole);
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
