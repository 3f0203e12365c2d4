// biome-ignore format: a list
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildCommand, counterpoint, oneLine, start } from './command.ts';

let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'counterpoint-run-'));
  await buildCommand();
}, 60_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function flat(name: string, code: string): string {
  const path = join(folder, name);
  writeFileSync(path, Buffer.from(code.replaceAll(' ', ''), 'hex'));
  return path;
}

const digestOf = (stderr: string) => /digest ([0-9a-f]{16})/.exec(stderr)?.[1];

describe('a snapshot by the command', () => {
  it('is written at an instruction and resumes to the same end', () => {
    const snapshot = join(folder, 'half.snapshot');
    const whole = counterpoint('run', 'count', '--save', snapshot, '--save-at', '500_000');
    expect(whole.status).toBe(0);
    const resumed = counterpoint('run', '--resume', snapshot);
    expect(resumed.status).toBe(0);
    expect(digestOf(resumed.stderr)).toBe(digestOf(whole.stderr));
    // The truth goes along: what was counted before the cut is not lost.
    const events = JSON.parse(counterpoint('run', '--resume', snapshot, '--json').stdout).events;
    expect(events[0]).toMatchObject({ read: '1000005', truth: '1000005' });
  });

  it('is written at the end where nothing else is said, and goes on from there', () => {
    const snapshot = join(folder, 'end.snapshot');
    const cut = counterpoint('run', 'count', '--save', snapshot, '--max-instructions', '1000');
    expect(cut.status).toBe(124);
    const resumed = counterpoint('run', '--resume', snapshot, '--max-instructions', '2000');
    expect(resumed.stderr).toContain('2,000 instructions');
  });

  it.each<[string, (path: string) => string[], string]>([
    ['another profile', (path) => ['--resume', path, '-p', 'skylake-server'], 'not skylake-server'],
    ['a guest beside it', (path) => ['count', '--resume', path], 'does not go with --resume'],
    ['--save-at without a file', () => ['count', '--save-at', '5'], '--save-at needs --save'],
    ['nothing to run', () => [], 'run takes a guest'],
    ['no snapshot', () => ['--resume', 'package.json'], 'no snapshot of a machine'],
  ])('is refused with %s', (_what, args, message) => {
    const snapshot = join(folder, 'refused.snapshot');
    if (!existsSync(snapshot)) {
      counterpoint('run', 'count', '--save', snapshot, '--max-instructions', '10');
    }
    const { status, stderr } = counterpoint('run', ...args(snapshot));
    expect(status).toBe(2);
    expect(stderr).toContain(message);
    expect(oneLine(stderr)).toBe(true);
  });

  it('that cannot be written leaves the result of the run', () => {
    const { status, stdout, stderr } = counterpoint('run', 'count', '--save', '/no/such/folder/x');
    expect(status).toBe(2);
    expect(stdout).toContain('SUMMARY');
    expect(stderr).toContain('cannot be written (ENOENT)');
    expect(stderr).toContain('digest');
  });

  it('to a device is written there: a device is never replaced', () => {
    const path = join(folder, 'full');
    symlinkSync('/dev/full', path);
    const { status, stderr } = counterpoint('run', 'count', '-q', '--save', path);
    expect(status).toBe(2);
    expect(stderr).toBe(`counterpoint: ${path}: cannot be written (ENOSPC)\n`);
    expect(statSync(path).isCharacterDevice()).toBe(true);
  });
});

