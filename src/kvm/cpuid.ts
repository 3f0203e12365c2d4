import type { CpuidRegisters } from '../host/ports.ts';
import { perfmonLeaf } from '../msr/pmu-leaves.ts';
import type { PmuShape } from '../msr/pmu-shape.ts';

/** What of a vCPU's state shows in CPUID. */
export interface CpuidView {
  readonly apicId: number;
  /** vCPUs of the VM, all in one package. */
  readonly processors: number;
  readonly pmu: PmuShape;
  /** CR4.OSXSAVE and CR4.PKE of the guest. */
  readonly osxsave: boolean;
  readonly ospke: boolean;
  /** The guest may be a hypervisor. */
  readonly vmx: boolean;
  /** IA32_APIC_BASE has the APIC enabled. */
  readonly apicEnabled: boolean;
}

// biome-ignore format: a table
const LEAF_1_ECX = {
  DTES64: 1 << 2, MONITOR: 1 << 3, DS_CPL: 1 << 4, VMX: 1 << 5, SMX: 1 << 6, EIST: 1 << 7, TM2: 1 << 8, PDCM: 1 << 15,
  X2APIC: 1 << 21, TSC_DEADLINE: 1 << 24, OSXSAVE: 1 << 27, HYPERVISOR: 1 << 31,
} as const;
const LEAF_1_EDX = { APIC: 1 << 9, DS: 1 << 21, HTT: 1 << 28 } as const;
const LEAF_7_ECX = { OSPKE: 1 << 4 } as const;
const LEAF_7_EDX = { ARCH_LBR: 1 << 19, IBRS_IBPB: 1 << 26 } as const;

/** CPUID.0DH.1:EAX. */
const XSAVES = 1 << 3;
/** CPUID.0DH.n:ECX of a component that IA32_XSS enables. */
const IN_XSS = 1;

/** Leaves a guest sees nothing in: what they announce is not virtualised. */
const HIDDEN = [0x05, 0x06, 0x12, 0x14, 0x23];
const LBR_LEAF = 0x1c;
const HYPERVISOR_LEAF = 0x4000_0000;
const NOTHING: CpuidRegisters = { eax: 0, ebx: 0, ecx: 0, edx: 0 };

const ascii = (text: string): number =>
  [...text].reduce((word, letter, at) => word | (letter.charCodeAt(0) << (8 * at)), 0) >>> 0;

/** CPUID as the guest sees it: the host's, less what KVM does not virtualise, plus what it adds. */
export function guestCpuid(
  leaf: number,
  subleaf: number,
  host: (leaf: number, subleaf: number) => CpuidRegisters,
  view: CpuidView,
): CpuidRegisters {
  if (leaf === HYPERVISOR_LEAF) {
    const [ebx, ecx, edx] = ['KVMK', 'VMKV', 'M'].map(ascii) as [number, number, number];
    return { eax: HYPERVISOR_LEAF + 1, ebx, ecx, edx };
  }
  if (leaf > HYPERVISOR_LEAF && leaf < HYPERVISOR_LEAF + 0x100) return NOTHING;
  if (leaf === 0x0a) return perfmonLeaf(view.pmu);
  if (HIDDEN.includes(leaf) || (leaf === LBR_LEAF && !view.pmu.lbr)) return NOTHING;
  const { eax, ebx, ecx, edx } = host(leaf, subleaf);
  if (leaf === 1) return featureLeaf({ eax, ebx, ecx, edx }, view);
  if (leaf === 7 && subleaf === 0) {
    return {
      eax,
      ebx,
      ecx: set(ecx, LEAF_7_ECX.OSPKE, view.ospke),
      // IA32_SPEC_CTRL and IA32_PRED_CMD do not exist in a guest.
      edx: edx & ~LEAF_7_EDX.IBRS_IBPB & (view.pmu.lbr ? -1 : ~LEAF_7_EDX.ARCH_LBR),
    };
  }
  // VMX here has no "enable XSAVES/XRSTORS" control: XSAVES, XRSTORS and IA32_XSS do not exist in a guest.
  if (leaf === 0x0d && subleaf === 1) return { eax: eax & ~XSAVES, ebx, ecx: 0, edx: 0 };
  if (leaf === 0x0d && (ecx & IN_XSS) !== 0) return NOTHING;
  if (leaf === 4) return { eax: cacheSharing(eax, view), ebx, ecx, edx };
  if (leaf === 0x0b) return topologyLeaf(subleaf, view);
  return { eax, ebx, ecx, edx };
}

/** CPUID.4:EAX as user space sets it: the vCPUs are cores of one package, and share the caches from level 3 on. */
function cacheSharing(eax: number, { processors }: CpuidView): number {
  if ((eax & 0x1f) === 0) return eax;
  const sharing = ((eax >>> 5) & 7) >= 3 ? processors - 1 : 0;
  return ((eax & 0x3fff) | (sharing << 14) | ((processors - 1) << 26)) >>> 0;
}

/** CPUID.0BH: one thread a core, the cores in one package. */
function topologyLeaf(subleaf: number, { apicId, processors }: CpuidView): CpuidRegisters {
  const levels = [
    { shift: 0, count: 1, type: 1 },
    { shift: Math.ceil(Math.log2(processors)), count: processors, type: 2 },
  ];
  const { shift, count, type } = levels[subleaf] ?? { shift: 0, count: 0, type: 0 };
  return { eax: shift, ebx: count, ecx: (subleaf & 0xff) | (type << 8), edx: apicId };
}

const set = (word: number, mask: number, on: boolean): number => (on ? word | mask : word & ~mask);

function featureLeaf({ eax, ebx, ecx, edx }: CpuidRegisters, view: CpuidView): CpuidRegisters {
  const { DTES64, MONITOR, DS_CPL, VMX, SMX, EIST, TM2 } = LEAF_1_ECX;
  let features = ecx & ~(DTES64 | MONITOR | DS_CPL | SMX | EIST | TM2 | (view.vmx ? 0 : VMX));
  features |= LEAF_1_ECX.HYPERVISOR | LEAF_1_ECX.X2APIC | LEAF_1_ECX.TSC_DEADLINE;
  features = set(features, LEAF_1_ECX.PDCM, view.pmu.pdcm);
  features = set(features, LEAF_1_ECX.OSXSAVE, view.osxsave);
  features = set(features, LEAF_1_ECX.DTES64, view.pmu.pebs !== undefined);
  return {
    eax,
    ebx: ((ebx & 0xffff) | (view.processors << 16) | ((view.apicId & 0xff) << 24)) >>> 0,
    ecx: features,
    edx: [
      [LEAF_1_EDX.DS, view.pmu.pebs !== undefined],
      [LEAF_1_EDX.APIC, view.apicEnabled],
      [LEAF_1_EDX.HTT, view.processors > 1],
    ].reduce((word, [mask, on]) => set(word, mask as number, on as boolean), edx),
  };
}
