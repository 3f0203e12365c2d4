import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { CounterpointError } from '../../bits/error.ts';
import { executeHere } from '../../fuzz/campaign/here.ts';
import { planCampaign, type Shard } from '../../fuzz/campaign/plan.ts';
import { executeInPool, serveJobs, type WorkerCommand } from '../../fuzz/campaign/pool.ts';
import { mergeReports, type Report } from '../../fuzz/campaign/report.ts';
import { runCampaign } from '../../fuzz/campaign/run.ts';
import { Worker } from '../../fuzz/campaign/work.ts';
import { coverageHtml } from '../../fuzz/coverage-html.ts';
import type { Finding } from '../../fuzz/finding.ts';
import { probeLeakyTwin } from '../../fuzz/leaks/leaky-twin.ts';
import { PLANTS } from '../../fuzz/leaks/plants.ts';
import { findingFile, parseFinding, replay } from '../../fuzz/replay.ts';
import { EXIT_CODE } from '../exit-code.ts';
import { fuzzText, leaksText, replayText } from '../fuzz-text.ts';
import { json } from '../json.ts';
import { OPTION } from '../options.ts';
import { ProgressLine } from '../progress-line.ts';
import { writeWhole } from '../write-whole.ts';

interface Options {
  readonly design?: string[];
  readonly profile?: string[];
  readonly cases?: number;
  readonly time?: number;
  readonly seed: string;
  readonly shard: Shard;
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly findings?: string;
  readonly coverage?: boolean;
  readonly output?: string;
  readonly replay?: string;
  readonly exhaustive?: boolean;
  readonly leaky?: string;
  readonly jobs: number;
  readonly html?: string;
}

const names = (text: string): string[] => text.split(',').filter((name) => name !== '');

function cases(text: string): number {
  const digits = text.replace(/[_,]/g, '');
  if (!/^\d{1,12}$/.test(digits) || Number(digits) === 0) {
    throw new InvalidArgumentError('a number of cases is a whole number above 0.');
  }
  return Number(digits);
}

/** `90s`, `5m`, `2h` in seconds. */
function time(text: string): number {
  const match = /^(\d{1,6})(s|m|h)$/.exec(text);
  if (!match)
    throw new InvalidArgumentError('a time is a number with s, m or h behind it, as in 90s.');
  return Number(match[1]) * { s: 1, m: 60, h: 3600 }[match[2] as 's' | 'm' | 'h'];
}

function jobs(text: string): number {
  if (!/^\d{1,3}$/.test(text) || Number(text) < 1) {
    throw new InvalidArgumentError('a number of jobs is a whole number above 0.');
  }
  return Number(text);
}

function shard(text: string): Shard {
  const match = /^(\d{1,6})\/(\d{1,6})$/.exec(text);
  const [part, of] = [Number(match?.[1]), Number(match?.[2])];
  if (!match || part < 1 || part > of) {
    throw new InvalidArgumentError('a shard is i/n with i from 1 to n, as in 2/4.');
  }
  return { part, of };
}

const CASES = 2_000;
/** With a time limit, as many as the time is good for. */
const ENOUGH = 10 ** 9;

/** Ends a run early: Ctrl-C, SIGTERM, the time that was given. A second signal ends the process. */
function ending(seconds: number | undefined) {
  const controller = new AbortController();
  let code: number | undefined;
  const end = (exitCode: number) => () => {
    code = exitCode;
    controller.abort();
  };
  const interrupt = end(EXIT_CODE.INTERRUPT);
  const terminate = end(EXIT_CODE.TERMINATE);
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', terminate);
  const timer =
    seconds === undefined ? undefined : setTimeout(() => controller.abort(), seconds * 1000);
  return {
    signal: controller.signal,
    done: () => {
      clearTimeout(timer);
      process.off('SIGINT', interrupt);
      process.off('SIGTERM', terminate);
      return code;
    },
  };
}

function saveFindings(folder: string, findings: readonly Finding[]): void {
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new CounterpointError('unwritable-file', `${folder}: cannot be created (${code})`);
  }
  for (const finding of findings) {
    const { name, content } = findingFile(finding);
    writeWhole(join(folder, name), content);
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new CounterpointError('unreadable-file', `${path}: cannot be read (${code})`);
  }
}

/** Runs a finding again. Ends with 1 if it still shows. */
function showAgain(path: string, asJson: boolean): void {
  const finding = parseFinding(readText(path), path);
  const seen = replay(finding);
  const { again, violations, trace } = seen;
  const { steps } = trace;
  process.stdout.write(asJson ? json({ again, violations, steps }) : replayText(finding, seen));
  process.exitCode = again ? EXIT_CODE.FAIL : EXIT_CODE.PASS;
}

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

