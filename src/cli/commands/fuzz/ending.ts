import { EXIT_CODE } from '../../exit-code.ts';

/** Ends a run early: Ctrl-C, SIGTERM, the time that was given. A second signal ends the process. */
export function ending(seconds?: number) {
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
    /** The exit code of the signal, if there was one. */
    done: () => {
      clearTimeout(timer);
      process.off('SIGINT', interrupt);
      process.off('SIGTERM', terminate);
      return code;
    },
  };
}
