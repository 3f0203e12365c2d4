import { DESIGNS, type DesignName } from '../kvm/vpmu/designs.ts';
import { HARDWARE_EVENTS, perfEventAttr } from '../perf/attr.ts';
import { type PerfEvent, STATE } from '../perf/event.ts';
import { NmiWatchdog } from '../perf/watchdog.ts';
import { GuestCode } from './scenarios/guest-code.ts';
import { hostFor, outcomeOf } from './scenarios/scenario.ts';

/** What a design leaves the host of its PMU while a VM exists; perf's answers, as it gave them. */
export interface HostRights {
  /** Opening cycles on the CPU with and without exclude_guest (:H) beside a VM: `opened`, or an errno. */
  readonly besideVm: string;
  readonly besideVmExcludingGuests: string;
  /** Starting a VM beside an open event that does not exclude guests, and what becomes of the event. */
  readonly vmBesideEvent: string;
  /** The NMI watchdog, an event that does not exclude guests. */
  readonly watchdog: string;
}

const CYCLES = perfEventAttr({ config: HARDWARE_EVENTS['cpu-cycles'] });

/** Asks a host of the design. @param design one that is not bare */
export function hostRights(design: DesignName, profile: string): HostRights {
  const code = new GuestCode().cpuid().end().bytes;
  const start = (machine: ReturnType<typeof hostFor>) => {
    machine.start({ code, design: DESIGNS[design] });
    machine.finish();
  };
  const beside = hostFor(design, { profile });
  start(beside);
  const open = (excludeGuest: boolean) =>
    outcomeOf(() => beside.perf.create({ ...CYCLES, excludeGuest }, { cpu: 0 }));
  const watchdog = outcomeOf(() => new NmiWatchdog(beside.perf, { cpus: [0] }).enable());

  const before = hostFor(design, { profile });
  let event: PerfEvent | undefined;
  const opened = outcomeOf(() => {
    event = before.perf.create(CYCLES, { cpu: 0 });
  });
  const started = outcomeOf(() => start(before));
  return {
    besideVm: open(false),
    besideVmExcludingGuests: open(true),
    vmBesideEvent: vmBesideEvent(opened, started, event),
    watchdog: watchdog === 'opened' ? 'runs, 1 counter' : watchdog,
  };
}

function vmBesideEvent(opened: string, started: string, event: PerfEvent | undefined): string {
  if (!event) return `no event: ${opened}`;
  if (started !== 'opened') return `no VM: ${started}`;
  return event.state === STATE.ERROR ? 'event: ERROR' : 'both run';
}
