import { describe, it } from 'vitest';
import { judgeScheduling } from './scheduling-run.ts';

describe('random host workloads', () => {
  it(
    'schedule as the small model of the rules says, and never share a counter',
    () => judgeScheduling(150, 7),
    60_000,
  );
});
