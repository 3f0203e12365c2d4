import { join } from 'node:path';
import { expect } from 'vitest';
import { start } from '../../cli/command.ts';
import { initramfs } from './initramfs.ts';
import type { DebianPackages } from './packages.ts';

/** Debian packages that a machine with KVM takes. */
export const LINUX_KVM = ['linux-image-cloud-amd64', 'busybox-static', 'cpio'];

const APPEND =
  'console=ttyS0 nokaslr panic=-1 reboot=t tsc=reliable no_timer_check mitigations=off quiet';

/** Mounts what a machine has, loads KVM and tells its parameters. */
const kvm = (parameters: string): string => `export PATH=/bin
busybox mkdir -p /proc /sys /dev
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox mount -t devtmpfs dev /dev
busybox insmod /modules/irqbypass.ko
busybox insmod /modules/kvm.ko force_emulation_prefix=1
busybox insmod /modules/kvm-intel.ko enable_apicv=0 ${parameters}
for name in ept unrestricted_guest vpid pml preemption_timer nested; do
  echo "kvm_intel $name $(busybox cat /sys/module/kvm_intel/parameters/$name)"
done
`;

/**
 * Boots Debian's kernel with its KVM, runs a script there and ends; what its console showed.
 * @param options of `counterpoint run`; @param parameters of kvm-intel.ko; @param guests images of ours in /guests
 */
export async function linuxWithKvm(
  packages: DebianPackages,
  {
    options,
    parameters = '',
    guests,
    script,
  }: { options: string[]; parameters?: string; guests: string[]; script: string },
): Promise<string> {
  const modules = join(packages.path('lib/modules/6.'), 'kernel');
  const initrd = initramfs(packages, `${kvm(parameters)}${script}busybox poweroff -f\n`, {
    'bin/beside': 'firmware/linux/beside.elf',
    'bin/kvm-run': 'firmware/linux/kvm-run.elf',
    'modules/kvm.ko': join(modules, 'arch/x86/kvm/kvm.ko'),
    'modules/kvm-intel.ko': join(modules, 'arch/x86/kvm/kvm-intel.ko'),
    'modules/irqbypass.ko': join(modules, 'virt/lib/irqbypass.ko'),
    ...Object.fromEntries(guests.map((name) => [`guests/${name}.elf`, `firmware/${name}.elf`])),
  });
  const images = ['--initrd', initrd, '--append', APPEND];
  const limit = ['--max-instructions', '20_000_000_000'];
  const child = start('run', packages.path('boot/vmlinuz-'), ...images, ...limit, ...options);
  let console = '';
  child.stdout.on('data', (bytes: Buffer) => {
    console += bytes.toString().replaceAll('\r', '');
  });
  child.stderr.resume();
  const status = await new Promise((resolve) => child.on('close', resolve));
  expect(status, console.slice(-2000)).toBe(0);
  return console;
}

/** What a guest printed that `kvm-run` ran there, and what the script said up to its `end of`. */
export function ranUnder(console: string, guest: string): { printed: string; after: string } {
  const [, rest = ''] = console.split(`counterpoint guest: ${guest}\n`);
  const [printed = '', after = ''] = rest.split(/^kvm-run: status 0 after \d+ exits.*\n/m);
  return { printed, after: after.split(`end of ${guest}\n`)[0]! };
}

/** What KVM says of itself there. */
export const kvmParameters = (console: string): Readonly<Record<string, string>> =>
  Object.fromEntries(
    [...console.matchAll(/^kvm_intel (\w+) (\w)$/gm)].map(([, name, has]) => [name, has]),
  );
