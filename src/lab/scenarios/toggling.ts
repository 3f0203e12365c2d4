import { DESIGNS, type DesignName } from '../../kvm/vpmu/designs.ts';
import type { HostedProgram, HostMachine } from '../../machine/host-machine.ts';
import { GuestCode, MSR, SELECT } from './guest-code.ts';
import { hostFor, type Scenario, table } from './scenario.ts';

/** A profile on which KVM can show a guest every counter. */
const WHOLE = { profile: 'skylake-server' } as const;

const times = (
  machine: HostMachine,
  row: Parameters<HostMachine['hosts'][0]['account']['entry']>[0],
) => machine.hosts[0]!.account.entry(row).times;

/** All exits but those for the report port and the end. */
const exits = ({ vcpu }: HostedProgram) =>
  [...vcpu.statistics.exits].reduce((sum, [reason, n]) => sum + (reason === IO ? 0 : n), 0);
const IO = 30;

/** Runs two programs that differ in one thing and answers the difference of what they cost. */
function difference(
  design: DesignName,
  programs: readonly [Uint8Array, Uint8Array],
  measure: (machine: HostMachine, guest: HostedProgram) => Readonly<Record<string, number>>,
): Record<string, number> {
  const [without, with_] = programs.map((code) => {
    const machine = hostFor(design, WHOLE);
    const guest = machine.start({ code, design: DESIGNS[design] });
    machine.finish();
    return measure(machine, guest);
  }) as [Record<string, number>, Record<string, number>];
  return Object.fromEntries(Object.keys(with_).map((key) => [key, with_[key]! - without[key]!]));
}

const COUNTING = 4;

const prepared = (): GuestCode => {
  const code = new GuestCode().wrmsr(MSR.GLOBAL_CTRL, 0n);
  for (let i = 0; i < COUNTING; i++) code.wrmsr(MSR.PERFEVTSEL0 + i, SELECT.INSTRUCTIONS);
  return code;
};
const MASK = (1n << BigInt(COUNTING)) - 1n;

/** GLOBAL_CTRL 0 → mask → 0. */
export const toggle: Scenario = {
  name: 'toggle',
  title: 'the price of opening and closing GLOBAL_CTRL once',
  why:
    'Linux guests close GLOBAL_CTRL at the start of every PMI and context switch and open it at the end. Under the ' +
    'emulated vPMU each of the two writes exits, and each of the n enabled counters’ events is resumed and paused ' +
    'in between. Where GLOBAL_CTRL passes, nothing leaves the guest.',
  columns: ['emulated', 'emulated-identity', 'mediated'],
  run: () =>
    table(['emulated', 'emulated-identity', 'mediated'], (design) => {
      const programs = [1, 2].map((rounds) => {
        const code = prepared();
        for (let i = 0; i < rounds; i++) {
          code.wrmsr(MSR.GLOBAL_CTRL, MASK).loop(1000).wrmsr(MSR.GLOBAL_CTRL, 0n);
        }
        return code.end().bytes;
      }) as [Uint8Array, Uint8Array];
      return difference(design, programs, (machine, guest) => ({
        'counters enabled': 0,
        'VM exits': exits(guest),
        'events paused or resumed':
          times(machine, 'perf-event-pause') + times(machine, 'perf-event-resume'),
        'events created': times(machine, 'perf-event-create'),
        'LOAD and PUT': guest.vcpu.statistics.loads + guest.vcpu.statistics.puts,
        'ticks of the host*': machine.hosts[0]!.account.total(),
      }));
    }).filter(({ what }) => what !== 'counters enabled'),
};

