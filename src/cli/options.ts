import { InvalidArgumentError, Option } from 'commander';
import { TRACE_KINDS, type TraceKind } from '../lab/trace-text.ts';
import { IDEAL, readDeviations } from '../machine/profiles.ts';

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };

/** `256M` in bytes. */
function size(text: string): number {
  const match = /^(\d{1,10})([KMG]?)$/i.exec(text);
  if (!match)
    throw new InvalidArgumentError('a size is a number with K, M or G behind it, as in 256M.');
  return Number(match[1]) * UNITS[match[2]!.toUpperCase()]!;
}

/** A count; `_` and `,` may group its digits. */
function count(text: string): bigint {
  const digits = text.replace(/[_,]/g, '');
  if (!/^\d{1,18}$/.test(digits) || BigInt(digits) === 0n) {
    throw new InvalidArgumentError('a count is a whole number above 0.');
  }
  return BigInt(digits);
}

/** A file that a guest finds by another name. */
export interface NamedFile {
  readonly name: string;
  readonly file: string;
}

/** `0x100000` or decimal. */
function address(text: string): number {
  if (!/^(0x[0-9a-f]{1,8}|\d{1,10})$/i.test(text)) {
    throw new InvalidArgumentError('an address is a number, as in 0x100000.');
  }
  return Number(text);
}

/** `name=file`, and those before. */
function namedFile(text: string, before: readonly NamedFile[] = []): readonly NamedFile[] {
  const [, name, file] = /^([^=]{1,55})=(.+)$/s.exec(text) ?? [];
  if (name === undefined || file === undefined) {
    throw new InvalidArgumentError('it takes a name of up to 55 bytes, = and a file.');
  }
  return [...before, { name, file }];
}

const TICKS_PER_SECOND = 3e9;

/** Seconds of guest time, in ticks. */
function seconds(text: string): bigint {
  const value = /^\d{1,6}(\.\d{1,9})?s?$/.test(text) ? Number.parseFloat(text) : 0;
  if (value === 0) throw new InvalidArgumentError('a time is a number of seconds above 0.');
  return BigInt(Math.round(value * TICKS_PER_SECOND));
}

function traceKinds(text: string): ReadonlySet<TraceKind> {
  const kinds = names(text);
  const unknown = kinds.find((kind) => !Object.hasOwn(TRACE_KINDS, kind));
  if (unknown !== undefined || kinds.length === 0) {
    throw new InvalidArgumentError(
      `there is no kind '${unknown ?? ''}': ${Object.keys(TRACE_KINDS).join(', ')}.`,
    );
  }
  return new Set(kinds as TraceKind[]);
}

const names = (text: string): string[] => text.split(',').filter((name) => name !== '');

/** Options that several commands share. */
export const OPTION = {
  machine: () => new Option('-m, --machine <name>', 'the machine to run on').default('bare'),
  machines: () =>
    new Option(
      '--designs, --machines <names>',
      'the machines to compare, with commas between',
    ).argParser(names),
  profile: () => new Option('-p, --profile <name>', 'the processor').default('sapphire-rapids'),
  timing: () =>
    new Option('--timing <name>', 'where cycles come from: one for each instruction, or a model')
      .choices(['unit', 'modelled'])
      .default('unit'),
  deviations: () =>
    new Option(
      '--deviations <list>',
      "how counting departs from the manual, as silicon's does; list deviations names them",
    )
      .argParser(readDeviations)
      .default(IDEAL, 'ideal'),
  memory: () =>
    new Option('--memory <size>', 'RAM of the guest (default: 64M, for Linux 512M)').argParser(
      size,
    ),
  maxInstructions: () =>
    new Option('--max-instructions <n>', 'stop a guest that has not ended by then')
      .argParser(count)
      .default(2_000_000_000n, '2,000,000,000'),
  engine: () =>
    new Option('--engine <name>', 'what executes instructions: interpreter or oracle').default(
      'interpreter',
    ),
  seed: () =>
    new Option('--seed <text>', 'seed of everything random in the run').default('counterpoint'),
  append: () => new Option('--append <text>', 'command line of the image'),
  initrd: () => new Option('--initrd <file>', 'initial RAM disk of a Linux kernel'),
  module: () =>
    new Option('--module <file...>', 'modules of a multiboot image').argParser(
      (file: string, before: readonly string[] = []) => [...before, file],
    ),
  fwCfg: () =>
    new Option(
      '--fw-cfg <name=file...>',
      'files that firmware finds in the configuration device, as floppyimg/disk.img=disk.img',
    ).argParser(namedFile),
  flat: () =>
    new Option(
      '--flat <address>',
      'take the image for bare code, loaded and entered there',
    ).argParser(address),
  interactive: () =>
    new Option('-i, --interactive', 'stdin is the guest’s console; on a terminal Ctrl-A x ends'),
  maxTime: () =>
    new Option(
      '--max-time <seconds>',
      'stop a guest that has not ended after so much of its time',
    ).argParser(seconds),
  save: () => new Option('--save <file>', 'write the machine, as it stands at the end, to a file'),
  saveAt: () =>
    new Option(
      '--save-at <n>',
      'write it when so many instructions have retired, and go on',
    ).argParser(count),
  resume: () => new Option('--resume <file>', 'go on from a file that --save has written'),
  trace: () =>
    new Option(
      '--trace <kinds>',
      `trace to stderr: ${Object.keys(TRACE_KINDS).join(', ')}`,
    ).argParser(traceKinds),
  traceFile: () => new Option('--trace-file <file>', 'trace to a file or pipe instead'),
  kernelFormat: () =>
    new Option('--kernel-format <version>', 'Linux whose tracepoints a trace follows')
      .choices(['6.1', '6.18'])
      .default('6.18'),
  format: () =>
    new Option('--format <name>', 'what the image is, where its content does not tell').choices([
      'elf64',
      'multiboot',
      'linux',
      'bios',
      'flat',
    ]),
  cpus: () =>
    new Option('--cpus <n>', 'processors, or vCPUs with a processor for each: 1 to 8')
      .argParser((text: string) => Number(count(text)))
      .default(1),
  nested: () => new Option('--nested', 'the guest of a VM has VMX and may be a hypervisor itself'),
  input: () => new Option('--input <text>', 'text to type at the console from the start'),
  json: () => new Option('--json', 'print JSON; 64-bit values as strings'),
  quiet: () => new Option('-q, --quiet', 'no progress on stderr'),
} as const;
