import { it } from 'vitest';
import { judgeScheduling } from '../../perf/scheduling-run.ts';

/** Random host workloads; 5000 unless told. */
const WORKLOADS = Number(process.env.WORKLOADS ?? 5000);

it(`${WORKLOADS} random workloads are scheduled as the small model of the rules says`, () =>
  judgeScheduling(WORKLOADS));
