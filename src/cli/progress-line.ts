/** Milliseconds between two looks of somebody who waits. */
const REFRESH = 200;

const duration = (seconds: number): string => {
  if (!Number.isFinite(seconds)) return '?';
  const whole = Math.round(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
};

/** One line on stderr that is written over, on a terminal only: how far, how fast, how long yet. */
export class ProgressLine {
  readonly #on: boolean;
  readonly #start = performance.now();
  #last = 0;

  constructor({ quiet = false }: { quiet?: boolean | undefined } = {}) {
    this.#on = process.stderr.isTTY === true && !quiet;
  }

  show(done: number, of: number, unit: string, more: string): void {
    const now = performance.now();
    if (!this.#on || now - this.#last < REFRESH) return;
    this.#last = now;
    const rate = done / ((now - this.#start) / 1000);
    const left = duration((of - done) / rate);
    const share = of === 0 ? 100 : Math.floor((100 * done) / of);
    process.stderr.write(
      `\r\u001b[K${share} % of ${of} ${unit}, ${rate.toFixed(0)}/s, ${left} left${more}`,
    );
  }

  end(): void {
    if (this.#on) process.stderr.write('\r\u001b[K');
  }
}
