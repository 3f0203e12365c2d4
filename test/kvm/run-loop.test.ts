import { expect, it } from 'vitest';
import { join } from '../../src/kvm/observer.ts';
import { DESIGNS } from '../../src/kvm/vpmu/designs.ts';
import { GuestCode, MSR } from '../../src/lab/scenarios/guest-code.ts';
import { hostFor } from '../../src/lab/scenarios/scenario.ts';
import { EXIT_REASON } from '../../src/vmx/exit-reasons.ts';

const X2APIC_ICR = 0x830;
const NMI_TO_SELF = 0x4_4400n;
/** A valid NMI in interruption information. */
const NMI = 0x8000_0202;

it('looks at requests once more after loading the PMU: a PMI that came up meanwhile enters with the guest', () => {
  const machine = hostFor('mediated');
  const code = new GuestCode().onNmi((handler) => handler.nop()).lvtpc(0x400n);
  const guest = machine.start({
    code: code.cpuid().nop().cpuid().end().bytes,
    design: DESIGNS.mediated,
  });
  const [host] = machine.hosts;
  let nmiAt = -1;
  host!.onNmi(() => {
    guest.vcpu.requests.pmi = true;
    return 1;
  });
  const entries: number[] = [];
  join(guest.vm.observer!, {
    vpmu: ({ step }) => {
      const cpuids = guest.vcpu.statistics.exits.get(EXIT_REASON.CPUID);
      if (step !== 'load' || cpuids !== 1 || nmiAt >= 0) return;
      nmiAt = entries.length;
      host!.wrmsr(X2APIC_ICR, NMI_TO_SELF);
    },
    entry: ({ interruption }) => void entries.push(interruption),
  });
  machine.finish();
  expect(entries[nmiAt]).toBe(NMI);
});

it('injects again what the exit cut short: an event whose delivery caused it', () => {
  const machine = hostFor('emulated');
  const code = new GuestCode().onNmi((handler) => handler.reportMsr(MSR.GLOBAL_CTRL));
  const guest = machine.start({ code: code.cpuid().nop().end().bytes, design: DESIGNS.emulated });
  join(guest.vm.observer!, {
    exit: ({ reason }) => {
      if (reason === EXIT_REASON.CPUID) {
        guest.vcpu.write('IDT_VECTORING_INFORMATION', BigInt(NMI));
      }
    },
  });
  machine.finish();
  expect(guest.readings).toHaveLength(1);
});
