import { Command } from 'commander';
import { grouped } from '../../bits/decimal.ts';
import { hex } from '../../bits/hex.ts';
import { GuestRun } from '../../lab/compare.ts';
import { countedText } from '../../lab/comparison.ts';
import { openGuest, readFile } from '../../lab/guests.ts';
import type { BootOptions, ImageFormat } from '../../machine/guest-image.ts';
import type { Deviations, Timing } from '../../machine/profiles.ts';
import { EXIT_CODE, exitCodeOf } from '../exit-code.ts';
import { inSlices } from '../in-slices.ts';
import { json } from '../json.ts';
import { OPTION } from '../options.ts';
import { outcomeLine } from '../outcome-text.ts';

interface Options {
  readonly machine: string;
  readonly profile: string;
  readonly timing: Timing;
  readonly deviations: Deviations;
  readonly memory: number;
  readonly maxInstructions: bigint;
  readonly engine: string;
  readonly seed: string;
  readonly append?: string;
  readonly initrd?: string;
  readonly module?: string;
  readonly format?: ImageFormat;
  readonly cpus: number;
  readonly input?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** What the image is booted with, files read. @throws CounterpointError `unreadable-file` */
function bootOptions({ append, initrd, module, format }: Options): BootOptions {
  return {
    ...(append !== undefined && { commandLine: append }),
    ...(initrd !== undefined && { initrd: readFile(initrd) }),
    ...(module !== undefined && { modules: [{ bytes: readFile(module), text: module }] }),
    ...(format && { format }),
  };
}

export const runCommand = new Command('run')
  .description('run one guest on one machine; its console goes to stdout')
  .argument('<guest>', 'a bundled guest or an image file')
  .addOption(OPTION.machine())
  .addOption(OPTION.profile())
  .addOption(OPTION.timing())
  .addOption(OPTION.deviations())
  .addOption(OPTION.memory())
  .addOption(OPTION.maxInstructions())
  .addOption(OPTION.engine())
  .addOption(OPTION.seed())
  .addOption(OPTION.append())
  .addOption(OPTION.initrd())
  .addOption(OPTION.module())
  .addOption(OPTION.format())
  .addOption(OPTION.cpus())
  .addOption(OPTION.input())
  .addOption(OPTION.json())
  .addOption(OPTION.quiet())
  .addHelpText(
    'after',
    `
Examples:
  counterpoint run count
  counterpoint run count --timing modelled --deviations skid=20,overcount-iret
  counterpoint run overflow --machine passthrough
  counterpoint run my-kernel.elf --max-instructions 10_000_000 --cpus 4
  counterpoint run vmlinuz --memory 512M --initrd initrd.cpio --append 'console=ttyS0 nokaslr'`,
  )
  .action(async (guest: string, options: Options) => {
    const {
      machine,
      maxInstructions,
      quiet,
      json: asJson,
      profile,
      memory,
      engine,
      seed,
      timing,
      deviations,
    } = options;
    const { bytes } = openGuest(guest);
    const output: number[] = [];
    const run = GuestRun.start(bytes, machine, {
      profile,
      memory,
      engine,
      seed,
      timing,
      deviations,
      processors: options.cpus,
      boot: bootOptions(options),
      ...(options.input !== undefined && { input: new TextEncoder().encode(options.input) }),
      ...(!asJson && {
        onOutput: (byte: number) => void output.push(byte),
      }),
    });
    const interrupted = await inSlices(run, maxInstructions, () => {
      if (output.length > 0) process.stdout.write(Uint8Array.from(output.splice(0)));
    });
    const report = run.report();
    if (asJson) process.stdout.write(json(report));
    else if (!quiet) {
      process.stderr.write(
        `${machine}: ${grouped(report.guestInstructions)} instructions, ${grouped(report.ticks)} ticks, ` +
          `${countedText(report.counted)}, seed ${options.seed}, digest ${report.digest.slice(0, 16)}\n`,
      );
    }
    if (interrupted) {
      process.stderr.write(`counterpoint: interrupted at RIP ${hex(report.rip)}\n`);
      process.exitCode = EXIT_CODE[interrupted];
      return;
    }
    const line = outcomeLine(report);
    if (line) process.stderr.write(`counterpoint: ${line}\n`);
    process.exitCode = exitCodeOf(report);
  });
