/** Keys of the escape: Ctrl-A, then x ends the run, Ctrl-A sends one, as QEMU has it. */
const CTRL_A = 0x01;
const QUIT = 'x'.charCodeAt(0);

/** The user's side of the guest's serial line: stdin, in raw mode if it is a terminal. */
export class GuestConsole {
  readonly #typed: number[] = [];
  readonly #onQuit: () => void;
  #escaped = false;
  #wake: (() => void) | undefined;
  readonly #isTerminal = process.stdin.isTTY;

  constructor({ onQuit }: { onQuit: () => void }) {
    this.#onQuit = onQuit;
    if (this.#isTerminal) process.stdin.setRawMode(true);
    process.stdin.on('data', this.#hear);
    process.stdin.on('error', () => {});
  }

  /** What was typed since the last time. */
  take(): readonly number[] {
    return this.#typed.splice(0);
  }

  /** Waits so many milliseconds, or until something is typed. */
  async idle(milliseconds: number): Promise<void> {
    if (this.#typed.length > 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = undefined;
  }

  close(): void {
    process.stdin.off('data', this.#hear);
    process.stdin.pause();
    if (this.#isTerminal) process.stdin.setRawMode(false);
  }

  readonly #hear = (bytes: Buffer): void => {
    for (const byte of bytes) {
      if (this.#isTerminal && !this.#escaped && byte === CTRL_A) this.#escaped = true;
      else if (this.#escaped && byte === QUIT) this.#onQuit();
      else {
        this.#escaped = false;
        this.#typed.push(byte);
      }
    }
    this.#wake?.();
  };
}
