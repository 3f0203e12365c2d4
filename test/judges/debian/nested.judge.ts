import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildCommand, counterpoint, start } from '../../cli/command.ts';
import { initramfs } from './initramfs.ts';
import { DebianPackages } from './packages.ts';

const APPEND =
  'console=ttyS0 nokaslr panic=-1 reboot=t tsc=reliable no_timer_check mitigations=off quiet';
const PROFILE = process.env['COUNTERPOINT_PROFILE'] ?? 'sapphire-rapids';

/** Guests of a Debian kernel that is itself a guest. */
const GUESTS = ['count', 'overflow', 'emulated'];

const init = (guests: readonly string[]) => `export PATH=/bin
busybox mkdir -p /proc /sys /dev
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox mount -t devtmpfs dev /dev
busybox insmod /modules/irqbypass.ko
busybox insmod /modules/kvm.ko force_emulation_prefix=1
busybox insmod /modules/kvm-intel.ko enable_apicv=0
for name in ept unrestricted_guest vpid nested; do
  echo "kvm_intel $name $(busybox cat /sys/module/kvm_intel/parameters/$name)"
done
for guest in ${guests.join(' ')}; do kvm-run /guests/$guest.elf; done
busybox poweroff -f
`;

let packages: DebianPackages;

beforeAll(async () => {
  packages = new DebianPackages(['linux-image-cloud-amd64', 'busybox-static', 'cpio']);
  await buildCommand();
}, 600_000);

afterAll(() => packages.remove());

/** The console of Debian's kernel, which runs guests of ours by its KVM on one of our machines. */
async function consoleOf(guests: readonly string[], ...machine: string[]): Promise<string> {
  const modules = join(packages.path('lib/modules/6.'), 'kernel');
  const initrd = initramfs(packages, init(guests), {
    'bin/kvm-run': 'firmware/linux/kvm-run.elf',
    'modules/kvm.ko': join(modules, 'arch/x86/kvm/kvm.ko'),
    'modules/kvm-intel.ko': join(modules, 'arch/x86/kvm/kvm-intel.ko'),
    'modules/irqbypass.ko': join(modules, 'virt/lib/irqbypass.ko'),
    ...Object.fromEntries(guests.map((name) => [`guests/${name}.elf`, `firmware/${name}.elf`])),
  });
  const image = [packages.path('boot/vmlinuz-'), '--initrd', initrd, '--append', APPEND];
  const options = ['--profile', PROFILE, '--max-instructions', '20_000_000_000', ...machine];
  const child = start('run', ...image, ...options);
  let text = '';
  child.stdout.on('data', (bytes: Buffer) => {
    text += bytes.toString().replaceAll('\r', '');
  });
  child.stderr.resume();
  const status = await new Promise((resolve) => child.on('close', resolve));
  expect(status, text.slice(-2000)).toBe(0);
  return text;
}

/** What one guest has printed there. */
function printedBy(guest: string, text: string): string[] {
  const [, rest = ''] = text.split(`counterpoint guest: ${guest}\n`);
  const [printed = ''] = rest.split(/^kvm-run: status 0 after \d+ exits.*\n/m);
  return printed.split('\n');
}

/** The same under our KVM, or on the bare machine. */
function printedByOurs(guest: string, ...machine: string[]): string[] {
  const { stdout } = counterpoint('run', guest, '--profile', PROFILE, '--quiet', ...machine);
  return stdout.replace(`counterpoint guest: ${guest}\n`, '').split('\n');
}

describe.each(['emulated', 'passthrough'])(
  "Debian's KVM, unpatched, in a VM of ours with the %s vPMU",
  (machine) => {
    it('finds VMX there, and its guests count as they do on the processor', async ({ skip }) => {
      if (packages.missing) skip(packages.missing);
      const text = await consoleOf(GUESTS, '--machine', machine, '--nested');
      expect([...text.matchAll(/^kvm_intel (\w+) Y$/gm)].map(([, name]) => name)).toEqual([
        'ept',
        'unrestricted_guest',
        'vpid',
        'nested',
      ]);
      for (const guest of GUESTS) {
        expect(printedBy(guest, text), guest).toEqual(printedByOurs(guest, '-m', 'emulated'));
      }
    }, 3_600_000);
  },
);

/** One line of firmware/nested.asm as far as Linux is to agree: it counts VM entries as branches only. */
function agreed(line: string): string {
  const match =
    /^(.*?: reason \w+)(.*?), exits (\d+), instructions (\d+) branches (\d+) .*(status .*) value/.exec(
      line,
    );
  if (!match) return line;
  const [, what, , exits, instructions, branches, state] = match;
  return `${what} exits ${exits} together ${BigInt(instructions!) + BigInt(branches!)} ${state}`;
}

/** Lines that Debian's KVM does not print so, and why. */
const LINUX: readonly (readonly [RegExp, string])[] = [
  [/^(saved|read saved)/, 'it does not offer the saving of GLOBAL_CTRL'],
  [
    /^(overflow, an NMI|the same with virtual|an NMI to L2|an interrupt (that exits|to L2)|acknowledged)/,
    'VMRESUME is no instruction there: the counter overflows one instruction later, behind the same instructions and one branch more',
  ],
  [
    /^read then to L1/,
    'an interrupt that comes while L2 holds it back is not delivered as soon as L1 opens its window',
  ],
];

describe("nested VMX of ours and of Debian's KVM", () => {
  it('let a guest hypervisor and its guest see the same', async ({ skip }) => {
    if (packages.missing) skip(packages.missing);
    const lines = (printed: readonly string[]) =>
      printed.filter((line) => !LINUX.some(([pattern]) => pattern.test(line))).map(agreed);
    const theirs = lines(printedBy('nested', await consoleOf(['nested'])));
    const ours = printedByOurs('firmware/nested.elf', '-m', 'emulated', '--nested');
    expect(theirs).toEqual(lines(ours.slice(1)));
    expect(theirs.length).toBeGreaterThan(100);
  }, 3_600_000);
});
