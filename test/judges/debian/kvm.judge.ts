import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openGuest } from '../../../src/lab/guests.ts';
import { createMachine } from '../../../src/machine/create.ts';
import { readEvents } from '../../../src/machine/event-list.ts';
import { HostEvents } from '../../../src/machine/host-events.ts';
import type { VirtualMachine } from '../../../src/machine/virtual.ts';
import { buildCommand, counterpoint } from '../../cli/command.ts';
import { kvmParameters, LINUX_KVM, linuxWithKvm, ranUnder } from './linux-kvm.ts';
import { DebianPackages } from './packages.ts';

/** The processor below Linux, and below our KVM. */
const PROFILE = process.env['COUNTERPOINT_PROFILE'] ?? 'sapphire-rapids';

/** Guests whose exits are compared; `multiplex` depends on when its timer fires. */
const TRACED = ['count', 'emulated', 'overflow'];
const GUESTS = [...TRACED, 'multiplex'];

/** Host events pinned to the processor beside `count`: perf's name, the number of the generic event, how many. */
const BESIDE = (
  [
    ['branches', 4],
    ['instructions', 1],
  ] as const
).flatMap(([name, config]) => [6, 7, 8, 9, 11].map((events) => ({ name, config, events })));

/** I/O exits are what the guest prints; EPT violations are KVM's lazy mapping. */
const SCRIPT = `busybox mount -t tracefs trace /sys/kernel/tracing
cd /sys/kernel/tracing
echo 8192 > buffer_size_kb
for event in exit msr inj_virq inj_exception; do echo 1 > events/kvm/kvm_$event/enable; done
echo 'exit_reason != 30 && exit_reason != 48' > events/kvm/kvm_exit/filter
for guest in ${GUESTS.join(' ')}; do
  echo > trace
  echo 1 > tracing_on
  kvm-run /guests/$guest.elf
  echo 0 > tracing_on
  [ $guest = multiplex ] || busybox sed -n 's/.*: kvm_/kvm_/p' trace
  echo "end of $guest"
done
echo 0 > /proc/sys/kernel/nmi_watchdog
${BESIDE.map(({ name, config, events }) => `echo "beside ${events} ${name}"; beside ${events} ${config} /bin/kvm-run /guests/count.elf`).join('\n')}
`;

let packages: DebianPackages;
let console = '';

beforeAll(async () => {
  packages = new DebianPackages(LINUX_KVM);
  await buildCommand();
  if (packages.missing !== undefined) return;
  console = await linuxWithKvm(packages, {
    options: ['--profile', PROFILE],
    guests: GUESTS,
    script: SCRIPT,
  });
}, 3_600_000);

afterAll(() => packages.remove());

/** What Debian's KVM made of a guest: what it printed, and KVM's trace. */
function underDebian(guest: string): { printed: string; trace: string[] } {
  const { printed, after } = ranUnder(console, guest);
  return { printed, trace: after.split('\n').filter((line) => line.startsWith('kvm_')) };
}

/** The same of our KVM with the emulated vPMU. */
function underOurs(guest: string): { printed: string; trace: string[] } {
  const file = join(packages.folder, `${guest}.trace`);
  const traced = ['--trace', 'kvm', '--kernel-format', '6.1', '--trace-file', file];
  const machine = ['--machine', 'emulated', '--profile', PROFILE, '--quiet'];
  const { stdout } = counterpoint('run', guest, ...machine, ...traced);
  const lines = readFileSync(file, 'utf8').split('\n');
  const told = lines.map((line) => line.replace(/^.*?: (?=kvm_)/, ''));
  return {
    printed: stdout.replace(`counterpoint guest: ${guest}\n`, ''),
    trace: told.filter((line) => /^kvm_(exit|msr|inj)/.test(line) && !/IO_INSTRUCTION/.test(line)),
  };
}

/** Linux's KVM has TPR virtualised in x2APIC mode, ours has not: its accesses exit. */
function withoutTpr(trace: readonly string[]): string[] {
  const isTpr = (line = '') => /^kvm_msr: msr_\w+ 808 /.test(line);
  return trace.filter((line, at) => !isTpr(line) && !isTpr(trace[at + 1]));
}

describe("Debian's KVM, unpatched, as a hypervisor on our VMX", () => {
  it('finds in the capability MSRs what it asks for', ({ skip }) => {
    if (packages.missing) skip(packages.missing);
    expect(kvmParameters(console)).toEqual({
      ...{ ept: 'Y', unrestricted_guest: 'Y', vpid: 'Y' },
      ...{ pml: 'Y', preemption_timer: 'Y', nested: 'Y' },
    });
  });

  it.each(TRACED)('%s prints under its vPMU what it prints under ours', (guest) => {
    if (packages.missing) return;
    const { printed } = underDebian(guest);
    expect(printed).toMatch(/SUMMARY: \d+ tests\n/);
    expect(printed).toBe(underOurs(guest).printed);
  });

  it.each(TRACED)(
    '%s exits for the same reasons at the same instructions, with the same events injected',
    (guest) => {
      if (packages.missing) return;
      const theirs = underDebian(guest).trace.filter((line) => !/EXTERNAL_INTERRUPT/.test(line));
      expect(theirs.length).toBeGreaterThan(100);
      expect(theirs).toEqual(withoutTpr(underOurs(guest).trace));
      process.stdout.write(`  ${guest}: ${theirs.length} lines of trace\n`);
    },
  );

  it.each(BESIDE)(
    '$events pinned $name of the host take from count what they take under ours',
    ({ name, events }) => {
      if (packages.missing) return;
      const [, rest = ''] = console.split(`beside ${events} ${name}\n`);
      const [theirs] = rest.split(/^kvm-run: /m);
      const lost = /^beside: (\d+) of/m.exec(rest)?.[1];
      const machine = createMachine(openGuest('count').bytes, {
        machine: 'emulated',
        profile: PROFILE,
      });
      const wanted = readEvents(Array(events).fill(`${name}:D`).join(','), PROFILE);
      const host = new HostEvents(machine as VirtualMachine, wanted);
      machine.run();
      expect(theirs).toBe(machine.board.console);
      const inError = host.read().events.filter(({ errorAt }) => errorAt !== undefined);
      expect(Number(lost)).toBe(inError.length);
    },
  );

  it('multiplex finds every event under it, and counts by hand what it does', () => {
    if (packages.missing) return;
    const byHand = (text: string) => text.match(/^by-hand .*$/gm);
    const { printed } = underDebian('multiplex');
    expect(printed).toMatch(/SUMMARY: 3 tests\n/);
    expect(byHand(printed)).toEqual(byHand(underOurs('multiplex').printed));
  });
});
