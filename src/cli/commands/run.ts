import { Command } from 'commander';
import { grouped } from '../../bits/decimal.ts';
import { runOn } from '../../lab/compare.ts';
import { openGuest } from '../../lab/guests.ts';
import { exitCodeOf } from '../exit-code.ts';
import { json } from '../json.ts';
import { OPTION } from '../options.ts';
import { outcomeLine } from '../outcome-text.ts';

interface Options {
  readonly machine: string;
  readonly profile: string;
  readonly memory: number;
  readonly maxInstructions: bigint;
  readonly engine: string;
  readonly seed: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

export const runCommand = new Command('run')
  .description('run one guest on one machine; its console goes to stdout')
  .argument('<guest>', 'a bundled guest or an image file')
  .addOption(OPTION.machine())
  .addOption(OPTION.profile())
  .addOption(OPTION.memory())
  .addOption(OPTION.maxInstructions())
  .addOption(OPTION.engine())
  .addOption(OPTION.seed())
  .addOption(OPTION.json())
  .addOption(OPTION.quiet())
  .addHelpText(
    'after',
    `
Examples:
  counterpoint run count
  counterpoint run overflow --machine passthrough
  counterpoint run my-kernel.elf --max-instructions 10_000_000`,
  )
  .action((guest: string, options: Options) => {
    const { machine, maxInstructions, quiet, json: asJson, ...create } = options;
    const { bytes } = openGuest(guest);
    const report = runOn(bytes, machine, maxInstructions, {
      ...create,
      ...(!asJson && {
        onOutput: (byte: number) => void process.stdout.write(Uint8Array.of(byte)),
      }),
    });
    if (asJson) process.stdout.write(json(report));
    else if (!quiet) {
      process.stderr.write(
        `${machine}: ${grouped(report.guestInstructions)} instructions, ${grouped(report.ticks)} ticks, ` +
          `profile ${options.profile}, ideal counting, seed ${options.seed}, digest ${report.digest.slice(0, 16)}\n`,
      );
    }
    const line = outcomeLine(report);
    if (line) process.stderr.write(`counterpoint: ${line}\n`);
    process.exitCode = exitCodeOf(report);
  });
