/** Machine code with labels; all addresses fit in 32 bits. */
export class Code {
  readonly #origin: number;
  readonly #bytes: number[] = [];
  readonly #labels = new Map<string, number>();
  readonly #fixups: { at: number; label: string; size: 1 | 4 }[] = [];

  /** @param origin address of the first byte */
  constructor(origin: number) {
    this.#origin = origin;
  }

  get here(): number {
    return this.#origin + this.#bytes.length;
  }

  /** Address of a label that is already defined. */
  at(name: string): number {
    return this.#labels.get(name)!;
  }

  label(name: string): this {
    this.#labels.set(name, this.here);
    return this;
  }

  /** Bytes in hex; numbers are 32-bit immediates; `@name` is a 32-bit relative target, `!name` an 8-bit one. */
  emit(...parts: readonly (string | number)[]): this {
    for (const part of parts) {
      if (typeof part === 'number') this.#immediate(part);
      else if (part.startsWith('@')) this.#reference(part.slice(1), 4);
      else if (part.startsWith('!')) this.#reference(part.slice(1), 1);
      else for (const byte of part.split(' ')) this.#bytes.push(Number.parseInt(byte, 16));
    }
    return this;
  }

  finish(): Uint8Array {
    for (const { at, label, size } of this.#fixups) {
      const distance = this.at(label) - (this.#origin + at + size);
      for (let i = 0; i < size; i++) this.#bytes[at + i] = (distance >> (8 * i)) & 0xff;
    }
    return Uint8Array.from(this.#bytes);
  }

  #immediate(value: number): void {
    for (let i = 0; i < 4; i++) this.#bytes.push((value >>> (8 * i)) & 0xff);
  }

  #reference(label: string, size: 1 | 4): void {
    this.#fixups.push({ at: this.#bytes.length, label, size });
    for (let i = 0; i < size; i++) this.#bytes.push(0);
  }
}
