import { MsrBitmap } from './msr-bitmap.ts';
import { GUEST_MSRS } from './msrs.ts';
import type { Vcpu } from './vcpu.ts';
import { extraRegisters } from './vpmu/registers.ts';

/** The PMU's registers lie in these ranges: whether they pass is the vPMU's to say. */
const PMU_RANGES: readonly (readonly [number, number])[] = [
  [0x0c1, 0x0e0],
  [0x186, 0x1a5],
  [0x309, 0x318],
  [0x38d, 0x392],
  [0x4c1, 0x4e0],
];
const COUNTING = PMU_RANGES.flatMap(([first, last]) =>
  Array.from({ length: last - first + 1 }, (_, at) => first + at),
);

/**
 * A vCPU's MSR bitmap, made from the tables of MSRs and the vPMU's policy.
 * @param page physical address of the page it is to fill
 */
export function msrBitmapFor(vcpu: Vcpu, page: number): MsrBitmap {
  const bitmap = new MsrBitmap(vcpu.host.memory, page);
  for (const { address, count = 1, passes } of GUEST_MSRS) {
    if (!passes) continue;
    for (let at = address; at < address + count; at++) {
      bitmap.set(at, 'read', false);
      bitmap.set(at, 'write', false);
    }
  }
  const { vpmu } = vcpu;
  for (const address of [...COUNTING, ...extraRegisters(vpmu.pmu.shape)]) {
    for (const access of ['read', 'write'] as const) {
      bitmap.set(address, access, vpmu.intercepts(address, access));
    }
  }
  return bitmap;
}
