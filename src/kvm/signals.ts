import { EXIT_REASON } from '../vmx/exit-reasons.ts';
import { CR0 } from './control-registers.ts';
import { RESET_STATE, writeGuestState } from './guest-state.ts';
import { leaveFor } from './nested/leave.ts';
import type { NestedVmx } from './nested/nested-vmx.ts';
import { readControlRegister, setControlRegisters } from './paging-mode.ts';
import type { Vcpu } from './vcpu.ts';

const RDX = 2;
/** What INIT leaves in DX: the family. */
const SIGNATURE = 0x600n;

/** kvm_apic_accept_events: INIT, and the SIPI that a vCPU waits for. */
export function acceptSignals(vcpu: Vcpu): void {
  for (;;) {
    const { signal, nested } = vcpu;
    if (signal === undefined) return;
    if (nested?.guestMode) leaveForSignal(vcpu, nested, signal);
    else {
      vcpu.apic.takeSignal();
      if (signal === 'INIT') init(vcpu);
      else if (vcpu.mpState === 'INIT_RECEIVED') startUp(vcpu, signal.sipi);
    }
  }
}

/** Of a guest's guest, an exit to the guest: INIT, which resets nothing then, and the SIPI that it waits for. */
function leaveForSignal(vcpu: Vcpu, nested: NestedVmx, signal: NonNullable<Vcpu['signal']>): void {
  const waits = vcpu.mpState === 'INIT_RECEIVED';
  if (signal === 'INIT') {
    vcpu.apic.dismissInit();
    leaveFor(vcpu, nested, { reason: EXIT_REASON.INIT_SIGNAL });
    return;
  }
  vcpu.apic.takeSignal(waits);
  if (!waits) return;
  const qualification = BigInt(signal.sipi);
  leaveFor(vcpu, nested, { reason: EXIT_REASON.SIPI_SIGNAL, qualification });
}

/** Vol. 3, "Processor State After INIT": MSRs, the PMU among them, XCR0, x87 and SSE stay. */
function init(vcpu: Vcpu): void {
  const caching = readControlRegister(vcpu, 0) & (CR0.CD | CR0.NW);
  const state = { ...RESET_STATE, cr0: CR0.ET | caching };
  writeGuestState(vcpu.host, state);
  setControlRegisters(vcpu, state);
  vcpu.gpr.set(state.gpr);
  vcpu.gpr[RDX] = SIGNATURE;
  const { registers } = vcpu.host;
  registers.cr2 = 0n;
  registers.dr.set([0n, 0n, 0n, 0n, 0n, 0n, 0xffff_0ff0n]);
  vcpu.exception = undefined;
  vcpu.write('VM_ENTRY_INTERRUPTION_INFORMATION', 0n);
  vcpu.mpState = vcpu.apic.bootstrap() ? 'RUNNABLE' : 'INIT_RECEIVED';
}

/** The page that a SIPI names is where it begins, in real mode. */
function startUp(vcpu: Vcpu, page: number): void {
  vcpu.write('GUEST_CS_SELECTOR', BigInt(page << 8));
  vcpu.write('GUEST_CS_BASE', BigInt(page << 12));
  vcpu.write('GUEST_RIP', 0n);
  vcpu.mpState = 'RUNNABLE';
}
