import type { ReadOutcome, WriteOutcome } from '../msr/bus.ts';
import { writeEfer } from './paging-mode.ts';
import { countMsrExit } from './statistics.ts';
import type { Vcpu } from './vcpu.ts';
import { MSR } from './vpmu/registers.ts';

const TIME_STAMP_COUNTER = 0x10;
const EFER_ADDRESS = 0xc000_0080;
const LVTPC = 0x834;

/**
 * Who answers for an MSR the guest accesses, in the order they are asked: the vPMU, the local APIC, KVM's own
 * tables. What nobody claims is #GP.
 */
export function guestRdmsr(vcpu: Vcpu, address: number): bigint | '#GP' {
  countMsrExit(vcpu.statistics, address, 'read');
  const value = readMsr(vcpu, address);
  const answer = value === 'unclaimed' ? '#GP' : value;
  vcpu.vm.observer?.msr?.({
    vcpu: vcpu.id,
    access: 'read',
    address,
    value: answer === '#GP' ? 0n : answer,
    fault: answer === '#GP',
  });
  return answer;
}

export function guestWrmsr(vcpu: Vcpu, address: number, value: bigint): 'done' | '#GP' {
  countMsrExit(vcpu.statistics, address, 'write');
  const outcome = writeMsr(vcpu, address, value);
  const answer = outcome === 'unclaimed' ? '#GP' : outcome;
  const fault = answer === '#GP';
  vcpu.vm.observer?.msr?.({ vcpu: vcpu.id, access: 'write', address, value, fault });
  return answer;
}

/** A register that a VM entry or a VM exit of the guest's own loads. */
export function loadMsr(vcpu: Vcpu, address: number, value: bigint): WriteOutcome {
  const outcome = writeMsr(vcpu, address, value);
  if (outcome === 'done') vcpu.vm.observer?.loaded?.({ vcpu: vcpu.id, address, value });
  return outcome;
}

/** Without an access of the guest's: for the MSR lists of its VM exits. */
export function readMsr(vcpu: Vcpu, address: number): ReadOutcome {
  if (address === TIME_STAMP_COUNTER) return vcpu.host.now() + vcpu.activeTscOffset;
  if (address === EFER_ADDRESS) return vcpu.read('GUEST_IA32_EFER');
  const pmu = vcpu.vpmu.rdmsr(address);
  if (pmu !== 'unclaimed') {
    vcpu.host.spend('vpmu-register');
    return pmu;
  }
  const apic = vcpu.apicBus.rdmsr(address);
  if (apic !== 'unclaimed') return apic;
  const own = vcpu.msrs.rdmsr(vcpu.host, address);
  return own === 'unclaimed' && vcpu.nested ? vcpu.nested.bus.rdmsr(address) : own;
}

function writeMsr(vcpu: Vcpu, address: number, value: bigint): WriteOutcome {
  if (address === TIME_STAMP_COUNTER) {
    vcpu.setTscOffset(value - vcpu.host.now());
    return 'done';
  }
  if (address === EFER_ADDRESS) return writeEfer(vcpu, value) ? 'done' : '#GP';
  const pmu = vcpu.vpmu.wrmsr(address, value);
  if (pmu !== 'unclaimed') {
    vcpu.host.spend('vpmu-register');
    return pmu;
  }
  if (address === LVTPC) vcpu.host.spend('lvtpc-write');
  const apic = vcpu.apicBus.wrmsr(address, value);
  if (apic !== 'unclaimed') return apic;
  const outcome = vcpu.msrs.wrmsr(vcpu.host, address, value);
  if (outcome === 'unclaimed' && vcpu.nested) return vcpu.nested.bus.wrmsr(address, value);
  if (address === MSR.DEBUGCTL && outcome === 'done') vcpu.vpmu.debugctlWritten(value);
  return outcome;
}
