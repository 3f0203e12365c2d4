import { CounterpointError } from '../../bits/error.ts';
import { hex } from '../../bits/hex.ts';

/** What may be wrong with an image. The words are stable: programs match on them. */
export type ImageErrorCode =
  | 'image-unknown-format'
  | 'image-truncated'
  | 'image-bad-header'
  | 'image-unsupported'
  | 'image-too-large'
  | 'image-bad-note';

/** A guest image that cannot be loaded, and the byte of the file that says so. */
export class ImageError extends CounterpointError {
  readonly offset: number;

  constructor(code: ImageErrorCode, offset: number, what: string) {
    super(code, `${what} (at offset ${hex(offset)} of the image)`);
    this.name = 'ImageError';
    this.offset = offset;
  }
}
