import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Case, decodeOutcomes, encodeCases, type Outcome } from './case.ts';

const SOURCE = fileURLToPath(new URL('harness.c', import.meta.url));

/** CPUID features of optional instructions by the name Linux gives them. */
// biome-ignore format: a table
const FEATURES: Readonly<Record<string, string>> = {
  abm: 'LZCNT', adx: 'ADX', bmi1: 'BMI1', bmi2: 'BMI2', cx16: 'CX16', movbe: 'MOVBE', popcnt: 'POPCNT', mmx: 'MMX',
  sse: 'SSE', sse2: 'SSE2', pni: 'SSE3', ssse3: 'SSSE3', sse4_1: 'SSE4.1', sse4_2: 'SSE4.2', aes: 'AES',
  pclmulqdq: 'PCLMULQDQ', sha_ni: 'SHA', fxsr: 'FXSR',
};

/** Whether this machine can judge: x86-64 Linux with a C compiler. */
export const hostJudges = (): boolean =>
  process.arch === 'x64' &&
  process.platform === 'linux' &&
  spawnSync('gcc', ['--version']).status === 0;

/** The processor we run on, executing cases natively. */
export class Host {
  readonly #folder = mkdtempSync(join(tmpdir(), 'judge-'));
  /** What the processor has, in the words of the opcode maps. */
  readonly features: ReadonlySet<string>;

  constructor() {
    const built = spawnSync('gcc', ['-O2', '-o', this.#program, SOURCE], { encoding: 'utf8' });
    if (built.status !== 0) throw new Error(built.stderr);
    const flags = /^flags\s*: (.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? '';
    this.features = new Set(flags.split(' ').flatMap((flag) => FEATURES[flag] ?? []));
  }

  get #program(): string {
    return join(this.#folder, 'harness');
  }

  run(cases: readonly Case[], fpu = false): Outcome[] {
    const ran = spawnSync(this.#program, fpu ? ['fpu'] : [], {
      input: encodeCases(cases, fpu),
      maxBuffer: 2 ** 30,
    });
    if (ran.status !== 0) throw new Error(`harness: ${ran.signal ?? ran.status} ${ran.stderr}`);
    return decodeOutcomes(ran.stdout, fpu);
  }

  close(): void {
    rmSync(this.#folder, { recursive: true });
  }
}
