import { Command, Option } from 'commander';
import { CounterpointError } from '../../../bits/error.ts';
import { planCampaign, WHOLE } from '../../../fuzz/campaign/plan.ts';
import { executeInPool } from '../../../fuzz/campaign/pool.ts';
import { executeOverQueue } from '../../../fuzz/campaign/queue.ts';
import { type Executor, runCampaign } from '../../../fuzz/campaign/run.ts';
import { OPTION } from '../../options.ts';
import { ProgressLine } from '../../progress-line.ts';
import { VERSION } from '../../version.ts';
import { cases, jobs, names, shard, time } from './arguments.ts';
import { ending } from './ending.ts';
import { showAgain } from './findings.ts';
import { showLeaks } from './leaky.ts';
import { mergeCommand } from './merge.ts';
import type { Options } from './options.ts';
import { exitCodeFor, showReport } from './report.ts';
import { CHILD, tellTrouble, workerCommand } from './worker.ts';

const CASES = 2_000;
/** With a time limit, as many as the time is good for. */
const ENOUGH = 10 ** 9;

const campaignOf = ({ design, profile, seed, time: limit, cases: told, exhaustive }: Options) => {
  const random = told ?? (limit === undefined ? CASES : ENOUGH);
  return planCampaign({
    seed,
    ...(design && { designs: design }),
    ...(profile && { profiles: profile }),
    cases: exhaustive ? undefined : random,
  });
};

async function executorFor(
  { redis: url, jobs: width, quiet }: Options,
  signal: AbortSignal,
): Promise<Executor> {
  if (url === undefined) return executeInPool(CHILD, width);
  if (width > 1) {
    throw new CounterpointError('usage', 'with --redis, --jobs is for fuzz worker to be told');
  }
  const executor = await executeOverQueue({
    ...{ url, version: VERSION, signal },
    onTrouble: tellTrouble,
  });
  if (!quiet) {
    process.stderr.write(
      'counterpoint: executed by whoever runs fuzz worker with the same --redis\n',
    );
  }
  return executor;
}

async function run(options: Options): Promise<void> {
  const campaign = campaignOf(options);
  const end = ending(options.time);
  const executor = await executorFor(options, end.signal);
  const line = new ProgressLine({ quiet: options.quiet });
  const report = await runCampaign(campaign, {
    shard: options.shard,
    executor,
    signal: end.signal,
    onProgress: ({ cases: done, of, findings }) =>
      line.show(done, of, 'cases', findings > 0 ? `, ${findings} findings` : ''),
  });
  line.end();
  const code = end.done();
  showReport(report, options);
  process.exitCode = code ?? exitCodeFor(report);
}

export const fuzzCommand = new Command('fuzz')
  .description('reach for the PMU in every way a guest can, and see who answers')
  .option('--design <names>', 'designs of the vPMU, with commas between; all unless told', names)
  .option(
    '-p, --profile <names>',
    'processors, with commas between, or all; the two without LBRs, PEBS and metrics unless told',
    names,
  )
  .option('--cases <n>', `how many cases; ${CASES} unless told`, cases)
  .option('--time <time>', 'how long instead: 90s, 5m, 2h', time)
  .option('--seed <text>', 'what the cases are drawn from', 'counterpoint')
  .addOption(
    new Option('--shard <i/n>', 'every nth case only, from the ith on')
      .argParser(shard)
      .default(WHOLE, '1/1'),
  )
  .option(
    '--exhaustive',
    'every MSR of both bitmap ranges, every form, every CPL, all of RDPMC, instead',
  )
  .option(
    '--leaky <channel>',
    'open a leak channel of 1 to 26 on purpose, or all in turn, and probe it',
  )
  .option('--jobs <n>', 'child processes to share the work', jobs, 1)
  .option('--redis <url>', 'have the cases executed by every fuzz worker --redis of the same URL')
  .option('--html <file>', 'also write the coverage as a heat map that opens from disk')
  .option('--findings <folder>', 'write each finding to a file of its own, for --replay')
  .option('--replay <file>', 'run a finding again and explain it step by step')
  .option('--output <file>', 'also write the report as JSON, for fuzz merge')
  .option('--coverage', 'list which ways accesses went')
  .addOption(OPTION.json())
  .addOption(OPTION.quiet())
  .addHelpText(
    'after',
    `
Ends with 1 if anything was found, 130 or 143 after a signal; what was executed by then is reported.

Examples:
  counterpoint fuzz
  counterpoint fuzz --design passthrough,rfc-v1 --cases 20000 --findings found
  counterpoint fuzz --cases 1000000 --shard 2/4 --output 2.json
  counterpoint fuzz --design passthrough -p sapphire-rapids --exhaustive --jobs 4
  counterpoint fuzz --leaky all
  counterpoint fuzz merge 1.json 2.json 3.json 4.json
  counterpoint fuzz worker --redis redis://10.0.0.1:6379 --jobs 8
  counterpoint fuzz --cases 1000000 --redis redis://10.0.0.1:6379`,
  )
  .addCommand(mergeCommand)
  .addCommand(workerCommand)
  .action(async (options: Options) => {
    if (options.replay !== undefined) showAgain(options.replay, options.json === true);
    else if (options.leaky !== undefined) showLeaks(options.leaky, options);
    else await run(options);
  });
