import type { AccessStep, FuzzCase, NestedCase, Step } from '../case.ts';

const RANGE = 0x2000;
const HIGH = 0xc000_0000;

/** Whether MSR bitmaps have bits for an address. Vol. 3, "MSR-Bitmap Address". */
export const isCovered = (address: number): boolean =>
  address < RANGE || (address >= HIGH && address < HIGH + RANGE);

/** Basic exit reasons, by the step that is left by them. Vol. 3, appendix "VMX Basic Exit Reasons". */
const REASON = { rdmsr: 31, wrmsr: 32, rdpmc: 15, cpuid: 10 } as const;
export const HLT = 12;

/**
 * Whether an access of L2 exits to L1: behind the checks of privilege, before any other.
 * Vol. 3, "Relative Priority of Faults and VM Exits", "Instructions That Cause VM Exits Conditionally".
 */
export function exitsToL1(
  { cpl, pce }: Pick<FuzzCase, 'cpl' | 'pce'>,
  { bitmap, rdpmcExiting, stray }: NestedCase,
  { do: form, register }: AccessStep,
): boolean {
  if (form === 'rdpmc') return rdpmcExiting && (cpl === 0 || pce);
  if (cpl > 0 || (form !== 'rdmsr' && form !== 'wrmsr')) return false;
  // Where there is no memory every bit reads as 1.
  if (!bitmap || stray?.of === 'bitmap' || !isCovered(register)) return true;
  const access = form === 'rdmsr' ? 'read' : 'write';
  const turned = bitmap.except.filter(([address, how]) => address === register && how === access);
  return (bitmap.exits === 'all') !== (turned.length % 2 === 1);
}

/** The basic reason of the exit to L1 that a step takes; undefined if it takes none. */
export function reasonToL1(fuzzed: FuzzCase, nested: NestedCase, step: Step): number | undefined {
  if (step.do === 'cpuid') return REASON.cpuid;
  if (!('register' in step) || !exitsToL1(fuzzed, nested, step)) return undefined;
  return REASON[step.do as keyof typeof REASON];
}
