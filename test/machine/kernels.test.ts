import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { createMachine } from '../../src/machine/create.ts';

/**
 * The test kernels print the same on our machine as on QEMU TCG (transcripts by firmware/kernels/judge.mjs), line by
 * line, but for these lines. Each says why ours is what the manual has.
 */
// biome-ignore format: a table
const DIFFERENCES: readonly { kernel: string; qemu: RegExp; ours: RegExp; why: string }[] = [
  { kernel: 'exceptions', qemu: /^INT1: vector 6/, ours: /^INT1: vector 1, error code 0, RIP \+1/,
    why: 'INT1 is a trap to #DB (vol. 2, "INT n/INTO/INT3/INT1"); TCG refuses the opcode' },
  { kernel: 'exceptions', qemu: /^INT 41H .* error code 412/, ours: /^INT 41H .* vector 11, error code 20a/,
    why: 'the error code is vector × 8 + 2 (vol. 3, "Error Code"); TCG shifts by 4 in long mode' },
  { kernel: 'exceptions', qemu: /^INT 0DH .* error code d2/, ours: /^INT 0DH .* vector 13, error code 6a/,
    why: 'the same' },
  { kernel: 'exceptions', qemu: /by the stack segment: vector 13/, ours: /by the stack segment: vector 12, error code 0, RIP \+0/,
    why: 'a non-canonical reference through SS is #SS (vol. 3, "Interrupt 12")' },
  { kernel: 'exceptions', qemu: /^JMP to a non-canonical address: .* RIP 800000000000/, ours: /^JMP to a non-canonical address: vector 13, error code 0, RIP \+0/,
    why: 'the check belongs to the branch (vol. 2, "JMP"); TCG faults at the fetch' },
  { kernel: 'exceptions', qemu: /^IRET to a non-canonical RIP: .* RIP 800000000000/, ours: /^IRET to a non-canonical RIP: vector 13, error code 0, RIP \+0/,
    why: 'the same, of IRET' },
  { kernel: 'exceptions', qemu: /^RDMSR of an MSR nobody has: nothing/, ours: /^RDMSR of an MSR nobody has: vector 13/,
    why: 'TCG reads 0' },
  { kernel: 'exceptions', qemu: /^WRMSR of a reserved bit of EFER: nothing/, ours: /^WRMSR of a reserved bit of EFER: vector 13/,
    why: 'TCG drops reserved bits' },
  { kernel: 'exceptions', qemu: /^WRMSR of a non-canonical LSTAR: nothing/, ours: /^WRMSR of a non-canonical LSTAR: vector 13/,
    why: 'TCG does not check' },
  { kernel: 'exceptions', qemu: /^MOV to CR8 of 16: nothing/, ours: /^MOV to CR8 of 16: vector 13/,
    why: 'TCG does not check' },
  { kernel: 'exceptions', qemu: /^unaligned load with alignment checks at CPL 3: vector 6/, ours: /^unaligned load with alignment checks at CPL 3: vector 17, error code 0, RIP \+0/,
    why: 'TCG has no alignment checking: it runs on into memory that is no code' },
  { kernel: 'paging', qemu: /^modify: vector 14, error code 0, /, ours: /^modify: vector 14, error code 2, /,
    why: 'a read-modify-write asks for write access from the start; TCG reads first' },
  { kernel: 'paging', qemu: /^[a-z, 3A-Z]+: vector 14, error code (8|a|18|c|e|1c), /, ours: /^[a-z, 3A-Z]+: vector 14, error code (9|b|19|d|f|1d), /,
    why: 'bit 3 comes only with bit 0 (vol. 3, "Page-Fault Exceptions"); TCG leaves bit 0 clear for reserved bits' },
  { kernel: 'clocks', qemu: /^FAIL: a counter without a count/, ours: /^PASS: a counter without a count/,
    why: 'NULL COUNT is set from the control word until the count is loaded (8254, "Read-Back Command"); QEMU has no such bit' },
  { kernel: 'clocks', qemu: /^SUMMARY: 21 tests, 1 /, ours: /^SUMMARY: 21 tests$/, why: 'follows' },
  { kernel: 'apic', qemu: /^FAIL: software-disabling masks the LVT/, ours: /^PASS: software-disabling masks the LVT/,
    why: 'TCG leaves the masks alone (vol. 3, "Local APIC State After It Has Been Software Disabled")' },
  { kernel: 'apic', qemu: /^FAIL: and enabling does not unmask it/, ours: /^PASS: and enabling does not unmask it/,
    why: 'follows' },
  { kernel: 'apic', qemu: /^FAIL: and is there again when it is on/, ours: /^PASS: and is there again when it is on/,
    why: 'TCG clears the CPUID bit for good' },
  { kernel: 'apic', qemu: /^SUMMARY: 30 tests, 3 /, ours: /^SUMMARY: 30 tests$/, why: 'follows' },
];

