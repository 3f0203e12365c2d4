import { disjointExclusion, renumbered, stolenCounters, watchdog } from './contention.ts';
import type { Scenario } from './scenario.ts';
import { cpuid, tenOnNine, toggle } from './toggling.ts';

/** Every scenario, by name, in the order they are told. */
export const SCENARIOS: Readonly<Record<string, Scenario>> = Object.fromEntries(
  [stolenCounters, watchdog, renumbered, disjointExclusion, toggle, cpuid, tenOnNine].map(
    (scenario) => [scenario.name, scenario],
  ),
);
