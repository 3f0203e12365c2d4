/** An ELF file made to order. */
export interface ElfRecipe {
  bits?: 32 | 64;
  type?: number;
  machine?: number;
  entry?: bigint;
  programs?: {
    type?: number;
    offset?: bigint;
    address?: bigint;
    virtual?: bigint;
    fileSize?: bigint;
    memorySize?: bigint;
  }[];
  content?: Uint8Array;
  programCount?: number;
  programSize?: number;
}

/** Where `content` begins in the file that `elfBytes` makes. */
export const CONTENT_AT = 0x200;

export function elfBytes({
  bits = 64,
  type = 2,
  machine = 62,
  entry = 0x10_0000n,
  programs = [{}],
  content = new Uint8Array([0xf4]),
  programCount = programs.length,
  programSize = bits === 64 ? 56 : 32,
}: ElfRecipe = {}): Uint8Array {
  const bytes = new Uint8Array(CONTENT_AT + content.length);
  const view = new DataView(bytes.buffer);
  const word = (at: number, value: bigint) =>
    bits === 64 ? view.setBigUint64(at, value, true) : view.setUint32(at, Number(value), true);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, bits === 64 ? 2 : 1, 1, 1]);
  view.setUint16(16, type, true);
  view.setUint16(18, machine, true);
  word(24, entry);
  word(bits === 64 ? 32 : 28, BigInt(bits === 64 ? 64 : 52));
  view.setUint16(bits === 64 ? 54 : 42, programSize, true);
  view.setUint16(bits === 64 ? 56 : 44, programCount, true);
  for (const [index, program] of programs.entries()) {
    const at = (bits === 64 ? 64 : 52) + index * (bits === 64 ? 56 : 32);
    const {
      offset = BigInt(CONTENT_AT),
      address = 0x10_0000n,
      virtual = address,
      fileSize = BigInt(content.length),
      memorySize = fileSize,
    } = program;
    view.setUint32(at, program.type ?? 1, true);
    const [o, v, p, f, m] = bits === 64 ? [8, 16, 24, 32, 40] : [4, 8, 12, 16, 20];
    word(at + o!, offset);
    word(at + v!, virtual);
    word(at + p!, address);
    word(at + f!, fileSize);
    word(at + m!, memorySize);
  }
  bytes.set(content, CONTENT_AT);
  return bytes;
}