const KERNELS = [
  { kernel: 'apic' },
  { kernel: 'clocks' },
  { kernel: 'console', input: 'one line\n' },
  { kernel: 'exceptions' },
  { kernel: 'ipi', processors: 4 },
  { kernel: 'paging' },
  { kernel: 'timers' },
];

function run(kernel: string, processors = 1, input = '', on = 'bare'): string {
  const image = new Uint8Array(readFileSync(`firmware/kernels/${kernel}.elf`));
  let waiting = input;
  let said = '';
  const machine = createMachine(image, {
    machine: on,
    memory: 128 << 20,
    processors,
    onOutput: (byte) => {
      said += String.fromCharCode(byte);
      if (waiting === '' || !said.endsWith('\nready\n')) return;
      machine.board.type(new TextEncoder().encode(waiting));
      waiting = '';
    },
  });
  const { reason, exitValue } = machine.run({ maxInstructions: 200_000_000n });
  expect([reason, exitValue], said).toEqual(['exit', 0]);
  return said;
}

const used = new Set<(typeof DIFFERENCES)[number]>();

describe('the test kernels', () => {
  it.each(KERNELS)(
    '$kernel prints what it prints on QEMU, but for the listed lines',
    ({ kernel, processors, input }) => {
      const ours = run(kernel, processors, input).trimEnd().split('\n');
      const qemu = readFileSync(`firmware/kernels/${kernel}.qemu.txt`, 'latin1')
        .trimEnd()
        .split('\n');
      expect(ours.length).toBe(qemu.length);
      for (const [index, line] of ours.entries()) {
        if (line === qemu[index]) continue;
        const listed = DIFFERENCES.find(
          (row) => row.kernel === kernel && row.qemu.test(qemu[index]!) && row.ours.test(line),
        );
        expect(listed, `line ${index + 1}: QEMU "${qemu[index]}", ours "${line}"`).toBeDefined();
        used.add(listed!);
      }
    },
    60_000,
  );

  it.each(['bare', 'emulated'])('x2apic passes, which QEMU TCG cannot run: %s', (on) => {
    expect(run('x2apic', 1, '', on)).toContain('SUMMARY: 19 tests\n');
  });

  it('need every line of that list', () => {
    expect(DIFFERENCES.filter((row) => !used.has(row))).toEqual([]);
  });

  // biome-ignore format: a table
  it.each([
    ['apic', 'emulated'], ['timers', 'emulated'], ['clocks', 'passthrough'], ['console', 'emulated'], ['exceptions', 'passthrough'], ['paging', 'passthrough'],
  ])('%s prints the same in a virtual machine (%s vPMU)', (kernel, on) => {
    const { input } = KERNELS.find((row) => row.kernel === kernel)!;
    expect(run(kernel, 1, input, on)).toBe(run(kernel, 1, input));
  }, 120_000);

  it.each([
    ['counters', 'emulated'],
    ['counters', 'passthrough'],
    ['ipi', 'emulated'],
  ])(
    '%s prints the same on four vCPUs (%s vPMU)',
    (kernel, on) => {
      expect(run(kernel, 4, '', on)).toBe(run(kernel, 4));
    },
    120_000,
  );

  it('of four vCPUs end in the same digest however the run is cut', () => {
    const image = new Uint8Array(readFileSync('firmware/kernels/ipi.elf'));
    const digest = (step: bigint) => {
      const machine = createMachine(image, {
        machine: 'emulated',
        memory: 16 << 20,
        processors: 4,
      });
      for (let most = step; ; most += step) {
        const result = machine.run({ maxInstructions: most });
        if (result.reason !== 'budget') return result.digest();
      }
    };
    expect(digest(777_777n)).toBe(digest(1_000_000_000n));
  }, 60_000);

  it('of several processors end in the same digest when they are run again', () => {
    const digest = () => {
      const image = new Uint8Array(readFileSync('firmware/kernels/ipi.elf'));
      return createMachine(image, { memory: 16 << 20, processors: 4 })
        .run()
        .digest();
    };
    expect(digest()).toBe(digest());
  }, 60_000);
});
