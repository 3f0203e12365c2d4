import { createHash } from 'node:crypto';
import { CounterpointError } from '../../bits/error.ts';
import type { FuzzCase } from '../case.ts';
import { exhaustiveCase, exhaustiveCases } from '../exhaustive.ts';
import { generate } from '../generate.ts';
import { KNOWN_PROFILES } from '../oracles/shapes.ts';
import { DESIGN_NAMES, PROFILE_NAMES, pairsOf } from '../profiles.ts';

/** Cases whose meaning a version of the generator fixes; a new one is a new campaign. */
const GENERATOR = 8;

/** A list of cases, by what it is drawn from. */
export interface Campaign {
  /** Drawn at random, or everything there is. */
  readonly kind: 'random' | 'exhaustive';
  readonly seed: string;
  readonly designs: readonly string[];
  readonly profiles: readonly string[];
  /** Cases 0 to this number − 1. */
  readonly cases: number;
}

/** One part of n of a campaign: every nth case, from the `part`th on. */
export interface Shard {
  /** From 1. */
  readonly part: number;
  readonly of: number;
}

/** Some cases of a shard, to be executed in one go by whoever is free. */
export interface Job {
  /** Hash of the campaign and the cases: the same job has the same name everywhere. */
  readonly id: string;
  readonly campaign: Campaign;
  readonly first: number;
  readonly step: number;
  readonly count: number;
}

export const WHOLE: Shard = { part: 1, of: 1 };

const checked = (
  kind: string,
  told: readonly string[],
  known: readonly string[],
  otherwise: readonly string[] = known,
) => {
  if (told.length === 1 && told[0] === 'all') return [...known];
  for (const name of told) {
    if (known.includes(name)) continue;
    throw new CounterpointError(
      `unknown-${kind}`,
      `there is no ${kind} '${name}': ${known.join(', ')}; or all`,
    );
  }
  return told.length > 0 ? [...told] : [...otherwise];
};

/** A campaign as a user asks for it. @throws CounterpointError `unknown-design`, `unknown-profile`, `mediated-unsupported` */
export function planCampaign(told: {
  seed: string;
  designs?: readonly string[];
  profiles?: readonly string[];
  /** How many cases; undefined is everything. */
  cases: number | undefined;
}): Campaign {
  const space = {
    seed: told.seed,
    designs: checked('design', (told.designs ?? []).map(aliased), DESIGN_NAMES),
    profiles: checked('profile', told.profiles ?? [], KNOWN_PROFILES, PROFILE_NAMES),
  };
  if (pairsOf(space.designs, space.profiles).length === 0) {
    throw new CounterpointError(
      'mediated-unsupported',
      `no PMU of ${space.profiles.join(', ')} can be handed over as ${space.designs.join(', ')} wants it: that takes version 4 and full-width writes`,
    );
  }
  if (told.cases !== undefined) return { kind: 'random', ...space, cases: told.cases };
  return { kind: 'exhaustive', ...space, cases: exhaustiveCases(space) };
}

/** Case number `index` of a campaign. */
export const caseOf = (campaign: Campaign, index: number): FuzzCase =>
  campaign.kind === 'random' ? generate(campaign, index) : exhaustiveCase(campaign, index);

/** vPMU passthrough is what Linux calls a mediated vPMU. */
const aliased = (name: string) => (name === 'passthrough' ? 'mediated' : name);

export const campaignId = (campaign: Campaign): string =>
  createHash('sha256')
    .update(JSON.stringify([GENERATOR, { ...campaign, cases: 0 }]))
    .digest('hex')
    .slice(0, 16);

/** The jobs of a shard, in the order of their cases. */
export function* jobsOf(campaign: Campaign, shard: Shard, size: number): Generator<Job> {
  const id = campaignId(campaign);
  for (let first = shard.part - 1; first < campaign.cases; first += size * shard.of) {
    const count = Math.min(size, Math.ceil((campaign.cases - first) / shard.of));
    yield { id: `${id}-${first}-${shard.of}-${count}`, campaign, first, step: shard.of, count };
  }
}

/** The numbers of a job's cases. */
export const casesOf = ({ first, step, count }: Job): number[] =>
  Array.from({ length: count }, (_, at) => first + at * step);
