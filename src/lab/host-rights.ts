import { perfOptionsOf, type VpmuDesign } from '../kvm/vpmu/designs.ts';
import { HostMachine } from '../machine/host-machine.ts';
import { HARDWARE_EVENTS, perfEventAttr } from '../perf/attr.ts';
import { type PerfEvent, STATE } from '../perf/event.ts';
import { NmiWatchdog } from '../perf/watchdog.ts';
import { GuestCode } from './scenarios/guest-code.ts';
import { outcomeOf } from './scenarios/scenario.ts';

/** What a design leaves the host of its PMU while a VM exists; perf's answers, as it gave them. */
export interface HostRights {
  /** Cycles on the CPU, opened beside a VM that has yet to run: `open` after it, `ERROR`, or refused with an errno. */
  readonly besideVm: string;
  /** The same with exclude_guest (:H). */
  readonly besideVmExcludingGuests: string;
  /** The VM beside an event that was there first and does not exclude guests: `no VM: -EBUSY`, or what became of the event. */
  readonly vmBesideEvent: string;
  /** The NMI watchdog, a pinned event that does not exclude guests, enabled beside the VM. */
  readonly watchdog: string;
}

const CYCLES = perfEventAttr({ config: HARDWARE_EVENTS['cpu-cycles'] });

/** Asks hosts of the design. */
export function hostRights(design: VpmuDesign, profile: string): HostRights {
  const code = new GuestCode().cpuid().end().bytes;
  const host = () => new HostMachine({ profile, perf: perfOptionsOf(design) });

  const beside = host();
  beside.start({ code, design });
  const [any, excluding, dog] = [
    opening(() => [beside.perf.create(CYCLES, { cpu: 0 })]),
    opening(() => [beside.perf.create({ ...CYCLES, excludeGuest: true }, { cpu: 0 })]),
    opening(() => {
      const watchdog = new NmiWatchdog(beside.perf, { cpus: [0] });
      watchdog.enable();
      return watchdog.events;
    }),
  ];
  beside.finish();

  const before = host();
  const earlier = opening(() => [before.perf.create(CYCLES, { cpu: 0 })]);
  const started = outcomeOf(() => before.start({ code, design }));
  if (started === 'opened') before.finish();
  return {
    besideVm: any.now(),
    besideVmExcludingGuests: excluding.now(),
    vmBesideEvent: started === 'opened' ? `event ${earlier.now()}` : `no VM: ${started}`,
    watchdog: dog.now(),
  };
}

/** Opens events; `now` says how they are by the time it is asked: `open`, `ERROR`, or the errno of the refusal. */
function opening(open: () => readonly PerfEvent[]): { now: () => string } {
  let events: readonly PerfEvent[] = [];
  const outcome = outcomeOf(() => {
    events = open();
  });
  const now = () => (events.some(({ state }) => state === STATE.ERROR) ? 'ERROR' : 'open');
  return { now: () => (outcome === 'opened' ? now() : outcome) };
}
