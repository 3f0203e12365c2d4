import { Command, Option } from 'commander';
import { grouped } from '../../bits/decimal.ts';
import { hex } from '../../bits/hex.ts';
import { countedText } from '../../lab/comparison.ts';
import { openGuest } from '../../lab/guests.ts';
import { statJson, statSeparated, statText } from '../../lab/perf-stat.ts';
import { DEFAULT_EVENTS, OBSERVED, type Observed, type Stat, startStat } from '../../lab/stat.ts';
import type { Deviations, Timing } from '../../machine/profiles.ts';
import { addBootArguments, type BootArguments, bootOptions } from '../boot-arguments.ts';
import { EXIT_CODE, exitCodeOf } from '../exit-code.ts';
import { OPTION } from '../options.ts';
import { outcomeLine } from '../outcome-text.ts';
import { session } from '../session.ts';
import { table } from '../table.ts';

interface Options extends BootArguments {
  readonly events: string;
  readonly machine: string;
  readonly profile: string;
  readonly of: Observed;
  readonly timing: Timing;
  readonly deviations: Deviations;
  readonly memory?: number;
  readonly nested?: boolean;
  readonly maxInstructions: bigint;
  readonly maxTime?: bigint;
  readonly fieldSeparator?: string;
  readonly jsonOutput?: boolean;
}

/** What perf cannot know, below its block: the guest's own exact counts, and why an event was refused. */
function truthText({ lines, truth, refused, counted }: Stat): string {
  const rows = lines.map(({ event }, i) => {
    const count = truth[i];
    return [count === undefined ? 'no exact count' : grouped(count), event];
  });
  const untold = truth.includes(undefined)
    ? [
        ' no exact count: of what the model has not, of one privilege level alone, of the host alone',
        '',
      ]
    : [];
  return [
    ' In the guest alone, by the machine itself (exact):',
    '',
    table(
      rows.map(([count = '', event = '']) => [count.padStart(18), event]),
      ['left', 'left'],
    ),
    '',
    ...untold,
    ...refused.map((line) => ` refused: ${line}`),
    ` ${countedText(counted)}`,
    '',
  ].join('\n');
}

/** What perf calls whom it watched. */
const TITLE: Readonly<Record<Observed, (guest: string) => string>> = {
  guest: (guest) => `guest ${guest}`,
  program: () => 'host program',
  cpu: () => 'system wide',
};

export const statCommand = addBootArguments(new Command('stat'))
  .description("perf stat's output for a guest's thread, with the exact truth below it")
  .argument('<guest>', 'a bundled guest or an image file')
  .option('-e, --events <list>', 'events as perf takes them', DEFAULT_EVENTS)
  .addOption(OPTION.machine())
  .addOption(OPTION.profile())
  .addOption(
    new Option(
      '--of <whom>',
      "whom host perf watches: the vCPU's thread, a host program that takes turns with it, or the processor, as perf stat -a",
    )
      .choices(OBSERVED)
      .default('guest'),
  )
  .addOption(OPTION.timing())
  .addOption(OPTION.deviations())
  .addOption(OPTION.memory())
  .addOption(OPTION.nested())
  .addOption(OPTION.maxInstructions())
  .addOption(OPTION.maxTime())
  .option('-x, --field-separator <text>', 'fields separated by this, as perf stat -x')
  .option('-j, --json-output', 'one JSON object a line, as perf stat -j')
  .addHelpText(
    'after',
    `
Examples:
  counterpoint stat multiplex
  counterpoint stat -m emulated --of cpu -e instructions:G,instructions:H count
  counterpoint stat -e cycles,instructions:G,instructions:H -m emulated count
  counterpoint stat -x , -e r00c0,BR_INST_RETIRED.NEAR_CALL multiplex
  counterpoint stat -m passthrough -e instructions:G,instructions:H vmlinuz --initrd initrd.cpio --append 'console=ttyS0'`,
  )
  .action(async (guest: string, options: Options) => {
    const { fieldSeparator, jsonOutput, maxInstructions, maxTime, ...rest } = options;
    const { name, bytes } = openGuest(guest);
    const run = startStat(bytes, { ...rest, boot: bootOptions(options) });
    const budget = { maxInstructions, ...(maxTime !== undefined && { maxTicks: maxTime }) };
    const { signal } = await session(run, { budget, progress: true });
    const result = run.report();
    if (jsonOutput) process.stdout.write(statJson(result.lines));
    else if (fieldSeparator !== undefined) {
      process.stdout.write(statSeparated(fieldSeparator, result.lines));
    } else {
      process.stdout.write(statText(TITLE[options.of](name), result.lines, result.seconds));
      process.stdout.write(truthText(result));
    }
    const { rip } = result.end;
    const line = signal ? `interrupted at RIP ${hex(rip)}` : outcomeLine(result.end);
    if (line) process.stderr.write(`counterpoint: ${line}\n`);
    process.exitCode = signal ? EXIT_CODE[signal] : exitCodeOf(result.end);
  });
