import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openGuest } from '../../../src/lab/guests.ts';
import { createMachine } from '../../../src/machine/create.ts';
import { readEvents } from '../../../src/machine/event-list.ts';
import { HostEvents } from '../../../src/machine/host-events.ts';
import type { VirtualMachine } from '../../../src/machine/virtual.ts';
import { buildCommand, counterpoint, start } from '../../cli/command.ts';
import { initramfs } from './initramfs.ts';
import { DebianPackages } from './packages.ts';

const APPEND =
  'console=ttyS0 nokaslr panic=-1 reboot=t tsc=reliable no_timer_check mitigations=off quiet';

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
const INIT = `export PATH=/bin
busybox mkdir -p /proc /sys /dev
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox mount -t devtmpfs dev /dev
busybox mount -t tracefs trace /sys/kernel/tracing
busybox insmod /modules/irqbypass.ko
busybox insmod /modules/kvm.ko force_emulation_prefix=1
busybox insmod /modules/kvm-intel.ko enable_apicv=0
for name in ept unrestricted_guest vpid pml preemption_timer nested; do
  echo "kvm_intel $name $(busybox cat /sys/module/kvm_intel/parameters/$name)"
done
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
busybox poweroff -f
`;

let packages: DebianPackages;
let console = '';

beforeAll(async () => {
  packages = new DebianPackages(['linux-image-cloud-amd64', 'busybox-static', 'cpio']);
  await buildCommand();
  if (packages.missing !== undefined) return;
  const modules = join(packages.path('lib/modules/6.'), 'kernel');
  const initrd = initramfs(packages, INIT, {
    'bin/beside': 'firmware/linux/beside.elf',
    'bin/kvm-run': 'firmware/linux/kvm-run.elf',
    'modules/kvm.ko': join(modules, 'arch/x86/kvm/kvm.ko'),
    'modules/kvm-intel.ko': join(modules, 'arch/x86/kvm/kvm-intel.ko'),
    'modules/irqbypass.ko': join(modules, 'virt/lib/irqbypass.ko'),
    ...Object.fromEntries(GUESTS.map((name) => [`guests/${name}.elf`, `firmware/${name}.elf`])),
  });
  const options = [
    '--profile',
    PROFILE,
    '--initrd',
    initrd,
    '--append',
    APPEND,
    '--max-instructions',
    '20_000_000_000',
  ];
  const child = start('run', packages.path('boot/vmlinuz-'), ...options);
  child.stdout.on('data', (bytes: Buffer) => {
    console += bytes.toString().replaceAll('\r', '');
  });
  child.stderr.resume();
  const status = await new Promise((resolve) => child.on('close', resolve));
  expect(status, console.slice(-2000)).toBe(0);
}, 3_600_000);

afterAll(() => packages.remove());

/** What Debian's KVM made of a guest: what it printed, and KVM's trace. */
function underDebian(guest: string): { printed: string; trace: string[] } {
  const [, rest = ''] = console.split(`counterpoint guest: ${guest}\n`);
  const [printed = '', after = ''] = rest.split(/^kvm-run: status 0 after \d+ exits.*\n/m);
  const [trace = ''] = after.split(`end of ${guest}\n`);
  return { printed, trace: trace.split('\n').filter((line) => line.startsWith('kvm_')) };
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
    const found = [...console.matchAll(/^kvm_intel (\w+) (\w)$/gm)].map(([, name, has]) => [
      name,
      has,
    ]);
    expect(found).toEqual(
      ['ept', 'unrestricted_guest', 'vpid', 'pml', 'preemption_timer', 'nested'].map((name) => [
        name,
        'Y',
      ]),
    );
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