/** CPUID inside a counted region. */
export const cpuid: Scenario = {
  name: 'cpuid',
  title: 'the price of one CPUID inside a counted region',
  why:
    'CPUID always exits and KVM carries it out, so KVM has to count it. The emulated vPMU adds one to each ' +
    'counter that counts instructions and asks for a reprogram: one pause and one resume of a host event for each. ' +
    'The mediated one adds one to the saved counter; it pays with PUT and LOAD instead, on every exit.',
  columns: ['emulated', 'mediated'],
  run: () =>
    table(['emulated', 'mediated'], (design) => {
      const programs = [10, 11].map((cpuids) => {
        const code = prepared().wrmsr(MSR.GLOBAL_CTRL, MASK);
        for (let i = 0; i < cpuids; i++) code.cpuid();
        return code.wrmsr(MSR.GLOBAL_CTRL, 0n).reportMsr(MSR.PMC0).end().bytes;
      }) as [Uint8Array, Uint8Array];
      return difference(design, programs, (machine, guest) => ({
        'VM exits': exits(guest),
        'events paused or resumed':
          times(machine, 'perf-event-pause') + times(machine, 'perf-event-resume'),
        'LOAD and PUT': guest.vcpu.statistics.loads + guest.vcpu.statistics.puts,
        // XOR and CPUID.
        'instructions the guest counts': Number(guest.readings[0]),
        'instructions that truly retired': Number(guest.truth('instructions')),
        'ticks of the host*': machine.hosts[0]!.account.total(),
      }));
    }),
};

const ROTATIONS = 10;
const EVENTS = 9;

/** One turn of a guest that rotates events over its counters, as Linux's perf does it. */
const rotation = (code: GuestCode): void => {
  code.wrmsr(MSR.GLOBAL_CTRL, 0n);
  for (let i = 0; i < EVENTS - 1; i++) {
    code.wrmsr(MSR.PERFEVTSEL0 + i, 0x13_00c0n).rdpmc(i);
    code.wrmsr(MSR.PMC0 + i, 0xffff_0000n).wrmsr(MSR.PERFEVTSEL0 + i, 0x53_00c0n);
  }
  // The ninth is on fixed counter 0: its control is one write each way for the selector's.
  code.wrmsr(MSR.FIXED_CTR_CTRL, 0n).rdpmc(0x4000_0000);
  code.wrmsr(MSR.FIXED_CTR0, 0xffff_0000n).wrmsr(MSR.FIXED_CTR_CTRL, 0xbn);
  code.wrmsr(MSR.GLOBAL_CTRL, 0x1_0000_00ffn);
};

/** Ten events on eight general-purpose counters and a fixed one. */
export const tenOnNine: Scenario = {
  name: 'ten-on-nine',
  title: 'ten events on nine counters: what one rotation in the guest costs',
  why:
    'The guest’s perf takes nine of its ten events off and puts nine others on: per event the selector off, RDPMC, ' +
    'a counter value, the selector on, between two writes of GLOBAL_CTRL. Emulated, all of that exits, 2 + 4s for s ' +
    'events; mediated, only the selectors and FIXED_CTR_CTRL do, 2s; with every register passed through, nothing.',
  columns: ['emulated', 'mediated', 'rfc-v1', 'rfc-v1-filter'],
  run: () =>
    table(['emulated', 'mediated', 'rfc-v1', 'rfc-v1-filter'], (design) => {
      const programs = [1, 1 + ROTATIONS].map((turns) => {
        const code = new GuestCode();
        for (let i = 0; i < turns; i++) rotation(code);
        return code.end().bytes;
      }) as [Uint8Array, Uint8Array];
      const { exits: all, operations } = difference(design, programs, (machine, guest) => ({
        exits: exits(guest),
        operations:
          times(machine, 'perf-event-pause') +
          times(machine, 'perf-event-resume') +
          times(machine, 'perf-event-period') +
          times(machine, 'perf-event-create') +
          times(machine, 'perf-event-release'),
      })) as { exits: number; operations: number };
      return {
        'events scheduled in a rotation': EVENTS,
        'VM exits of a rotation': all / ROTATIONS,
        'operations on host events of a rotation': operations / ROTATIONS,
      };
    }),
};
