import { DESIGNS } from '../../kvm/vpmu/designs.ts';
import { GuestCode, MSR, SELECT } from './guest-code.ts';
import { hostFor, type Scenario, table } from './scenario.ts';

const WHOLE = { profile: 'skylake-server' } as const;
const [NMI, EXTERNAL_INTERRUPT] = [0, 1] as const;
const LVT_MASKED = 0x1_0000n;
const VECTOR = 0x40n;

/** An overflow while LVTPC is masked. */
export const maskedLvtpc: Scenario = {
  name: 'masked-lvtpc',
  title: 'a counter overflows while the guest’s LVTPC is masked',
  why:
    'Emulated, the counter belongs to host perf, whose own LVTPC is open: the overflow is an NMI exit all the same, ' +
    'and only then does KVM find the guest’s entry masked. Mediated, the guest’s mask bit is in the physical LVTPC: ' +
    'no interrupt, no exit. The status bit is set either way.',
  columns: ['emulated', 'mediated'],
  run: () =>
    table(['emulated', 'mediated'], (design) => {
      const run = (mask: bigint) => {
        const code = new GuestCode()
          .wrmsr(MSR.GLOBAL_CTRL, 0n)
          .lvtpc(mask | VECTOR)
          .wrmsr(MSR.PERFEVTSEL0, SELECT.SAMPLING)
          .wrmsr(MSR.PMC0, 0xffff_fc18n) // 1000 short of wrapping
          .wrmsr(MSR.GLOBAL_CTRL, 1n)
          .loop(5_000)
          .wrmsr(MSR.GLOBAL_CTRL, 0n)
          .reportMsr(MSR.GLOBAL_STATUS)
          .end().bytes;
        const machine = hostFor(design, WHOLE);
        const guest = machine.start({ code, design: DESIGNS[design] });
        machine.finish();
        return guest;
      };
      const interrupts = ({ vcpu }: ReturnType<typeof run>) =>
        (vcpu.statistics.exits.get(NMI) ?? 0) +
        (vcpu.statistics.exits.get(EXTERNAL_INTERRUPT) ?? 0);
      const [open, masked] = [run(0n), run(LVT_MASKED)];
      return {
        'open: exits by the overflow': interrupts(open),
        'open: PMIs delivered': open.vcpu.statistics.pmis,
        'open: GLOBAL_STATUS': open.readings[0]!,
        'masked: exits by the overflow': interrupts(masked),
        'masked: PMIs delivered': masked.vcpu.statistics.pmis,
        'masked: GLOBAL_STATUS': masked.readings[0]!,
      };
    }),
};

/** Two writes of GLOBAL_CTRL around nothing. */
export const boundingWrites: Scenario = {
  name: 'bounding-writes',
  title: 'of the two WRMSRs around a counted region exactly one is counted',
  why:
    'An instruction takes effect first and then retires under the new state. So the write that opens GLOBAL_CTRL ' +
    'counts itself and the one that closes it does not, on the bare machine, where it passes, and where KVM carries ' +
    'it out and counts it for the guest. Between the two here are the three MOVs of the second.',
  columns: ['emulated', 'emulated-identity', 'mediated', 'rfc-v1'],
  run: () =>
    table(['emulated', 'emulated-identity', 'mediated', 'rfc-v1'], (design) => {
      const code = new GuestCode()
        .wrmsr(MSR.GLOBAL_CTRL, 0n)
        .wrmsr(MSR.PERFEVTSEL0, SELECT.INSTRUCTIONS)
        .wrmsr(MSR.GLOBAL_CTRL, 1n)
        .wrmsr(MSR.GLOBAL_CTRL, 0n)
        .reportMsr(MSR.PMC0)
        .end().bytes;
      const machine = hostFor(design, WHOLE);
      const guest = machine.start({ code, design: DESIGNS[design] });
      machine.finish();
      return {
        'instructions between the writes': 3,
        'the guest reads': guest.readings[0]!,
        'exits for GLOBAL_CTRL': guest.vcpu.statistics.msrExits.get(MSR.GLOBAL_CTRL)?.writes ?? 0,
      };
    }),
};
