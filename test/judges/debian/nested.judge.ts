import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildCommand, counterpoint } from '../../cli/command.ts';
import { kvmParameters, LINUX_KVM, linuxWithKvm, ranUnder } from './linux-kvm.ts';
import { DebianPackages } from './packages.ts';

const PROFILE = process.env['COUNTERPOINT_PROFILE'] ?? 'sapphire-rapids';
const GUESTS = ['count', 'emulated', 'overflow'];

let packages: DebianPackages;

beforeAll(async () => {
  packages = new DebianPackages(LINUX_KVM);
  await buildCommand();
}, 300_000);

afterAll(() => packages.remove());

/** What a guest prints under our KVM. */
function printedByOurs(guest: string, ...machine: string[]): string {
  const { stdout } = counterpoint('run', guest, '--profile', PROFILE, '--quiet', ...machine);
  return stdout.replace(`counterpoint guest: ${guest}\n`, '');
}

describe.each([
  { machine: 'emulated', parameters: 'ept=1', paging: 'L1’s EPT' },
  { machine: 'passthrough', parameters: 'ept=1', paging: 'L1’s EPT' },
  { machine: 'passthrough', parameters: 'ept=0', paging: 'shadow page tables of L1' },
])(
  "Debian's KVM, unpatched, in a nested virtual machine of ours with the $machine vPMU and $paging",
  ({ machine, parameters }) => {
    let console = '';

    beforeAll(async () => {
      if (packages.missing !== undefined) return;
      console = await linuxWithKvm(packages, {
        options: ['--machine', machine, '--nested', '--profile', PROFILE],
        parameters,
        guests: GUESTS,
        script: GUESTS.map((name) => `kvm-run /guests/${name}.elf\necho "end of ${name}"\n`).join(
          '',
        ),
      });
    }, 3_600_000);

    it('finds VMX as it asks for it', ({ skip }) => {
      if (packages.missing) skip(packages.missing);
      const ept = parameters === 'ept=1' ? 'Y' : 'N';
      expect(kvmParameters(console)).toMatchObject({ ept, unrestricted_guest: ept, nested: 'Y' });
    });

    it.each(GUESTS)(
      'runs %s, a guest’s guest, which counts and prints what it does as a guest',
      (guest) => {
        if (packages.missing) return;
        const { printed } = ranUnder(console, guest);
        expect(printed).toMatch(/SUMMARY: \d+ tests\n/);
        expect(printed).toBe(printedByOurs(guest, '--machine', 'emulated'));
      },
    );
  },
);

/** One line of firmware/nested.asm as far as Linux is to agree: it counts VM entries as branches only. */
function agreed(line: string): string {
  const match =
    /^(.*?: reason \w+).*?, exits (\d+), counts (\d+) (\d+) \d+, (status .*) value/.exec(line);
  if (!match) return line;
  const [, what, exits, instructions, branches, state] = match;
  return `${what} exits ${exits} together ${BigInt(instructions!) + BigInt(branches!)} ${state}`;
}

/** Lines that Debian's KVM does not print so, and why. */
const LINUX: readonly (readonly [RegExp, string])[] = [
  [/^(saved|read saved)/, 'it does not offer the saving of GLOBAL_CTRL'],
  [
    /^(overflow, an NMI|the same with virtual|an NMI to L2|an interrupt (that exits|to L2)|acknowledged)/,
    'VMRESUME is no instruction there: the counter overflows one instruction later, behind the same instructions and one branch more',
  ],
  [/^HLT until an interrupt to L2/, 'L2 wakes and goes on before the interrupt comes'],
  [
    /^read then to L1/,
    'an interrupt that comes while L2 holds it back is not delivered as soon as L1 opens its window',
  ],
  [/^with a SYSENTER_EIP that is not canonical/, 'such an address is made canonical, as on AMD'],
];

describe("nested VMX of ours and of Debian's KVM", () => {
  it('let a guest hypervisor and its guest see the same', async ({ skip }) => {
    if (packages.missing) skip(packages.missing);
    const lines = (printed: readonly string[]) =>
      printed.filter((line) => !LINUX.some(([pattern]) => pattern.test(line))).map(agreed);
    const script = 'kvm-run /guests/nested.elf\n';
    const options = ['--profile', PROFILE];
    const console = await linuxWithKvm(packages, { options, guests: ['nested'], script });
    const theirs = lines(ranUnder(console, 'nested').printed.split('\n'));
    const ours = printedByOurs('nested', '--machine', 'emulated', '--nested');
    expect(theirs).toEqual(lines(ours.split('\n')));
    expect(theirs.length).toBeGreaterThan(40);
  }, 3_600_000);
});
