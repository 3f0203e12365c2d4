import { grouped } from '../../bits/decimal.ts';
import { DESIGNS, type VpmuDesign } from '../../kvm/vpmu/designs.ts';
import { HARDWARE_EVENTS, type PerfEventAttr, perfEventAttr } from '../../perf/attr.ts';
import { STATE } from '../../perf/event.ts';
import { GuestCode, MSR, SELECT } from './guest-code.ts';
import { hostFor, runWatching, type Scenario } from './scenario.ts';

const COUNTERS = 8;
const REGIONS = 10;
const TURNS = 1_000;
/** Turns of a loop between two regions, that the guest does not count. */
const OUTSIDE = 500;
const TRUTH = BigInt(REGIONS * TURNS);
const ALL = TRUTH + BigInt(REGIONS * OUTSIDE);

/** The three switches in all combinations, by what is on. */
const COMBINATIONS = [
  { name: 'none', on: '' },
  { name: 'priority', on: 'p' },
  { name: 'identity', on: 'i' },
  { name: 'sides', on: 's' },
  { name: 'priority + identity', on: 'pi' },
  { name: 'priority + sides', on: 'ps' },
  { name: 'identity + sides', on: 'is' },
  { name: 'all three', on: 'pis' },
] as const;

const designOf = (name: string, on: string): VpmuDesign => ({
  ...DESIGNS.emulated,
  name,
  alwaysWins: on.includes('p'),
  identity: on.includes('i'),
  sharesSides: on.includes('s'),
});

/** Branches on every general-purpose counter, GLOBAL_CTRL opened and closed around each of ten loops. */
function guestProgram(): Uint8Array {
  const code = new GuestCode().wrmsr(MSR.GLOBAL_CTRL, 0n);
  for (let i = 0; i < COUNTERS; i++) code.wrmsr(MSR.PERFEVTSEL0 + i, SELECT.BRANCHES);
  for (let region = 0; region < REGIONS; region++) {
    code.wrmsr(MSR.GLOBAL_CTRL, 0xffn).loop(TURNS).wrmsr(MSR.GLOBAL_CTRL, 0n).loop(OUTSIDE);
  }
  for (let i = 0; i < COUNTERS; i++) code.reportMsr(MSR.PMC0 + i);
  return code.end().bytes;
}

function run(design: VpmuDesign) {
  const machine = hostFor(design, { profile: 'skylake-server' });
  const open = (told: Partial<PerfEventAttr>) =>
    machine.perf.create(perfEventAttr({ config: HARDWARE_EVENTS.branches, ...told }), { cpu: 0 });
  const pinned = [0, 1].map(() => open({ pinned: true, excludeGuest: true }));
  const flexible = open({ excludeGuest: true });
  const observer = open({ pinned: true, excludeHost: true });
  const guest = machine.start({ code: guestProgram(), design });
  let waited = false;
  runWatching(machine, guest, () => {
    waited ||= flexible.state === STATE.INACTIVE;
  });
  const seen = machine.perf.read(observer);
  const { statistics } = guest.vcpu;
  return {
    'guest right': guest.readings.filter((value) => value === TRUTH).length,
    ':H dead': pinned.filter(({ state }) => state === STATE.ERROR).length,
    ':H flexible': waited ? 'waited' : 'never waited',
    ':G reads': seen ? seen.count : 'ERROR',
    exits: statistics.msrExits.get(MSR.GLOBAL_CTRL)?.writes ?? 0,
    swaps: statistics.loads + statistics.puts,
    'host ticks*': machine.hosts[0]!.account.total(),
  };
}

/** The three switches that the thread of October 2023 asks for, each alone and together. */
export const counterfactuals: Scenario = {
  name: 'counterfactuals',
  title: 'a priority class, an identity map, counters shared by sides: each alone and together',
  why:
    `A guest counts branches on its eight counters and opens and closes GLOBAL_CTRL ten times: ${grouped(TRUTH)} are the truth ` +
    `inside, ${grouped(ALL)} in all. The host has two CPU-pinned :H events and a flexible one, and a CPU-pinned :G observer. ` +
    'Priority gives the guest its counters and kills what was pinned there. The identity map spares the exits for ' +
    'GLOBAL_CTRL, which are all that is listed here, and two pauses and resumes of eight events for each pair; but a host ' +
    'event on a counter the guest can see counts only while the guest has that bit open: the :G observer misses what is ' +
    'outside. Shared sides give :H events and the guest’s one counter each in turn, for a swap at every entry and exit; ' +
    'the observer is on the guest’s side and still takes one for itself, or loses to priority.',
  columns: ['guest right', ':H dead', ':H flexible', ':G reads', 'exits', 'swaps', 'host ticks*'],
  run: () => COMBINATIONS.map(({ name, on }) => ({ what: name, values: run(designOf(name, on)) })),
};
