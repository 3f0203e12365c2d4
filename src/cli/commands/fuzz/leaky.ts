import { CounterpointError } from '../../../bits/error.ts';
import { probeLeakyTwin } from '../../../fuzz/leaks/leaky-twin.ts';
import { PLANTS } from '../../../fuzz/leaks/plants.ts';
import { EXIT_CODE } from '../../exit-code.ts';
import { leaksText } from '../../fuzz-text.ts';
import { json } from '../../json.ts';
import { ProgressLine } from '../../progress-line.ts';
import { saveFindings } from './findings.ts';
import type { Options } from './options.ts';

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
export function showLeaks(text: string, options: Options): void {
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
