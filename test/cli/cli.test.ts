import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildCommand, counterpoint, counterpointOnFullDisk, oneLine } from './command.ts';
import { tinyElf } from './tiny-elf.ts';

let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'counterpoint-'));
  await buildCommand();
}, 60_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, bytes: Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

describe('the command', () => {
  it('shows the bundled guests when asked for nothing', () => {
    const { status, stdout } = counterpoint();
    expect(status).toBe(0);
    for (const guest of ['count', 'overflow', 'multiplex', 'emulated']) {
      expect(stdout).toMatch(new RegExp(`^ {2}${guest} `, 'm'));
    }
  });

  it('runs a guest, its console on stdout and its exit in the exit code', () => {
    const { status, stdout, stderr } = counterpoint('run', 'count');
    expect(status).toBe(0);
    expect(stdout).toContain('read instructions 1000005');
    expect(stderr).toContain('1,017,984 instructions');
    expect(stderr).toContain('ideal counting');
  });

  it('prints JSON whose 64-bit numbers are strings', () => {
    const { status, stdout } = counterpoint('run', 'count', '--json');
    expect(status).toBe(0);
    const report = JSON.parse(stdout);
    expect(report.guestInstructions).toBe('1017984');
    expect(report.events[0]).toEqual({
      name: 'instructions',
      read: '1000005',
      scaled: false,
      truth: '1000005',
      standing: 'exact',
    });
  });

  it('lists events with what stands behind each', () => {
    const { stdout } = counterpoint('list', 'events', '--json');
    const events = JSON.parse(stdout) as { name: string; raw: string; counts: string }[];
    expect(events.find(({ name }) => name === 'INST_RETIRED.ANY_P')).toEqual({
      name: 'INST_RETIRED.ANY_P',
      raw: 'r00c0',
      counts: 'exact',
    });
    expect(new Set(events.map(({ counts }) => counts))).toEqual(new Set(['exact', 'model']));
  });

  it('lists MSRs by address', () => {
    const { stdout } = counterpoint('list', 'msrs');
    expect(stdout).toMatch(/^0x38f +IA32_PERF_GLOBAL_CTRL +0xf000000ff +0xff /m);
  });

  it.each(['compare', 'run', 'list'])('explains %s with examples', (command) => {
    const { status, stdout } = counterpoint(command, '--help');
    expect(status).toBe(0);
    expect(stdout).toContain('Examples:');
  });
});

const HLT_LOOP = [0xfa, 0xf4, 0xeb, 0xfd]; // cli; hlt; jmp back to hlt
const SPIN = [0xeb, 0xfe];
const UD2 = [0x90, 0x0f, 0x0b]; // nop; ud2, with no IDT set up
const EXIT_3 = [0xb8, 3, 0, 0, 0, 0xe7, 0xf4]; // mov eax, 3; out 0xf4, eax

describe('bad input ends in one clear line and its documented exit code', () => {
  it.each([
    ['a missing file', ['run', '/no/such/guest'], 2, 'neither a bundled guest'],
    ['a folder', ['run', '.'], 2, 'cannot be read'],
    ['a device without end', ['run', '/dev/zero'], 2, 'it is no file'],
    ['a missing RAM disk', ['run', 'count', '--initrd', '/no/such/file'], 2, '(ENOENT)'],
    ['an unknown machine', ['run', 'count', '-m', 'vmware'], 2, "no machine 'vmware'"],
    ['an unknown profile', ['run', 'count', '-p', '486'], 2, "no profile '486'"],
    ['an unknown engine', ['run', 'count', '--engine', 'jit'], 2, "no engine 'jit'"],
    ['a prototype’s name as a machine', ['run', 'count', '-m', 'constructor'], 2, 'no machine'],
  ])('%s', (_what, args, status, message) => {
    const result = counterpoint(...args);
    expect(result.status).toBe(status);
    expect(result.stdout).toBe('');
    expect(result.stderr).toContain(message);
    expect(oneLine(result.stderr)).toBe(true);
  });

  it.each([
    ['a size that is none', ['run', 'count', '--memory', 'lots'], 'a size is a number'],
    [
      'memory that is no multiple of 2 MiB',
      ['run', 'count', '--memory', '3M'],
      'multiple of 2 MiB',
    ],
    ['a count that is none', ['run', 'count', '--max-instructions', '-5'], 'whole number above 0'],
    ['an unknown command', ['frobnicate'], 'unknown command'],
    ['an unknown option', ['run', 'count', '--fast'], 'unknown option'],
    ['something that cannot be listed', ['list', 'bugs'], 'Allowed choices'],
  ])('%s', (_what, args, message) => {
    const result = counterpoint(...args);
    expect(result.status).toBe(2);
    expect(result.stderr).toContain(message);
    expect(result.stderr).not.toMatch(/^\s+at /m);
  });

  it('a disk that is full under stdout is named', () => {
    const { status, stderr } = counterpointOnFullDisk('stat', 'count');
    expect(status).toBe(2);
    expect(stderr).toBe('counterpoint: stdout cannot be written (ENOSPC)\n');
  });

  it.each([
    ['an empty file', new Uint8Array(0), 'the file is empty'],
    ['text', new TextEncoder().encode('#!/bin/sh\n'), 'this is no guest image'],
    ['half an ELF header', tinyElf(SPIN).slice(0, 40), 'at offset'],
    ['a segment larger than memory', tinyElf(SPIN, { memorySize: 2 ** 40 }), 'does not fit'],
    ['a segment beyond memory', tinyElf(SPIN, { base: 0x7000_0000 }), 'does not fit'],
  ])('an image that is %s', (what, bytes, message) => {
    for (const machine of ['bare', 'emulated']) {
      const result = counterpoint('run', file(what.replaceAll(' ', '-'), bytes), '-m', machine);
      expect(result.status).toBe(2);
      expect(result.stderr).toContain(message);
      expect(oneLine(result.stderr)).toBe(true);
    }
  });

  describe.each(['bare', 'emulated', 'passthrough'])('on the %s machine', (machine) => {
    it('a guest that loops for ever reaches its budget', () => {
      const path = file('spin.elf', tinyElf(SPIN));
      const result = counterpoint(
        'run',
        path,
        '-m',
        machine,
        '-q',
        '--max-instructions',
        '1000000',
      );
      expect(result.status).toBe(124);
      expect(result.stderr).toContain('budget was reached at RIP 0x100000');
      expect(oneLine(result.stderr)).toBe(true);
    });

    it('HLT with interrupts off is noticed', () => {
      const result = counterpoint('run', file('hlt.elf', tinyElf(HLT_LOOP)), '-m', machine, '-q');
      expect(result.status).toBe(124);
      expect(result.stderr).toContain('halted for ever before RIP 0x100002');
      expect(oneLine(result.stderr)).toBe(true);
    });

    it('a triple fault names its faults', () => {
      const result = counterpoint('run', file('ud2.elf', tinyElf(UD2)), '-m', machine, '-q');
      expect(result.status).toBe(3);
      expect(result.stderr).toContain('triple fault');
      expect(result.stderr).toContain('RIP 0x100001');
      expect(oneLine(result.stderr)).toBe(true);
    });

    it('a guest that reports failure fails the command', () => {
      const result = counterpoint('run', file('fail.elf', tinyElf(EXIT_3)), '-m', machine, '-q');
      expect(result).toEqual({ status: 1, stdout: '', stderr: '' });
    });
  });
});