function show(
  report: Report,
  options: Pick<Options, 'json' | 'coverage' | 'findings' | 'output' | 'html'>,
) {
  if (options.findings !== undefined) {
    saveFindings(
      options.findings,
      report.findings.map(({ finding }) => finding),
    );
  }
  if (options.html !== undefined) {
    const title = `Coverage of the PMU's intercepts, seed ${report.campaign.seed}, ${report.cases} cases`;
    writeWhole(options.html, coverageHtml(report.coverage, title));
  }
  if (options.output !== undefined) writeWhole(options.output, json(report));
  process.stdout.write(
    options.json ? json(report) : fuzzText(report, { coverage: options.coverage === true }),
  );
}

const exitCodeFor = (report: Report): number =>
  report.findings.length > 0 || report.filed.length > 0 ? EXIT_CODE.FAIL : EXIT_CODE.PASS;

/** A child process is this command again. */
const WORKER: WorkerCommand = { module: process.argv[1] ?? '', args: ['fuzz', 'worker'] };

const workerCommand = new Command('worker')
  .description('execute jobs that a parent process sends')
  .action(() => {
    const worker = new Worker();
    serveJobs((job) => worker.execute(job));
  });

function leakyChannels(text: string): number[] {
  const all = PLANTS.map(({ channel }) => channel);
  if (text === 'all') return all;
  const channel = /^\d{1,2}$/.test(text) ? Number(text) : 0;
  if (all.includes(channel)) return [channel];
  throw new CounterpointError(
    'unknown-channel',
    `there is no leak channel '${text}': 1 to 26, or all`,
  );
}

/** Opens channels on purpose. Ends with 1 if one of them was not noticed. */
function showLeaks(text: string, options: Options): void {
  const line = new ProgressLine({ quiet: options.quiet });
  const channels = leakyChannels(text);
  const reports = channels.map((channel, at) => {
    line.show(at, channels.length, 'channels', '');
    return probeLeakyTwin(channel);
  });
  line.end();
  if (options.findings !== undefined) {
    saveFindings(
      options.findings,
      reports.flatMap(({ findings }) => findings),
    );
  }
  process.stdout.write(options.json ? json(reports) : leaksText(reports));
  const caught = reports.every(({ findings }) => findings.length > 0);
  process.exitCode = caught ? EXIT_CODE.PASS : EXIT_CODE.FAIL;
}

const mergeCommand = new Command('merge')
  .description('the report of a whole campaign from the reports of its shards')
  .argument('<files...>', 'what fuzz --shard i/n --output FILE wrote')
  .option('--output <file>', 'also write the report as JSON')
  .option('--coverage', 'list which ways accesses went')
  .option('--html <file>', 'also write the coverage as a heat map')
  .addOption(OPTION.json())
  .action((files: string[], _: unknown, command: Command) => {
    const options = command.optsWithGlobals<Options>();
    const report = mergeReports(files.map(readReport));
    show(report, options);
    process.exitCode = exitCodeFor(report);
  });

export const fuzzCommand = new Command('fuzz')
  .description('reach for the PMU in every way a guest can, and see who answers')
  .option('--design <names>', 'designs of the vPMU, with commas between; all unless told', names)
  .option('-p, --profile <names>', 'processors, with commas between; all unless told', names)
  .option('--cases <n>', `how many cases; ${CASES} unless told`, cases)
  .option('--time <time>', 'how long instead: 90s, 5m, 2h', time)
  .option('--seed <text>', 'what the cases are drawn from', 'counterpoint')
  .option('--shard <i/n>', 'every nth case only, from the ith on', shard, { part: 1, of: 1 })
  .option(
    '--exhaustive',
    'every MSR of both bitmap ranges, every form, every CPL, all of RDPMC, instead',
  )
  .option(
    '--leaky <channel>',
    'open a leak channel of 1 to 26 on purpose, or all in turn, and probe it',
  )
  .option('--jobs <n>', 'child processes to share the work', jobs, 1)
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
  counterpoint fuzz merge 1.json 2.json 3.json 4.json`,
  )
  .addCommand(mergeCommand)
  .addCommand(workerCommand, { hidden: true })
  .action(async (options: Options) => {
    const { design, profile, seed, quiet } = options;
    if (options.replay !== undefined) {
      showAgain(options.replay, options.json === true);
      return;
    }
    if (options.leaky !== undefined) {
      showLeaks(options.leaky, options);
      return;
    }
    const limited = options.time !== undefined;
    const random = options.cases ?? (limited ? ENOUGH : CASES);
    const campaign = planCampaign({
      seed,
      ...(design && { designs: design }),
      ...(profile && { profiles: profile }),
      cases: options.exhaustive ? undefined : random,
    });
    const line = new ProgressLine({ quiet });
    const end = ending(options.time);
    const report = await runCampaign(campaign, {
      shard: options.shard,
      executor: options.jobs === 1 ? executeHere() : executeInPool(WORKER, options.jobs),
      signal: end.signal,
      onProgress: ({ cases: done, of, findings }) =>
        line.show(done, of, 'cases', findings > 0 ? `, ${findings} findings` : ''),
    });
    line.end();
    const code = end.done();
    show(report, options);
    process.exitCode = code ?? exitCodeFor(report);
  });
