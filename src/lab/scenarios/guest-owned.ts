import { DESIGNS, type VpmuDesign } from '../../kvm/vpmu/designs.ts';
import { type HostedProgram, HostMachine } from '../../machine/host-machine.ts';
import { HARDWARE_EVENTS, type PerfEventAttr, perfEventAttr } from '../../perf/attr.ts';
import { type PerfEvent, STATE } from '../../perf/event.ts';
import { countedBy, countingLoop } from './guest-code.ts';
import { outcomeOf, type Scenario } from './scenario.ts';

const TURNS = 50_000;
const INSTRUCTIONS = perfEventAttr({ config: HARDWARE_EVENTS.instructions });

/** Opens an event; `now` says what has become of it. */
function open(
  machine: HostMachine,
  attr: PerfEventAttr,
  target: Parameters<HostMachine['perf']['create']>[1],
) {
  let event: PerfEvent | undefined;
  const outcome = outcomeOf(() => {
    event = machine.perf.create(attr, target);
  });
  return {
    now: () => (event === undefined ? outcome : event.state === STATE.ERROR ? 'ERROR' : 'alive'),
    count: () => (event && machine.perf.read(event)?.count) ?? 'none',
  };
}

const COLUMNS = ['development guest', 'production guest'] as const;

/** A guest that asked for the PMU at boot beside one that did not. */
export const guestOwned: Scenario = {
  name: 'guest-owned',
  title: 'a guest that asks at boot gets the PMU, the one beside it can be profiled',
  why:
    'Zijlstra’s terms of October 2023, per guest and at boot: the production guest asked for the PMU and has it to ' +
    'itself, so the host cannot profile it, and an event of the host that does not exclude guests goes to ERROR on ' +
    'the processor where it meets that guest’s vCPU, there and nowhere else. What is refused is as little as can be: ' +
    'an event on that vCPU’s own thread. The development guest beside it did not ask; its counters are events of ' +
    'host perf, and the host counts its instructions to the last one.',
  columns: COLUMNS,
  run: () => {
    const machine = new HostMachine({ processors: 2 });
    const designs: readonly VpmuDesign[] = [DESIGNS.emulated, DESIGNS['guest-owned']];
    const wide = designs.map((_, cpu) => open(machine, INSTRUCTIONS, { cpu }));
    const excluding = designs.map((_, cpu) =>
      open(machine, { ...INSTRUCTIONS, excludeGuest: true }, { cpu }),
    );
    const guests = designs.map((design, cpu) =>
      machine.start({ code: countingLoop(TURNS), design, cpus: [cpu] }),
    );
    const own = guests.map(({ vcpu }) =>
      open(machine, { ...INSTRUCTIONS, excludeHost: true }, { task: vcpu.task }),
    );
    machine.finish();
    const row = (
      what: string,
      value: (guest: HostedProgram, at: number) => bigint | number | string,
    ) => ({
      what,
      values: Object.fromEntries(COLUMNS.map((column, at) => [column, value(guests[at]!, at)])),
    });
    return [
      row('guest reads', ({ readings }) => readings[0]!),
      row('truth', () => countedBy(TURNS)),
      row('host event on its thread', (_, at) => own[at]!.now()),
      row('… has counted', (_, at) => own[at]!.count()),
      row('instructions of the guest', (guest) => guest.truth('instructions') - emulated(guest)),
      row('… that KVM carried out', emulated),
      row('host event on its processor', (_, at) => wide[at]!.now()),
      row('host event there with :H', (_, at) => excluding[at]!.now()),
    ];
  },
};

/** Instructions that KVM carried out for a guest; no counter of the host’s saw them retire in it. */
const emulated = ({ ledgers }: HostedProgram): bigint =>
  ledgers.reduce(
    (sum, ledger) => sum + ledger.read('instructions') - ledger.inPerson('instructions'),
    0n,
  );
