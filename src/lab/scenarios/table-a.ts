import { DESIGNS, type DesignName } from '../../kvm/vpmu/designs.ts';
import { costsAt } from '../../machine/costs.ts';
import { GuestCode, MSR } from './guest-code.ts';
import { hostFor, rowsOf, type Scenario } from './scenario.ts';

const MILLISECOND = 3_000_000;
/** Ticks of the guest's clock that each score is taken over, after one to settle. */
const WINDOW = 4;
const TIMER = 0x40;
/** Ticks of the TSC in one of the APIC timer's undivided clock. */
const TICKS_PER_COUNT = 120;
const [FIXED_0, RDPMC_FIXED_0] = [0x309, 0x4000_0000];
/** INST_RETIRED with INT, at all levels; and without EN. */
const [ON, OFF] = [0x53_00c0n, 0x13_00c0n];
/** Instructions the guest's own handler spends on a sample, beyond its PMU accesses: assumed. */
const SAMPLE_WORK = 5_000;
/** Instructions after the tick at which the sampled counters wrap: once a tick. */
const SOON = 20_000;

type Load = 'none' | 'basic' | 'multiplexed';

/** Events scheduled at a time: six, or nine of ten on eight general-purpose counters and fixed 0. */
const SCHEDULED = { none: 0, basic: 6, multiplexed: 9 } as const;

/** Per scheduled event what the guest's perf does to take it off and put it on again with a fresh value. */
function reschedule(code: GuestCode, events: number): void {
  for (let i = 0; i < Math.min(events, 8); i++) {
    code.wrmsr(MSR.PERFEVTSEL0 + i, OFF).rdpmc(i);
    code.wrmsr(MSR.PMC0 + i, BigInt(2 ** 32 - SOON)).wrmsr(MSR.PERFEVTSEL0 + i, ON);
  }
  if (events < 9) return;
  code.wrmsr(MSR.FIXED_CTR_CTRL, 0n).rdpmc(RDPMC_FIXED_0);
  code.wrmsr(FIXED_0, BigInt(2 ** 48 - SOON)).wrmsr(MSR.FIXED_CTR_CTRL, 0xbn);
}

const maskOf = (events: number): bigint =>
  ((1n << BigInt(Math.min(events, 8))) - 1n) | (events === 9 ? 1n << 32n : 0n);

/**
 * A guest whose perf samples: on the tick it re-tunes every scheduled event, multiplexed it rotates as well; all events
 * wrap together soon after, into Linux's PMI handler.
 */
function guest(load: Load, tick: number): Uint8Array {
  const events = SCHEDULED[load];
  const mask = maskOf(events);
  const code = new GuestCode().onInterrupts([
    [
      2,
      (handler) => {
        handler
          .wrmsr(MSR.GLOBAL_CTRL, 0n)
          .rdmsr(MSR.GLOBAL_STATUS)
          .wrmsr(MSR.GLOBAL_OVF_CTRL, mask);
        for (let i = 0; i < Math.min(events, 8); i++) {
          handler.rdpmc(i).wrmsr(MSR.PMC0 + i, 0x8000_0000n);
        }
        if (events === 9) handler.rdpmc(RDPMC_FIXED_0).wrmsr(FIXED_0, 0n);
        handler.nop().rdmsr(MSR.GLOBAL_STATUS);
        for (let i = 0; i < events; i++) handler.sampleWork(SAMPLE_WORK);
        handler.wrmsr(MSR.GLOBAL_CTRL, mask).wrmsr(0x834, 0x400n);
      },
    ],
    [
      TIMER,
      (handler) => {
        for (let turn = 0; turn < (load === 'multiplexed' ? 2 : 1) && events > 0; turn++) {
          handler.wrmsr(MSR.GLOBAL_CTRL, 0n);
          reschedule(handler, events);
          handler.wrmsr(MSR.GLOBAL_CTRL, mask);
        }
        handler.wrmsr(0x80b, 0n);
      },
    ],
  ]);
  code
    .lvtpc(0x400n)
    .wrmsr(MSR.GLOBAL_CTRL, 0n)
    .periodicTimer(TIMER, tick / TICKS_PER_COUNT);
  return code.allowInterrupts().work().bytes;
}

/** What a run supposes beside the design and the load. */
interface Supposed {
  /** The guest's HZ. */
  readonly hz?: 250 | 1000;
  readonly costs?: ReturnType<typeof costsAt>;
}

/** Rounds of the workload in the window, and VM exits in a millisecond of it. */
function score(design: DesignName, load: Load, { hz = 1000, costs }: Supposed) {
  const tick = (MILLISECOND * 1000) / hz;
  const machine = hostFor(design, { profile: 'skylake-server', ...(costs && { costs }) });
  const { vcpu } = machine.start({ code: guest(load, tick), design: DESIGNS[design] });
  const look = () =>
    machine.kernel.onCpu(0, () => ({
      rounds: Number(vcpu.gpr[15]),
      exits: [...vcpu.statistics.exits.values()].reduce((a, b) => a + b, 0),
    }));
  machine.run(tick);
  const before = look();
  machine.run(WINDOW * tick);
  const after = look();
  const milliseconds = (WINDOW * 1000) / hz;
  return {
    rounds: after.rounds - before.rounds,
    exits: (after.exits - before.exits) / milliseconds,
  };
}

