import { Examiner } from '../examine.ts';
import { type Finding, findingKey } from '../finding.ts';
import { CHANNELS } from './channels.ts';
import { PLANTS } from './plants.ts';
import { PROBED_CHANNELS, probesOf } from './probes.ts';

/** What the probes of one channel say of a machine. */
export interface ChannelReport {
  readonly channel: number;
  readonly title: string;
  /** What was broken on purpose; undefined in a machine that is whole. */
  readonly planted: string | undefined;
  /** Findings that name this channel. */
  readonly findings: readonly Finding[];
  /** Other findings: what the fault shows as beside. */
  readonly others: readonly Finding[];
}

const DESIGN = 'mediated';

function probe(examiner: Examiner, channel: number, design: string): Finding[] {
  const found = new Map<string, Finding>();
  for (const fuzzed of probesOf(channel, design)) {
    for (const violation of examiner.examine(fuzzed).violations) {
      const key = findingKey(violation);
      if (!found.has(key)) found.set(key, { ...violation, case: fuzzed });
    }
  }
  return [...found.values()];
}

function report(channel: number, planted: string | undefined, found: Finding[]): ChannelReport {
  return {
    channel,
    title: CHANNELS[channel]!,
    planted,
    findings: found.filter((finding) => finding.channel === channel),
    others: found.filter((finding) => finding.channel !== channel),
  };
}

/** Opens one channel of the mediated vPMU on purpose and lets its probes look. */
export function probeLeakyTwin(channel: number): ChannelReport {
  const plant = PLANTS.find((each) => each.channel === channel)!;
  const found = probe(new Examiner(plant.plant), channel, DESIGN);
  return report(
    channel,
    plant.what,
    found.map((finding) => ({ ...finding, planted: channel })),
  );
}

/** The probes of all channels on a design as it is. */
export function probeDesign(design: string): ChannelReport[] {
  const examiner = new Examiner();
  return PROBED_CHANNELS.map((channel) =>
    report(channel, undefined, probe(examiner, channel, design)),
  );
}
