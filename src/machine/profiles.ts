import type { CpuidContext, CpuidRegisters } from '../cpu/ports.ts';
import type { Features } from '../cpu/system/core.ts';
import { SAPPHIRE_RAPIDS_VMX, type VmxShape } from '../msr/vmx.ts';
import { perfmonLeaf } from '../msr/pmu-shape.ts';
import { type PmuProfile, SAPPHIRE_RAPIDS } from '../pmu/profiles.ts';

export interface Profile {
  readonly name: string;
  readonly cpu: {
    readonly features: Features;
    cpuid(leaf: number, subleaf: number, context: CpuidContext): CpuidRegisters;
  };
  readonly pmu: PmuProfile;
  readonly vmx: VmxShape;
}
const ZERO = { eax: 0, ebx: 0, ecx: 0, edx: 0 };
export const PROFILES: Record<string, Profile> = {
  'sapphire-rapids': {
    name: 'sapphire-rapids',
    pmu: SAPPHIRE_RAPIDS,
    vmx: SAPPHIRE_RAPIDS_VMX,
    cpu: {
      features: { physicalWidth: 46, cr4: 0x7fffffn, xcr0: 3n, xss: 0n },
      cpuid(leaf) {
        if (leaf === 0) return { ...ZERO, eax: 0x16 };
        if (leaf === 1) return { ...ZERO, ecx: (1 << 21) | (1 << 24) | (1 << 15) };
        if (leaf === 0xa) return perfmonLeaf(SAPPHIRE_RAPIDS.shape);
        return ZERO;
      },
    },
  },
};
