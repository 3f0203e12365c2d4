import { DESIGNS } from '../../kvm/vpmu/designs.ts';
import { type PerfEventAttr, perfEventAttr } from '../../perf/attr.ts';
import { GuestCode, MSR } from './guest-code.ts';
import { hostFor, type Scenario } from './scenario.ts';

const [PEBS_ENABLE, DS_AREA, NMI_EXIT] = [0x3f1, 0x600, 0] as const;
const AREA = 0x3_0000;
const BUFFER = 0x3_1000;
const RECORD = 32;
const INDEX = AREA + 0x28;
const PERIOD = 1000n;
const BRANCHES = 20_000;
const EVENTS = { branches: 0x53_00c4n, instructions: 0x53_00c0n } as const;

/** Samples counter 0 while it loops, and reports how far the buffer's index has come, and the counter. */
function guestProgram(select: bigint): Uint8Array {
  const reset = -PERIOD & 0xffff_ffff_ffffn;
  const [start, end] = [BigInt(BUFFER), BigInt(BUFFER + 1000 * RECORD)];
  return new GuestCode()
    .wrmsr(MSR.GLOBAL_CTRL, 0n)
    .storeAt(AREA)
    .storeQuadwords(0n, 0n, 0n, 0n, start, start, end, end, ...Array<bigint>(8).fill(reset))
    .wrmsr(DS_AREA, BigInt(AREA))
    .wrmsr(MSR.PMC0, -PERIOD & 0xffff_ffffn)
    .wrmsr(PEBS_ENABLE, 1n)
    .wrmsr(MSR.PERFEVTSEL0, select)
    .wrmsr(MSR.GLOBAL_CTRL, 1n)
    .loop(BRANCHES)
    .wrmsr(MSR.GLOBAL_CTRL, 0n)
    .reportMemory(INDEX)
    .reportMsr(MSR.PMC0)
    .end().bytes;
}

/** A host event that counts loads on any general counter. */
const LOADS: Partial<PerfEventAttr> = { config: 0x81d0n, samplePeriod: 1_000_000n, pinned: true };

interface Case {
  readonly event: keyof typeof EVENTS;
  readonly host?: Partial<PerfEventAttr>;
}
const CASES: Readonly<Record<string, Case>> = {
  'branches, alone': { event: 'branches' },
  'a pinned host event': { event: 'branches', host: LOADS },
  'a precise host event': { event: 'branches', host: { ...LOADS, preciseIp: 1 } },
  'instructions, alone': { event: 'instructions' },
};

/** Where the counter stands behind its last reload. */
const behindReload = (counter: bigint) => Number((counter + PERIOD) & 0xffff_ffff_ffffn);

/** A guest's PEBS needs the counter of its own index. */
export const guestPebs: Scenario = {
  name: 'guest-pebs',
  title: 'a guest’s PEBS under the emulated vPMU works on the counter of its own index only',
  why:
    'Records name the hardware counter, so KVM lets a guest sample only where host perf has put the event on the counter that ' +
    'the guest thinks it is. A pinned host event that came first has counter 0: the guest’s event goes to 1, is cross-mapped, and ' +
    'gets neither records nor counts. While a host event samples precisely, no guest does. Instructions on a general counter ' +
    'never sample, for perf prefers fixed counter 0. The guest is told nothing of all this. Ice Lake; not offered by a mediated vPMU.',
  columns: Object.keys(CASES),
  run: () => {
    const answers = Object.values(CASES).map(({ event, host }) => {
      const machine = hostFor('emulated', { profile: 'ice-lake-server' });
      if (host) machine.perf.create(perfEventAttr(host), { cpu: 0 });
      const code = guestProgram(EVENTS[event]);
      const guest = machine.start({ code, design: DESIGNS.emulated, exposure: { pebs: true } });
      machine.run(60_000);
      const [own] = [...machine.perf.events].filter(({ attr }) => attr.excludeHost);
      const index = own?.hw.index ?? -1;
      machine.finish();
      const [end = 0n, counter = 0n] = guest.readings;
      return {
        'host counter behind guest counter 0': index >= 32 ? `fixed ${index - 32}` : `${index}`,
        'records in the guest’s buffer': (Number(end) - BUFFER) / RECORD,
        'events counted since the last one': behindReload(counter),
        'host NMIs': guest.vcpu.statistics.exits.get(NMI_EXIT) ?? 0,
      };
    });
    return (Object.keys(answers[0]!) as (keyof (typeof answers)[0])[]).map((what) => ({
      what,
      values: Object.fromEntries(
        Object.keys(CASES).map((column, at) => [column, answers[at]![what]]),
      ),
    }));
  },
};
