import { grouped } from '../bits/decimal.ts';

const EVERY_MS = 500;
const TICKS_PER_SECOND = 3e9;

/** How far a run is, on one line of a terminal's stderr that is written over; nothing elsewhere. */
export class RunProgress {
  readonly #on: boolean;
  #shown = false;
  #at = performance.now();
  #instructions = 0n;

  constructor(wanted: boolean) {
    this.#on = wanted && process.stderr.isTTY === true;
  }

  show(instructions: bigint, ticks: bigint): void {
    const now = performance.now();
    const passed = now - this.#at;
    if (!this.#on || passed < EVERY_MS) return;
    const rate = Number(instructions - this.#instructions) / passed / 1000;
    this.#at = now;
    this.#instructions = instructions;
    this.clear();
    const time = (Number(ticks) / TICKS_PER_SECOND).toFixed(2);
    process.stderr.write(
      `${grouped(instructions)} instructions, ${rate.toFixed(1)} million a second, guest time ${time} s`,
    );
    this.#shown = true;
  }

  /** Before anything else is written to the terminal. */
  clear(): void {
    if (this.#shown) process.stderr.write('\r\u001b[K');
    this.#shown = false;
  }
}
