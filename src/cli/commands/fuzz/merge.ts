import { Command } from 'commander';
import { CounterpointError } from '../../../bits/error.ts';
import { mergeReports, type Report } from '../../../fuzz/campaign/report.ts';
import { OPTION } from '../../options.ts';
import { readText } from './findings.ts';
import type { Options } from './options.ts';
import { exitCodeFor, showReport } from './report.ts';

/** Reports as `--output` wrote them. */
function readReport(path: string): Report {
  const text = readText(path);
  try {
    const report = JSON.parse(text) as Report;
    if (Array.isArray(report.shards) && Array.isArray(report.coverage)) return report;
  } catch {
    // Falls through to the one answer there is.
  }
  throw new CounterpointError('bad-report', `${path}: this is no report of fuzz --output`);
}

export const mergeCommand = new Command('merge')
  .description('the report of a whole campaign from the reports of its shards')
  .argument('<files...>', 'what fuzz --shard i/n --output FILE wrote')
  .option('--output <file>', 'also write the report as JSON')
  .option('--coverage', 'list which ways accesses went')
  .option('--html <file>', 'also write the coverage as a heat map')
  .addOption(OPTION.json())
  .action((files: string[], _: unknown, command: Command) => {
    const report = mergeReports(files.map(readReport));
    showReport(report, command.optsWithGlobals<Options>());
    process.exitCode = exitCodeFor(report);
  });
