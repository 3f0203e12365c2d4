import { Command } from 'commander';
import { grouped } from '../../bits/decimal.ts';
import { CounterpointError } from '../../bits/error.ts';
import { hex } from '../../bits/hex.ts';
import { GuestRun } from '../../lab/compare.ts';
import { countedText } from '../../lab/comparison.ts';
import { openGuest, readFile } from '../../lab/guests.ts';
import { type TraceKind, traceText } from '../../lab/trace-text.ts';
import { type CreateOptions, engineNamed } from '../../machine/create.ts';
import type { Deviations, Timing } from '../../machine/profiles.ts';
import { Steps } from '../../machine/steps.ts';
import {
  addBootArguments,
  BOOT_ARGUMENTS,
  type BootArguments,
  bootOptions,
} from '../boot-arguments.ts';
import { loadDisassembler } from '../disassembler.ts';
import { EXIT_CODE, exitCodeOf } from '../exit-code.ts';
import { faultReport } from '../fault-report.ts';
import { json } from '../json.ts';
import { OPTION } from '../options.ts';
import { outcomeLine } from '../outcome-text.ts';
import { type SessionOptions, session } from '../session.ts';
import { TraceFile } from '../trace-file.ts';
import { writeWhole } from '../write-whole.ts';

interface Options extends BootArguments {
  readonly machine: string;
  readonly profile: string;
  readonly timing: Timing;
  readonly deviations: Deviations;
  readonly memory?: number;
  readonly maxInstructions: bigint;
  readonly maxTime?: bigint;
  readonly engine: string;
  readonly seed: string;
  readonly cpus: number;
  readonly nested?: boolean;
  readonly input?: string;
  readonly interactive?: boolean;
  readonly save?: string;
  readonly saveAt?: bigint;
  readonly resume?: string;
  readonly trace?: ReadonlySet<TraceKind>;
  readonly traceFile?: string;
  readonly kernelFormat: '6.1' | '6.18';
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** Options that say what a machine is made of, and with what it is booted: a snapshot knows them already. */
// biome-ignore format: a table
const OF_THE_MACHINE = ['machine', 'profile', 'timing', 'deviations', 'memory', 'cpus', 'nested', 'seed'] as const;
const OF_THE_BOOT = [...BOOT_ARGUMENTS, 'input'] as const;

/** How the run is made, as often as it is wanted. @throws CounterpointError, ImageError */
function maker(
  guest: string | undefined,
  options: Options,
  given: (option: string) => boolean,
): (rest: Pick<CreateOptions, 'onOutput' | 'engine'>) => GuestRun {
  const { machine, profile, timing, deviations, memory, seed, cpus, input } = options;
  const { nested = false } = options;
  if (options.resume !== undefined) {
    const stray = OF_THE_BOOT.find(given);
    if (guest !== undefined || stray !== undefined) {
      throw new CounterpointError(
        'usage',
        `a snapshot brings its guest along: ${stray ? `--${stray}` : guest} does not go with --resume`,
      );
    }
    const file = readFile(options.resume);
    const made: Record<(typeof OF_THE_MACHINE)[number], object> = {
      machine: { machine },
      profile: { profile },
      timing: { timing },
      deviations: { deviations },
      memory: { memory },
      cpus: { processors: cpus },
      nested: { nested },
      seed: { seed },
    };
    const asked = Object.assign({}, ...OF_THE_MACHINE.filter(given).map((name) => made[name]));
    return (rest) => GuestRun.resume(file, { ...asked, ...rest });
  }
  if (guest === undefined) {
    throw new CounterpointError('usage', 'run takes a guest, or --resume and a snapshot');
  }
  const { bytes } = openGuest(guest);
  const create = {
    profile,
    timing,
    deviations,
    seed,
    processors: cpus,
    nested,
    boot: bootOptions(options),
    ...(memory !== undefined && { memory }),
    ...(input !== undefined && { input: new TextEncoder().encode(input) }),
  };
  return (rest) => GuestRun.start(bytes, machine, { ...create, ...rest });
}

async function run(guest: string | undefined, options: Options, command: Command): Promise<void> {
  const { quiet, json: asJson, trace, save, saveAt } = options;
  const given = (option: string) => command.getOptionValueSource(option) === 'cli';
  if (saveAt !== undefined && save === undefined) {
    throw new CounterpointError('usage', '--save-at needs --save and a file');
  }
  const engine = engineNamed(options.engine);
  const make = maker(guest, options, given);
  const steps = trace?.has('insn') ? new Steps(engine) : undefined;
  const output: number[] = [];
  const guestRun = make({
    engine: steps?.engine ?? engine,
    ...(!asJson && { onOutput: (byte) => void output.push(byte) }),
  });
  const { machine } = guestRun;

  const traced = trace && new TraceFile(options.traceFile);
  if (trace && traced) {
    const disassemble = steps && { disassemble: await loadDisassembler() };
    const { kernelFormat: kernel } = options;
    traceText(machine, steps, { kinds: trace, write: traced.write, kernel, ...disassemble });
  }
  let unwritten = false;
  /** A snapshot that cannot be written does not take the run's result with it. */
  const write = (file: string) => {
    try {
      writeWhole(file, guestRun.snapshot());
    } catch (error) {
      if (!(error instanceof CounterpointError)) throw error;
      process.stderr.write(`counterpoint: ${error.message}\n`);
      unwritten = true;
    }
  };
  const endless = options.interactive && !given('maxInstructions');
  const sessionOptions: SessionOptions = {
    budget: {
      ...(!endless && { maxInstructions: options.maxInstructions }),
      ...(options.maxTime !== undefined && { maxTicks: options.maxTime }),
    },
    type: options.interactive ? (bytes) => machine.board.type(bytes) : undefined,
    progress: !quiet,
    output: () => Uint8Array.from(output.splice(0)),
    flush: () => traced?.flush(),
    ...(save !== undefined &&
      saveAt !== undefined && {
        stopAt: { instructions: saveAt, call: () => write(save) },
      }),
  };
  const { signal, typed, stopped } = await session(guestRun, sessionOptions);
  traced?.close();
  if (save !== undefined && saveAt === undefined) write(save);
  if (saveAt !== undefined && !stopped) {
    process.stderr.write(
      `counterpoint: the run ended before instruction ${grouped(saveAt)}: no snapshot was written\n`,
    );
  }

  const report = guestRun.report();
  if (asJson) process.stdout.write(json(report));
  else if (!quiet) {
    process.stderr.write(
      `${report.machine}: ${grouped(report.guestInstructions)} instructions, ${grouped(report.ticks)} ticks, ` +
        `${countedText(report.counted)}, seed ${machine.hardware.seed}, digest ${report.digest.slice(0, 16)}\n`,
    );
  }
  if (signal) {
    process.stderr.write(`counterpoint: interrupted at RIP ${hex(report.rip)}\n`);
    process.exitCode = EXIT_CODE[signal];
    return;
  }
  const line = outcomeLine(report);
  if (line) process.stderr.write(`counterpoint: ${line}\n`);
  if (report.reason === 'triple-fault' && !quiet) {
    const watched = new Steps(engine);
    const again = make({ engine: watched.engine });
    const disassemble = await loadDisassembler();
    process.stderr.write(faultReport(guestRun, again, { steps: watched, typed, disassemble }));
  }
  process.exitCode = unwritten || traced?.failed ? EXIT_CODE.USAGE : exitCodeOf(report);
}

export const runCommand = addBootArguments(new Command('run'))
  .description('run one guest on one machine; its console goes to stdout')
  .argument('[guest]', 'a bundled guest or an image file')
  .addOption(OPTION.machine())
  .addOption(OPTION.profile())
  .addOption(OPTION.timing())
  .addOption(OPTION.deviations())
  .addOption(OPTION.memory())
  .addOption(OPTION.cpus())
  .addOption(OPTION.nested())
  .addOption(OPTION.maxInstructions())
  .addOption(OPTION.maxTime())
  .addOption(OPTION.engine())
  .addOption(OPTION.seed())
  .addOption(OPTION.input())
  .addOption(OPTION.interactive())
  .addOption(OPTION.save())
  .addOption(OPTION.saveAt())
  .addOption(OPTION.resume())
  .addOption(OPTION.trace())
  .addOption(OPTION.traceFile())
  .addOption(OPTION.kernelFormat())
  .addOption(OPTION.json())
  .addOption(OPTION.quiet())
  .addHelpText(
    'after',
    `
Examples:
  counterpoint run count
  counterpoint run count --timing modelled --deviations skid=20,overcount-iret
  counterpoint run overflow --machine passthrough --trace kvm,msr
  counterpoint run my-kernel.elf --max-instructions 10_000_000 --cpus 4
  counterpoint run vmlinuz --initrd initrd.cpio --append 'console=ttyS0 nokaslr' -i
  counterpoint run multiplex --save half.snapshot --save-at 500_000
  counterpoint run --resume half.snapshot --trace insn --max-instructions 500_100`,
  )
  .action(run);
