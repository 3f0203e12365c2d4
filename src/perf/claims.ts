import { PerfError } from './error.ts';
import type { PerfTarget, PerfTask } from './perf.ts';

/** How a VM's design keeps host events away that do not exclude guests. */
export type ClaimRule = 'refuse' | 'error' | 'error-scoped';

/** The claims that existing VMs have on the PMU, as far as they limit what may be opened. */
export class GuestClaims {
  #claims: { readonly rule: ClaimRule; readonly task: PerfTask | undefined }[] = [];

  /** A VM, or with `task` a vCPU, makes its claim. */
  add(rule: ClaimRule, task?: PerfTask): void {
    this.#claims.push({ rule, task });
  }

  remove(rule: ClaimRule, task?: PerfTask): void {
    const at = this.#claims.findIndex((claim) => claim.rule === rule && claim.task === task);
    if (at >= 0) this.#claims.splice(at, 1);
  }

  /** Whether an event that does not exclude guests may be opened. @throws PerfError EOPNOTSUPP or EBUSY */
  check(target: PerfTarget): void {
    for (const { rule, task } of this.#claims) {
      const onVcpu = task !== undefined && target.task === task;
      if (rule === 'refuse' || (rule === 'error-scoped' && onVcpu)) {
        throw new PerfError(
          'EOPNOTSUPP',
          'a mediated VM exists and the event does not exclude guests',
        );
      }
      if (rule === 'error' && (onVcpu || !target.task)) {
        throw new PerfError('EBUSY', 'a guest has the PMU and the event does not exclude guests');
      }
    }
  }

  save(): readonly { readonly rule: ClaimRule; readonly task: string | undefined }[] {
    return this.#claims.map(({ rule, task }) => ({ rule, task: task?.name }));
  }

  restore(saved: ReturnType<GuestClaims['save']>, task: (name: string) => PerfTask): void {
    this.#claims = saved.map(({ rule, task: name }) => ({
      rule,
      task: name === undefined ? undefined : task(name),
    }));
  }
}
