/** A plain ELF64 image of one segment at 1 MiB, made of machine code: what a user's own smallest guest looks like. */
export function tinyElf(
  code: readonly number[],
  { memorySize = code.length, base = 0x100000 } = {},
): Uint8Array {
  const image = new Uint8Array(120 + code.length);
  const view = new DataView(image.buffer);
  image.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 2, true); // executable
  view.setUint16(18, 62, true); // x86-64
  view.setUint32(20, 1, true);
  view.setBigUint64(24, BigInt(base), true); // entry
  view.setBigUint64(32, 64n, true); // program headers
  view.setUint16(52, 64, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, 1, true);
  view.setUint32(64, 1, true); // PT_LOAD
  view.setUint32(68, 7, true);
  view.setBigUint64(72, 120n, true);
  view.setBigUint64(80, BigInt(base), true);
  view.setBigUint64(88, BigInt(base), true);
  view.setBigUint64(96, BigInt(code.length), true);
  view.setBigUint64(104, BigInt(memorySize), true);
  image.set(code, 120);
  return image;
}
