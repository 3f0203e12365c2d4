import { CounterpointError } from '../bits/error.ts';

/** An errno that perf answers a caller with. */
export type PerfErrno = 'EBUSY' | 'EOPNOTSUPP' | 'EINVAL' | 'ENOENT' | 'ENOSPC' | 'EACCES';

/** perf refused: `errno` as perf_event_open would return it, negated. */
export class PerfError extends CounterpointError {
  readonly errno: PerfErrno;

  constructor(errno: PerfErrno, message: string) {
    super(`perf-${errno.toLowerCase()}`, `-${errno}: ${message}`);
    this.name = 'PerfError';
    this.errno = errno;
  }
}
