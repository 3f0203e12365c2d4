import { DESIGNS, type DesignName } from '../../kvm/vpmu/designs.ts';
import { HostMachine } from '../../machine/host-machine.ts';
import { profileNamed } from '../../machine/profiles.ts';
import { GuestCode, MSR } from './guest-code.ts';
import { rowsOf, type Scenario } from './scenario.ts';

const [FIXED_CTR3, PERF_METRICS, LBR_CTL, LBR_FROM0] = [0x30c, 0x329, 0x14ce, 0x1500];
const WHOLE = profileNamed('sapphire-rapids-whole');
const SLOTS_AND_METRICS = (1n << 35n) | (1n << 48n);
const EXITS = 20;
const ALL_ONES = 0xffff_ffff_ffff_ffffn;

/** What the VM’s user space asks for in each case. */
const ASKED = {
  nothing: {},
  metrics: { metrics: true },
  lbr: { lbr: true },
  both: { metrics: true, lbr: true },
} as const;

function run(design: DesignName, asked: keyof typeof ASKED, code: GuestCode) {
  const machine = new HostMachine({ profile: WHOLE });
  const guest = machine.start({
    code: code.end().bytes,
    design: DESIGNS[design],
    exposure: ASKED[asked],
  });
  machine.finish();
  return { guest, ticks: machine.hosts[0]!.account.total() };
}

/** Slots on fixed counter 3 and their breakdown over loops with exits between them, then both read back. */
function slots(design: DesignName): readonly bigint[] {
  const code = new GuestCode()
    .skipFaults()
    .wrmsr(MSR.FIXED_CTR_CTRL, 0x3000n)
    .wrmsr(FIXED_CTR3, 0n)
    .wrmsr(PERF_METRICS, 0n)
    .wrmsr(MSR.GLOBAL_CTRL, SLOTS_AND_METRICS);
  for (let i = 0; i < EXITS; i++) code.loop(100).cpuid();
  code.wrmsr(MSR.GLOBAL_CTRL, 0n).reportMsr(FIXED_CTR3).reportMsr(PERF_METRICS);
  return run(design, 'both', code).guest.readings;
}

/** Branches recorded across exits: entries of the stack that hold an address. */
function recorded(design: DesignName): bigint | string {
  const code = new GuestCode().skipFaults().wrmsr(LBR_CTL, 0x7f_0007n);
  for (let i = 0; i < EXITS; i++) code.jump().cpuid();
  code.wrmsr(LBR_CTL, 0n);
  for (let entry = 0; entry < 32; entry++) code.reportMsr(LBR_FROM0 + entry);
  const { readings } = run(design, 'both', code).guest;
  if (readings[0] === ALL_ONES) return '#GP';
  return BigInt(readings.filter((address) => address !== 0n).length);
}

/** What one CPUID exit costs, and its accesses that switch the PMU. */
function perExit(design: DesignName, asked: keyof typeof ASKED) {
  const of = (exits: number) => {
    const code = new GuestCode();
    for (let i = 0; i < exits; i++) code.cpuid();
    const { guest, ticks } = run(design, asked, code);
    return { ticks, ...guest.vcpu.statistics.switching };
  };
  const [one, two] = [of(1), of(2)];
  return {
    cycles: two.ticks - one.ticks,
    accesses: two.rdmsr + two.wrmsr + two.rdpmc - one.rdmsr - one.wrmsr - one.rdpmc,
  };
}

const shown = (value: bigint): string =>
  value === ALL_ONES ? '#GP' : value === 0n ? '0' : `0x${value.toString(16)}`;

const COLUMNS = ['emulated', 'mediated', 'mediated-extras'] as const;

/** Topdown metrics and last branch records of a guest. */
export const extras: Scenario = {
  name: 'extras',
  title: 'PERF_METRICS and last branch records in a guest, and what each exit pays for them',
  why:
    'Metrics need fixed counter 3 and a slots leader to itself: behind an emulated vPMU perf cannot promise that, and ' +
    'the constraint that would have (Linux, September 2023) started the debate about passthrough instead. The merged ' +
    'mediated vPMU shows three fixed counters and no LBR. Handed over like the counters they work, and are switched ' +
    'like them: PERF_METRICS, LBR_CTL, LBR_DEPTH and three registers an entry, each a write at LOAD and a read at PUT. ' +
    'XSAVES of LBR state, which would be cheaper, is not supposed.',
  columns: COLUMNS,
  run: () => {
    const row = rowsOf(COLUMNS);
    const read = new Map(COLUMNS.map((design) => [design as DesignName, slots(design)]));
    return [
      row('slots the guest reads', (design) => {
        const [slots] = read.get(design)!;
        return slots === ALL_ONES ? '#GP' : slots!;
      }),
      row('PERF_METRICS the guest reads', (design) => shown(read.get(design)![1]!)),
      row('branches in 32 LBR entries', recorded),
      ...(['nothing', 'metrics', 'lbr', 'both'] as const).flatMap((asked) => {
        const prices = new Map(
          COLUMNS.map((design) => [design as DesignName, perExit(design, asked)]),
        );
        return [
          row(`switch accesses per exit, ${asked}`, (design) => prices.get(design)!.accesses),
          row(`cycles per CPUID exit, ${asked}*`, (design) => prices.get(design)!.cycles),
        ];
      }),
    ];
  },
};
