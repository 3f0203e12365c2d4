import { EXIT_CODE } from '../../exit-code.ts';

/** What may end a run early. */
export interface Ending {
  /** Aborts when the run is to end. */
  readonly signal: AbortSignal;
  /** Listens no more. @returns the exit code of the signal that came, if one did */
  done(): number | undefined;
}

/** Ends a run early: Ctrl-C, SIGTERM, the time that was given. A second signal ends the process. */
export function ending(seconds?: number): Ending {
  const controller = new AbortController();
  let code: number | undefined;
  const end = (exitCode: number) => () => {
    code = exitCode;
    controller.abort();
  };
  const interrupt = end(EXIT_CODE.INTERRUPT);
  const terminate = end(EXIT_CODE.TERMINATE);
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', terminate);
  const timer =
    seconds === undefined ? undefined : setTimeout(() => controller.abort(), seconds * 1000);
  return {
    signal: controller.signal,
    done: () => {
      clearTimeout(timer);
      process.off('SIGINT', interrupt);
      process.off('SIGTERM', terminate);
      return code;
    },
  };
}
