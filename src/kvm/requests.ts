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
      if (!vcpu.pmiMasked) vcpu.statistics.pmis += 1;
      vcpu.vm.observer?.pmi?.({ vcpu: vcpu.id });
      vcpu.apic.raisePmi();
    }
  }
}
