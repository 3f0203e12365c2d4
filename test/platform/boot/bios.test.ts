import { describe, expect, it } from 'vitest';
import { GuestRun } from '../../../src/lab/compare.ts';
import { createMachine } from '../../../src/machine/create.ts';
import { readSnapshot } from '../../../src/machine/snapshot.ts';
import { detectFormat } from '../../../src/platform/boot/boot.ts';

const KIB = 1024;

/** Firmware with a far jump to F000:0000 at the reset vector, and code there. */
function firmware(code: string, size = 64 * KIB): Uint8Array {
  const image = new Uint8Array(size);
  image.set(Buffer.from(code.replaceAll(' ', ''), 'hex'), size - 64 * KIB);
  image.set([0xea, 0x00, 0x00, 0x00, 0xf0], size - 16);
  return image;
}

/** Ends the machine with AL. */
const EXIT = 'e6f4';
/** Selects the file at 21H of the configuration device and reads a byte of it: mov dx,510h; mov ax,21h; out dx,ax; inc dx; in al,dx. */
const READ_FILE = 'ba1005 b82100 ef 42 ec';

describe('PC firmware', () => {
  it.each([64, 128, 256])('of %i KiB is known by its reset vector', (size) => {
    expect(detectFormat(firmware('', size * KIB))).toBe('bios');
  });

  it.each<[string, Uint8Array]>([
    ['too large', new Uint8Array(512 * KIB)],
    ['no whole 64 KiB', firmware('').subarray(1)],
    ['without a far jump at its reset vector', new Uint8Array(64 * KIB)],
    ['empty', new Uint8Array(0)],
  ])('that is %s is refused with the offset', (_what, image) => {
    expect(() => createMachine(image, { boot: { format: 'bios' } })).toThrow(
      /firmware is 64 to 256 KiB .* \(at offset 0x[0-9a-f]+ of the image\)/,
    );
  });

  it.each(['bare', 'emulated', 'passthrough'])('starts at the reset vector: %s', (machine) => {
    // mov al, 7
    const built = createMachine(firmware(`b007${EXIT}`), { machine, memory: 4 << 20 });
    expect(built.run({ maxInstructions: 1000n })).toMatchObject({
      reason: 'exit',
      exitValue: 7,
      instructions: 3n,
    });
  });

  it('reads the files it is given, in a resumed machine, too', () => {
    const files = { 'etc/x': Uint8Array.of(42) };
    const image = firmware(READ_FILE + EXIT);
    const make = () => GuestRun.start(image, 'bare', { memory: 4 << 20, boot: { files } });
    const whole = make();
    whole.advance({ maxInstructions: 100n });
    expect(whole.report().exitValue).toBe(42);
    const cut = make();
    cut.advance({ maxInstructions: 2n });
    const file = cut.snapshot();
    expect(Object.keys(readSnapshot(file).recipe.files ?? {})).toEqual(['etc/x']);
    const resumed = GuestRun.resume(file, {});
    resumed.advance({ maxInstructions: 100n });
    expect(resumed.report().digest).toBe(whole.report().digest);
  });
});
