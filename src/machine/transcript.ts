/** Bytes in the order in which they came. */
export class Transcript {
  #bytes = new Uint8Array(256);
  #length = 0;

  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  get text(): string {
    return new TextDecoder().decode(this.bytes);
  }

  push(byte: number): void {
    if (this.#length === this.#bytes.length) {
      const grown = new Uint8Array(this.#length * 2);
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    this.#bytes[this.#length++] = byte;
  }

  save(): Uint8Array {
    return this.bytes.slice();
  }

  restore(saved: Uint8Array): void {
    if (saved.length > this.#bytes.length) this.#bytes = new Uint8Array(saved.length * 2);
    this.#bytes.set(saved);
    this.#length = saved.length;
  }
}
