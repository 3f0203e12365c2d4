import { ExtendedPageTables } from '../../vmx/ept.ts';
import { FIELDS } from '../../vmx/fields.ts';
import type { Vcpu } from '../vcpu.ts';
import { reflect } from './leave.ts';
import type { NestedVmx } from './nested-vmx.ts';

/** Exit qualification of an EPT violation. Vol. 3, "Exit Qualification for EPT Violations". */
const WRITE = 1 << 1;
const FETCH = 1 << 2;
const LINEAR_VALID = 1 << 7;
const TRANSLATION = 1 << 8;
const NMI_UNBLOCKING = 1 << 12;

/** L1's EPT for L2, walked as a processor would walk it. */
export function eptOfL1({ vmcs12, memory, shape, physicalWidth }: NestedVmx, unblocked = false) {
  const eptp = vmcs12.read(FIELDS.EPT_POINTER);
  return new ExtendedPageTables({
    memory,
    shape,
    physicalWidth,
    eptp,
    unblockedByIret: () => unblocked,
  });
}

/**
 * L2 has touched a page that vmcs02's EPT does not let it: L1's EPT decides. Either it is an exit to L1, or the page is
 * mapped; 'device' where it is no RAM of L1's.
 */
export function shadowViolation(vcpu: Vcpu, nested: NestedVmx): 'done' | 'device' {
  const qualification = Number(vcpu.read('EXIT_QUALIFICATION'));
  const address = Number(vcpu.read('GUEST_PHYSICAL_ADDRESS'));
  const has = (bit: number) => (qualification & bit) !== 0;
  const linear = has(LINEAR_VALID) ? vcpu.read('GUEST_LINEAR_ADDRESS') : undefined;
  const walk = linear !== undefined && !has(TRANSLATION);
  const access = has(FETCH) ? 'execute' : has(WRITE) ? 'write' : 'read';
  const ept = eptOfL1(nested, has(NMI_UNBLOCKING));
  const page = ept.resolve(address, access, linear, walk);
  if ('reason' in page) {
    reflect(vcpu, nested, page.reason, page.qualification);
    return 'done';
  }
  const host = vcpu.vm.guestPhysical(vcpu.host.id).hostAddress(page.physical);
  if (host === undefined) return 'device';
  const readable = access === 'read' || !('reason' in ept.resolve(address, 'read', linear, false));
  nested.ept02.map(address, host, { ...page, readable });
  return 'done';
}
