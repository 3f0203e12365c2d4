const ENCODER = new TextEncoder();
/** Names in UTF-8: there are few, and every module imports by them. */
const NAMES = new Map<string, Uint8Array>();

/** A growing buffer with the encodings of WebAssembly's binary format. */
export class ByteWriter {
  #bytes = new Uint8Array(256);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  u8(value: number): this {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
    return this;
  }

  /** Unsigned LEB128 of an integer below 2^32. */
  unsigned(value: number): this {
    let rest = value >>> 0;
    for (; rest > 0x7f; rest >>>= 7) this.u8((rest & 0x7f) | 0x80);
    return this.u8(rest);
  }

  /** Signed LEB128 of a signed 32-bit integer. */
  signed(value: number): this {
    let rest = value | 0;
    for (; rest < -0x40 || rest > 0x3f; rest >>= 7) this.u8((rest & 0x7f) | 0x80);
    return this.u8(rest & 0x7f);
  }

  /** Signed LEB128 of a signed 64-bit integer. */
  signed64(value: bigint): this {
    let rest = value;
    for (; rest < -0x40n || rest > 0x3fn; rest >>= 7n) this.u8(Number(rest & 0x7fn) | 0x80);
    return this.u8(Number(rest & 0x7fn));
  }

  bytes(bytes: Uint8Array): this {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
    return this;
  }

  /** A name: its length in bytes, then UTF-8. */
  name(text: string): this {
    let bytes = NAMES.get(text);
    if (!bytes) {
      bytes = ENCODER.encode(text);
      NAMES.set(text, bytes);
    }
    return this.unsigned(bytes.length).bytes(bytes);
  }

  /** What was written so far; valid until the next write. */
  written(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + count));
    larger.set(this.written());
    this.#bytes = larger;
  }
}