const LOADS = ['basic', 'multiplexed'] as const;

/** Share of the score that each load takes, and the exits it makes. */
function losses(design: DesignName, supposed: Supposed = {}) {
  const none = score(design, 'none', supposed);
  const [basic, multiplexed] = LOADS.map((load) => {
    const { rounds, exits } = score(design, load, supposed);
    return { lost: 1 - rounds / none.rounds, exits: exits - none.exits };
  });
  return { basic: basic!, multiplexed: multiplexed! };
}

const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;

/** SPECint-2017 scores lost under guest perf, Sapphire Rapids; cover letter of the RFC, 26 January 2024. */
// biome-ignore format: a table
const PUBLISHED = {
  emulated:        { basic: 0.3362, multiplexed: 0.7932 },
  'rfc-v1':        { basic: 0.0424, multiplexed: 0.0734 },
  'rfc-v1-filter': { basic: 0.0621, multiplexed: 0.1045 },
} as const;
const published = (design: DesignName) =>
  Object.hasOwn(PUBLISHED, design) ? PUBLISHED[design as keyof typeof PUBLISHED] : undefined;

const COLUMNS = ['emulated', 'rfc-v1', 'rfc-v1-filter', 'mediated', 'opt-out'] as const;

/** The published comparison, with a workload of ours. */
export const tableA: Scenario = {
  name: 'table-a',
  title: 'score lost to perf in the guest, beside the published Table A',
  why:
    'Scores are modelled, exits exact, published figures cited. Overhead is lost score, that is lost share of wall ' +
    'time: 79 % means a fifth of the speed. It does not fit. Emulated, more is lost than was published, because each ' +
    'exit inside the counted region (EOI, LVTPC) pauses and resumes every counter too, which the fit left out. The ' +
    'filter’s surcharge grows faster from basic to multiplexed than the published one. Passed through, the guest’s ' +
    'own sampling is most of what is lost, and how much of it the published runs had is not known. Nothing was tuned ' +
    'to come nearer. Caveats: (1) A check after the fact with chosen assumptions, not a measurement: HZ, vCPU count ' +
    'and frequency were not published; HZ = 1000, rotation every millisecond, all events wrapping together and 5,000 ' +
    'instructions of guest work a sample are assumed. (2) The ratio of multiplexed to basic hangs on them: see ' +
    'table-a-sensitivity. (3) The filter column does not fit, whatever the costs. (4) 22,000 cycles per host event ' +
    'operation were fitted to the emulated column and have no measurement behind them. (5) One number tuned to two ' +
    'cells has shown one thing, their ratio.',
  columns: COLUMNS,
  run: () => {
    const row = rowsOf(COLUMNS);
    const measured = new Map(COLUMNS.map((design) => [design, losses(design)]));
    const of = (design: (typeof COLUMNS)[number]) => measured.get(design)!;
    return [
      ...LOADS.flatMap((load) => [
        row(`${load}: score lost*`, (design) => percent(of(design)[load].lost)),
        row(`${load}: published`, (design) => {
          const known = published(design);
          return known ? percent(known[load]) : 'none';
        }),
        row(`${load}: VM exits a millisecond`, (design) => Math.round(of(design)[load].exits)),
      ]),
      row('multiplexed / basic', (design) =>
        ratio(of(design).multiplexed.lost, of(design).basic.lost),
      ),
      row('multiplexed / basic, published', (design) => {
        const known = published(design);
        return known ? ratio(known.multiplexed, known.basic) : 'none';
      }),
    ];
  },
};

const ratio = (multiplexed: number, basic: number): string => (multiplexed / basic).toFixed(2);

const PUBLISHED_COLUMNS = ['emulated', 'rfc-v1', 'rfc-v1-filter'] as const;

/** How far the comparison hangs on what it supposes. */
export const tableASensitivity: Scenario = {
  name: 'table-a-sensitivity',
  title: 'Table A again, with every cost at either end of its range, and with a slower clock',
  why:
    'Every row of the cost table has a range it may be doubted in; here all rows stand at one end at once. The fitted ' +
    '22,000 cycles of a host event operation go from 2,500 to 30,000 with it, and with them the whole emulated column: ' +
    'at the low end it loses a quarter of what was published. HZ was not published either; at 250, with ' +
    'rotation every 4 ms, a quarter of the operations remain.',
  columns: PUBLISHED_COLUMNS,
  run: () => {
    const row = rowsOf(PUBLISHED_COLUMNS);
    const cases: readonly (readonly [string, Supposed])[] = [
      ['all cost the low', { costs: costsAt('low') }],
      ['all cost the high', { costs: costsAt('high') }],
      ['HZ = 250', { hz: 250 }],
    ];
    return cases.flatMap(([what, supposed]) => {
      const measured = new Map(
        PUBLISHED_COLUMNS.map((design) => [design, losses(design, supposed)]),
      );
      return LOADS.map((load) =>
        row(`${load}, ${what}*`, (design) => percent(measured.get(design)![load].lost)),
      );
    });
  },
};
