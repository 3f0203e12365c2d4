import { Command } from 'commander';
import { compare } from '../../lab/compare.ts';
import { openGuest } from '../../lab/guests.ts';
import { comparisonText } from '../comparison-text.ts';
import { exitCodeOf } from '../exit-code.ts';
import { json } from '../json.ts';
import { OPTION } from '../options.ts';
import { outcomeLine } from '../outcome-text.ts';

interface Options {
  readonly machines?: string[];
  readonly profile: string;
  readonly memory: number;
  readonly maxInstructions: bigint;
  readonly engine: string;
  readonly seed: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

export const compareCommand = new Command('compare')
  .description(
    'run one guest on several machines and set side by side what it read and what was true',
  )
  .argument('<guest>', 'a bundled guest or an image file')
  .addOption(OPTION.machines())
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
  counterpoint compare multiplex
  counterpoint compare emulated --machines bare,passthrough
  counterpoint compare my-kernel.elf --profile skylake-server --json`,
  )
  .action((guest: string, options: Options) => {
    const { machines, quiet, json: asJson, ...rest } = options;
    const { name, bytes } = openGuest(guest);
    const progress = process.stderr.isTTY && !quiet;
    const comparison = compare(bytes, {
      name,
      ...(machines && { machines }),
      ...rest,
      onMachine: (machine) => {
        if (progress) process.stderr.write(`running ${name} on ${machine} …\n`);
      },
    });
    process.stdout.write(asJson ? json(comparison) : comparisonText(comparison));
    for (const report of comparison.machines) {
      const line = outcomeLine(report);
      if (line) process.stderr.write(`counterpoint: ${report.machine}: ${line}\n`);
    }
    process.exitCode = Math.max(...comparison.machines.map(exitCodeOf));
  });
