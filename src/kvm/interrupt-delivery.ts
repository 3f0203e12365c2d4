import { type ApicMessage, DELIVERY, SHORTHAND } from '../apic/message.ts';
import type { Vcpu } from './vcpu.ts';

/** The vCPUs that an interrupt message reaches. */
export function addressed(
  vcpus: readonly Vcpu[],
  message: ApicMessage,
  from: Vcpu | undefined,
): readonly Vcpu[] {
  const named = vcpus.filter((vcpu) => isAddressed(vcpu, message, from));
  return message.mode === DELIVERY.LOWEST_PRIORITY ? lowestPriority(named) : named;
}

/** The one with the lowest processor priority; of equals, the first. */
function lowestPriority(vcpus: readonly Vcpu[]): readonly Vcpu[] {
  const [first, ...rest] = vcpus.filter(({ apic }) => apic.takesInterrupts());
  if (!first) return [];
  const lower = (a: Vcpu, b: Vcpu) => b.apic.processorPriority < a.apic.processorPriority;
  return [rest.reduce((a, b) => (lower(a, b) ? b : a), first)];
}

function isAddressed(vcpu: Vcpu, message: ApicMessage, from: Vcpu | undefined): boolean {
  switch (message.shorthand) {
    case SHORTHAND.SELF:
      return vcpu === from;
    case SHORTHAND.ALL:
      return true;
    case SHORTHAND.OTHERS:
      return vcpu !== from;
    default:
      return message.mode === DELIVERY.EXTINT ? false : vcpu.apic.isDestination(message);
  }
}