describe('a trace', () => {
  it('shows VM exits as the tracepoint of Linux does', () => {
    const path = join(folder, 'kvm.trace');
    counterpoint('run', 'count', '-m', 'emulated', '--trace', 'kvm', '--trace-file', path);
    const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
    for (const line of lines) {
      expect(line).toMatch(
        /^guest-1 \[000\] \.{5} \d+\.\d{6}: (kvm_entry: vcpu 0, rip 0x[0-9a-f]+ intr_info 0x[0-9a-f]{8} error_code 0x[0-9a-f]{8}|kvm_exit: vcpu 0 reason [A-Z_]+ rip 0x[0-9a-f]+ info1 0x[0-9a-f]{16} info2 0x[0-9a-f]{16} intr_info 0x[0-9a-f]{8} error_code 0x[0-9a-f]{8} requests 0x[0-9a-f]{16}|kvm_inj_exception: #(UD|GP \(0x0\))|kvm_msr: msr_(read|write) [0-9a-f]+ = 0x[0-9a-f]+( \(#GP\))?)$/,
      );
    }
    expect(lines.filter((line) => line.includes('reason RDPMC'))).not.toEqual([]);
  });

  it('disassembles what is executed, and changes nothing of the run', () => {
    const plain = counterpoint('run', 'count', '--max-instructions', '2000');
    const traced = counterpoint('run', 'count', '--max-instructions', '2000', '--trace', 'insn');
    expect(digestOf(traced.stderr)).toBe(digestOf(plain.stderr));
    const lines = traced.stderr.split('\n').filter((line) => line.includes(': insn: '));
    expect(lines.length).toBe(2000);
    expect(lines[0]).toMatch(/: insn: 0x[0-9a-f]{16} ([0-9a-f]{2} )+ +\w+/);
  });

  it('names the registers that the guest reaches', () => {
    const { stderr } = counterpoint('run', 'count', '-m', 'passthrough', '--trace', 'msr');
    expect(stderr).toContain('WRMSR IA32_PERF_GLOBAL_CTRL (0x38f) = ');
  });

  it('to a full disk ends with one message; the run does not', () => {
    const { status, stdout, stderr } = counterpoint(
      ...['run', 'count', '--trace', 'msr', '--trace-file', '/dev/full'],
    );
    expect(status).toBe(2);
    expect(stdout).toContain('SUMMARY');
    expect(stderr.match(/the trace ends here/g)).toHaveLength(1);
    expect(stderr).toContain('ENOSPC');
  });

  it('of an unknown kind is refused', () => {
    const { status, stderr } = counterpoint('run', 'count', '--trace', 'everything');
    expect(status).toBe(2);
    expect(stderr).toContain("no kind 'everything': insn, msr, kvm, vpmu");
  });
});

describe('a triple fault', () => {
  it.each(['bare', 'emulated'])('is told on one page: %s', (machine) => {
    // mov rax, 8000000000H; mov rbx, [rax]
    const path = flat('fault.bin', '48b80000000080000000 488b18');
    const { status, stderr } = counterpoint('run', path, '--flat', '0x100000', '-m', machine);
    expect(status).toBe(3);
    expect(stderr).toContain('triple fault: #PF(0x0) at RIP 0x10000a CR2 0x8000000000');
    expect(stderr).toMatch(/RAX +0000008000000000/);
    expect(stderr).toMatch(/000000000010000a {2}48 8b 18 +mov rbx, \[rax\]/);
    expect(stderr.split('\n').length).toBeLessThan(60);
  });
});

// The PIT, masked at the i8259, as a rate generator; sti; hlt; jmp back.
const SLEEPER = 'b034 e643 30c0 e640 e640 b0ff e621 fb f4 ebfc';
// Echo what comes to COM1 until a q comes, and exit 0.
const ECHO = '66bafd03 ec a801 74f7 66baf803 ec ee 3c71 75ed 31c0 e7f4';

describe('a guest that sleeps', () => {
  it('for an hour of its time with nothing to wake it is said to have halted for ever', () => {
    const { status, stderr } = counterpoint(
      ...['run', flat('sleep.bin', SLEEPER), '--flat', '0x100000', '-q'],
    );
    expect(status).toBe(124);
    expect(stderr).toContain('halted for ever');
  }, 60_000);

  it('is stopped after the time it is given', () => {
    const { status, stderr } = counterpoint(
      ...['run', flat('sleep.bin', SLEEPER), '--flat', '0x100000', '--max-time', '0.5'],
    );
    expect(status).toBe(124);
    expect(stderr).toContain('1,500,000,000 ticks');
    expect(stderr).toContain('--max-time');
  }, 60_000);
});

describe('stdin as the guest’s console', () => {
  it('reaches the guest as it comes', async () => {
    const child = start('run', flat('echo.bin', ECHO), '--flat', '0x100000', '-i', '-q');
    let heard = '';
    child.stdout.on('data', (bytes: Buffer) => {
      heard += bytes.toString();
      if (heard === 'hello') child.stdin.write('q');
    });
    child.stdin.write('hello');
    const status = await new Promise((resolve) => child.on('close', resolve));
    expect(heard).toBe('helloq');
    expect(status).toBe(0);
  }, 60_000);

  it.each<[NodeJS.Signals, number]>([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ])(
    '%s ends the run with its report',
    async (signal, code) => {
      const child = start('run', flat('echo.bin', ECHO), '--flat', '0x100000', '-i');
      let report = '';
      child.stderr.on('data', (bytes: Buffer) => {
        report += bytes.toString();
      });
      // Once it answers, it runs.
      child.stdout.once('data', () => child.kill(signal));
      child.stdin.write('x');
      const status = await new Promise((resolve) => child.on('close', resolve));
      expect(status).toBe(code);
      expect(report).toMatch(/^bare: [\d,]+ instructions, .* digest [0-9a-f]{16}\n/);
      expect(report).toContain('counterpoint: interrupted at RIP 0x1000');
    },
    60_000,
  );
});
