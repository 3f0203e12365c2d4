import { ImageError } from './image-error.ts';

/** Little-endian numbers out of an image; reading past its end is an `ImageError`. */
export class ByteReader {
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get length(): number {
    return this.bytes.length;
  }

  u8(offset: number): number {
    this.need(offset, 1, 'a byte');
    return this.#view.getUint8(offset);
  }

  u16(offset: number): number {
    this.need(offset, 2, 'a 16-bit field');
    return this.#view.getUint16(offset, true);
  }

  u32(offset: number): number {
    this.need(offset, 4, 'a 32-bit field');
    return this.#view.getUint32(offset, true);
  }

  u64(offset: number): bigint {
    this.need(offset, 8, 'a 64-bit field');
    return this.#view.getBigUint64(offset, true);
  }

  slice(offset: number, length: number, what: string): Uint8Array {
    this.need(offset, length, what);
    return this.bytes.subarray(offset, offset + length);
  }

  /** Text up to the first zero, at most `limit` bytes. */
  text(offset: number, limit: number): string {
    const bytes = this.bytes.subarray(offset, Math.min(this.length, offset + limit));
    const end = bytes.indexOf(0);
    return String.fromCharCode(...bytes.subarray(0, end < 0 ? bytes.length : end));
  }

  need(offset: number, length: number, what: string): void {
    if (offset < 0 || length < 0 || offset + length > this.length) {
      throw new ImageError(
        'image-truncated',
        Math.min(offset, this.length),
        `the image ends before ${what}`,
      );
    }
  }
}
