import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildCommand, start } from '../../cli/command.ts';
import { initramfs } from './initramfs.ts';
import { DebianPackages } from './packages.ts';

const APPEND =
  'console=ttyS0 earlyprintk=serial,ttyS0,115200 nokaslr panic=-1 reboot=t tsc=reliable no_timer_check mitigations=off';
const INIT = `/bin/busybox mkdir -p /proc
/bin/busybox mount -t proc proc /proc
echo "user space: $(/bin/busybox uname -sm), $(/bin/busybox nproc) processors"
/bin/perf-count
/bin/busybox poweroff -f
`;

const PROGRAMS = { 'bin/perf-count': 'firmware/linux/perf-count.elf' };

let packages: DebianPackages;
let initrd = '';

beforeAll(async () => {
  packages = new DebianPackages(['linux-image-cloud-amd64', 'busybox-static', 'cpio']);
  if (packages.missing === undefined) initrd = initramfs(packages, INIT, PROGRAMS);
  await buildCommand();
}, 600_000);

afterAll(() => packages.remove());

/** Boots the kernel by the command as a user would; prints when it reached what. */
async function boot(...options: string[]) {
  const kernel = packages.path('boot/vmlinuz-');
  const child = start(
    ...[
      'run',
      kernel,
      '--initrd',
      initrd,
      '--append',
      APPEND,
      '--max-instructions',
      '9_000_000_000',
    ],
    ...options,
  );
  const began = performance.now();
  let console = '';
  let report = '';
  child.stdout.on('data', (bytes: Buffer) => {
    console += bytes.toString();
  });
  child.stderr.on('data', (bytes: Buffer) => {
    report += bytes.toString();
  });
  const status = await new Promise((resolve) => child.on('close', resolve));
  const seconds = ((performance.now() - began) / 1000).toFixed(0);
  process.stdout.write(`  ${options.join(' ') || 'bare'}: ${seconds} s; ${report}`);
  return { status, console, report };
}

/** What the program must have counted, and one more for each interrupt on the way. */
function expectCounts(console: string): void {
  const count = (name: string) => Number(new RegExp(`perf ${name}:u (-?\\d+)`).exec(console)?.[1]);
  const interrupts = count('instructions') - 2_000_006;
  expect(interrupts).toBeGreaterThanOrEqual(0);
  expect(interrupts).toBeLessThan(20);
  expect(count('branches') - 1_000_001).toBeGreaterThanOrEqual(0);
  expect(count('branches') - 1_000_001).toBeLessThan(20);
}

describe("Debian's cloud kernel, unpatched", () => {
  it('finds the PMU, counts a program with it and switches the bare machine off', async ({
    skip,
  }) => {
    if (packages.missing) skip(packages.missing);
    const { status, console } = await boot();
    expect(console).toMatch(/Performance Events: Sapphire Rapids events.*Intel PMU driver/);
    expect(console).toMatch(/\.\.\. version: +5/);
    expect(console).toContain('NMI watchdog: Enabled. Permanently consumes one hw-PMU counter.');
    expect(console).toContain('user space: Linux x86_64, 1 processors');
    expectCounts(console);
    expect(status).toBe(0);
  });

  it('starts four processors by INIT and SIPI', async ({ skip }) => {
    if (packages.missing) skip(packages.missing);
    const { status, console } = await boot('--cpus', '4');
    expect(console).toContain('user space: Linux x86_64, 4 processors');
    expectCounts(console);
    expect(status).toBe(0);
  });

  it.for([
    ['emulated', 1],
    ['passthrough', 1],
    ['emulated', 2],
    ['passthrough', 2],
  ] as const)(
    'does the same in a virtual machine: %s vPMU, vCPUs: %i',
    async ([machine, cpus], { skip }) => {
      if (packages.missing) skip(packages.missing);
      const { status, console } = await boot(
        '-m',
        machine,
        '--memory',
        '256M',
        '--cpus',
        `${cpus}`,
      );
      expect(console).toMatch(/Performance Events: Sapphire Rapids events.*Intel PMU driver/);
      expect(console).toContain(`user space: Linux x86_64, ${cpus} processors`);
      expectCounts(console);
      expect(status).toBe(0);
    },
  );
});
