import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Case, decodeOutcomes, encodeCases, type Outcome } from './case.ts';

const BREAKPOINT = 3;
const SOURCE = fileURLToPath(new URL('harness.c', import.meta.url));

/** CPUID features of optional instructions by the name Linux gives them. */
// biome-ignore format: a table
const FEATURES: Readonly<Record<string, string>> = {
  abm: 'LZCNT', adx: 'ADX', bmi1: 'BMI1', bmi2: 'BMI2', cx16: 'CX16', movbe: 'MOVBE', popcnt: 'POPCNT', mmx: 'MMX',
  sse: 'SSE', sse2: 'SSE2', pni: 'SSE3', ssse3: 'SSSE3', sse4_1: 'SSE4.1', sse4_2: 'SSE4.2', aes: 'AES',
  pclmulqdq: 'PCLMULQDQ', sha_ni: 'SHA', fxsr: 'FXSR',
};

/** A line of /proc/cpuinfo, or nothing where there is none. */
function cpuinfo(name: string): string {
  if (process.platform !== 'linux') return '';
  const text = readFileSync('/proc/cpuinfo', 'utf8');
  return new RegExp(`^${name}\\s*: (.*)$`, 'm').exec(text)?.[1] ?? '';
}

let folder: string | undefined;
let harness: string | undefined;

/** The harness, built when it is first wanted. @throws Error where it cannot be built */
function program(): string {
  if (harness === undefined) {
    folder = mkdtempSync(join(tmpdir(), 'judge-'));
    harness = join(folder, 'harness');
    const built = spawnSync('gcc', ['-O2', '-o', harness, SOURCE], { encoding: 'utf8' });
    if (built.status !== 0) throw new Error(built.stderr ?? 'no gcc');
  }
  return harness;
}

/** Whether the harness can be built and finds the memory and segments that it wants. */
function harnessRuns(): boolean {
  if (spawnSync('gcc', ['--version']).status !== 0) return false;
  return spawnSync(program(), { input: '' }).status === 0;
}

const VENDORS = ['GenuineIntel', 'AuthenticAMD'];

/** Whether this machine can judge: x86-64 Linux on a processor of a vendor whose habits we know, with a C compiler. */
export const hostJudges = (): boolean =>
  process.arch === 'x64' && VENDORS.includes(cpuinfo('vendor_id')) && harnessRuns();

/**
 * Whether its processor is of a generation that has judged millions of cases: Intel's with AMX, AMD's family 25 (Zen 3
 * and 4). Others may differ where the manual leaves it open, in what differences.ts does not list.
 */
export const hostIsKnown = (): boolean =>
  (cpuinfo('flags').split(' ').includes('amx_tile') || cpuinfo('cpu family') === '25') &&
  hostJudges();

/** The breakpoint that ends the code is a trap there; for us it is an instruction not yet executed. */
const beforeBreakpoint = (outcome: Outcome): Outcome =>
  outcome.vector === BREAKPOINT ? { ...outcome, rip: outcome.rip - 1n } : outcome;

/** The processor we run on, executing cases natively. */
export class Host {
  /** What the processor has, in the words of the opcode maps. */
  readonly features: ReadonlySet<string> = new Set(
    cpuinfo('flags')
      .split(' ')
      .flatMap((flag) => FEATURES[flag] ?? []),
  );

  readonly vendor = cpuinfo('vendor_id');

  run(cases: readonly Case[], fpu = false): Outcome[] {
    const ran = spawnSync(program(), fpu ? ['fpu'] : [], {
      input: encodeCases(cases, fpu),
      maxBuffer: 2 ** 30,
    });
    if (ran.status !== 0) throw new Error(`harness: ${ran.signal ?? ran.status} ${ran.stderr}`);
    return decodeOutcomes(ran.stdout, fpu).map(beforeBreakpoint);
  }

  close(): void {
    if (folder !== undefined) rmSync(folder, { recursive: true });
    folder = harness = undefined;
  }
}
