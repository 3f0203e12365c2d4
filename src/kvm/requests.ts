import { isSet } from '../bits/bitfield.ts';
import { DEBUGCTL } from '../msr/pmu.ts';
import type { Vcpu } from './vcpu.ts';

/** KVM_REQ_PMU and KVM_REQ_PMI: what has to be looked at before the next VM entry. */
export interface Requests {
  pmu: boolean;
  pmi: boolean;
}

export const isRequested = ({ pmu, pmi }: Requests): boolean => pmu || pmi;

/** Serves requests until there are none: a reprogrammed counter may have wrapped and ask for a PMI. */
export function handleRequests(vcpu: Vcpu): void {
  const { requests } = vcpu;
  while (isRequested(requests)) {
    if (requests.pmu) {
      requests.pmu = false;
      vcpu.vpmu.handleRequests();
    }
    if (requests.pmi) {
      requests.pmi = false;
      if (!vcpu.pmiMasked) {
        vcpu.statistics.pmis += 1;
        vcpu.vm.observer?.pmi?.({ vcpu: vcpu.id });
      }
      freezeLbrs(vcpu);
      vcpu.apic.raisePmi();
    }
  }
}

/** intel_pmu_legacy_freezing_lbrs_on_pmi: the guest's PMU is one of version 2, where a PMI clears DEBUGCTL.LBR. */
function freezeLbrs(vcpu: Vcpu): void {
  if (vcpu.vpmu.pmu.shape.lbr?.kind !== 'legacy') return;
  const debugctl = vcpu.read('GUEST_IA32_DEBUGCTL');
  if (!isSet(debugctl, DEBUGCTL.FREEZE_LBRS_ON_PMI)) return;
  vcpu.write('GUEST_IA32_DEBUGCTL', debugctl & ~DEBUGCTL.LBR);
}
