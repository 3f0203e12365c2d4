import { ByteReader } from './byte-reader.ts';
import type { ElfImage } from './elf.ts';
import { ImageError } from './image-error.ts';

/**
 * A stretch of a guest of which the exact counts are of interest: open from when RIP = `begin` is about to execute
 * until RIP = `end` is. It may be passed any number of times.
 */
export interface Region {
  readonly name: string;
  readonly begin: bigint;
  readonly end: bigint;
}

const OWNER = 'counterpoint';
const REGIONS = 1;
/** u64 begin, u64 end, 16 bytes of name. */
const ENTRY_SIZE = 32;
const NAME_SIZE = 16;

/** The regions of interest that the image's notes name, in their order. @throws ImageError */
export function readRegions(image: ElfImage): readonly Region[] {
  return image.notes
    .filter(({ owner, type }) => owner === OWNER && type === REGIONS)
    .flatMap(({ descriptor, offset }) => {
      if (descriptor.length % ENTRY_SIZE !== 0) {
        throw new ImageError(
          'image-bad-note',
          offset,
          `regions take ${ENTRY_SIZE} bytes each, not ${descriptor.length} in all`,
        );
      }
      const reader = new ByteReader(descriptor);
      return Array.from({ length: descriptor.length / ENTRY_SIZE }, (_, index) => {
        const at = index * ENTRY_SIZE;
        return {
          name: reader.text(at + 16, NAME_SIZE),
          begin: reader.u64(at),
          end: reader.u64(at + 8),
        };
      });
    });
}
