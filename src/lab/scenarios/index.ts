import { disjointExclusion, renumbered, stolenCounters, watchdog } from './contention.ts';
import { counterfactuals } from './counterfactuals.ts';
import { extras } from './extras.ts';
import { guestOwned } from './guest-owned.ts';
import { guestPebs } from './guest-pebs.ts';
import { lastBranches } from './last-branches.ts';
import { boundingWrites, maskedLvtpc } from './overflow.ts';
import type { Scenario } from './scenario.ts';
import {
  givingBack,
  migration,
  observers,
  orderOfOpening,
  priorityClass,
  twoVcpus,
} from './sharing.ts';
import { tableA, tableASensitivity } from './table-a.ts';
import { cpuid, tenOnNine, toggle } from './toggling.ts';

/** Every scenario, in the order they are told. */
const ALL: readonly Scenario[] = [
  stolenCounters,
  watchdog,
  renumbered,
  disjointExclusion,
  toggle,
  cpuid,
  tenOnNine,
  twoVcpus,
  migration,
  orderOfOpening,
  maskedLvtpc,
  boundingWrites,
  observers,
  givingBack,
  priorityClass,
  counterfactuals,
  lastBranches,
  guestPebs,
  guestOwned,
  extras,
  tableA,
  tableASensitivity,
];

/** The scenarios by name. */
export const SCENARIOS: Readonly<Record<string, Scenario>> = Object.fromEntries(
  ALL.map((scenario) => [scenario.name, scenario]),
);
