import type { Shard } from '../../../fuzz/campaign/plan.ts';

/** What `fuzz` and its subcommands are told. */
export interface Options {
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
  readonly redis?: string;
}
