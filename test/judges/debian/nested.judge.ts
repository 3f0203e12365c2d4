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
        const { stdout } = counterpoint(
          'run',
          guest,
          '--machine',
          'emulated',
          '--profile',
          PROFILE,
          '--quiet',
        );
        expect(printed).toMatch(/SUMMARY: \d+ tests\n/);
        expect(printed).toBe(stdout.replace(`counterpoint guest: ${guest}\n`, ''));
      },
    );
  },
);
