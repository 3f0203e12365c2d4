import { Command } from 'commander';
import { type ChromeTrace, chromeTraceJson } from '../../lab/chrome-trace.ts';
import { compare } from '../../lab/compare.ts';
import { openGuest } from '../../lab/guests.ts';
import { htmlReport } from '../../lab/html-report.ts';
import type { Deviations, Timing } from '../../machine/profiles.ts';
import { addBootArguments, type BootArguments, bootOptions } from '../boot-arguments.ts';
import { comparisonText } from '../comparison-text.ts';
import { exitCodeOf } from '../exit-code.ts';
import { json } from '../json.ts';
import { OPTION } from '../options.ts';
import { outcomeLine } from '../outcome-text.ts';
import { writeWhole } from '../write-whole.ts';

interface Options extends BootArguments {
  readonly machines?: string[];
  readonly profile: string;
  readonly timing: Timing;
  readonly deviations: Deviations;
  readonly memory?: number;
  readonly maxInstructions: bigint;
  readonly engine: string;
  readonly seed: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly html?: string;
  readonly traceEvents?: string;
  readonly hostEvents?: string;
  readonly cpus: number;
  readonly nested?: boolean;
}

export const compareCommand = addBootArguments(new Command('compare'))
  .description(
    'run one guest on several machines and set side by side what it read and what was true',
  )
  .argument('<guest>', 'a bundled guest or an image file')
  .addOption(OPTION.machines())
  .addOption(OPTION.profile())
  .addOption(OPTION.timing())
  .addOption(OPTION.deviations())
  .addOption(OPTION.memory())
  .addOption(OPTION.maxInstructions())
  .addOption(OPTION.engine())
  .addOption(OPTION.seed())
  .addOption(OPTION.json())
  .addOption(OPTION.quiet())
  .addOption(OPTION.cpus())
  .addOption(OPTION.nested())
  .option(
    '--host-events <list>',
    'events of the host on all its processors, opened beside each VM; :D pins them',
  )
  .option('--html <file>', 'also write a report with plots that opens from disk')
  .option(
    '--trace-events <file>',
    'also write a Chrome trace of the virtual machines, for Perfetto',
  )
  .addHelpText(
    'after',
    `
Examples:
  counterpoint compare multiplex
  counterpoint compare emulated --machines bare,passthrough
  counterpoint compare multiplex --host-events cycles:D,branches:D,instructions:H
  counterpoint compare my-kernel.elf --profile skylake-server --json
  counterpoint compare vmlinuz --initrd initrd.cpio --append 'console=ttyS0' --max-instructions 300_000_000`,
  )
  .action((guest: string, options: Options) => {
    const { machines, quiet, json: asJson, html, traceEvents, cpus, ...rest } = options;
    const { name, bytes } = openGuest(guest);
    const traces: ChromeTrace[] = [];
    const progress = process.stderr.isTTY && !quiet;
    const comparison = compare(bytes, {
      name,
      ...(machines && { machines }),
      ...rest,
      processors: cpus,
      boot: bootOptions(options),
      ...(traceEvents !== undefined && {
        onTrace: (trace: ChromeTrace) => void traces.push(trace),
      }),
      onMachine: (machine) => {
        if (progress) process.stderr.write(`running ${name} on ${machine} …\n`);
      },
    });
    if (html !== undefined) writeWhole(html, htmlReport(comparison));
    if (traceEvents !== undefined) writeWhole(traceEvents, chromeTraceJson(traces));
    process.stdout.write(asJson ? json(comparison) : comparisonText(comparison));
    for (const report of comparison.machines) {
      const line = outcomeLine(report);
      if (line) process.stderr.write(`counterpoint: ${report.machine}: ${line}\n`);
    }
    process.exitCode = Math.max(...comparison.machines.map(exitCodeOf));
  });
