import type { Draw } from '../draw.ts';

/** Numbers at which sizes, offsets and counts go wrong. */
const EDGES = [
  ...[0n, 1n, 0x7fn, 0x80n, 0xffn, 0x7fff_ffffn, 0x8000_0000n, 0xffff_ffffn],
  ...[0x1_0000_0000n, 0x7fff_ffff_ffff_ffffn, 0x8000_0000_0000_0000n, 0xffff_ffff_ffff_ffffn],
];

type Mutation = (bytes: Uint8Array, draw: Draw) => Uint8Array;

const flipBit: Mutation = (bytes, draw) => {
  const at = draw.below(bytes.length);
  bytes[at] = bytes[at]! ^ (1 << draw.below(8));
  return bytes;
};

/** Most headers lie in front. */
const place = (bytes: Uint8Array, draw: Draw, size: number): number =>
  draw.below(Math.max(1, (draw.chance(0.7) ? Math.min(256, bytes.length) : bytes.length) - size));

const setEdge: Mutation = (bytes, draw) => {
  const size = draw.of([1, 2, 4, 8] as const);
  if (bytes.length < 8) return bytes;
  const at = place(bytes, draw, size);
  let value = draw.of(EDGES);
  for (let i = 0; i < size && at + i < bytes.length; i++) {
    bytes[at + i] = Number(value & 0xffn);
    value >>= 8n;
  }
  return bytes;
};

const truncate: Mutation = (bytes, draw) => bytes.slice(0, draw.below(bytes.length + 1));

const noise: Mutation = (bytes, draw) => {
  const at = place(bytes, draw, 1);
  for (let i = at; i < Math.min(bytes.length, at + 16); i++) bytes[i] = draw.below(256);
  return bytes;
};

/** A copy with one to four things changed. */
export function mutate(bytes: Uint8Array, draw: Draw): Uint8Array {
  let copy: Uint8Array = bytes.slice();
  for (let i = 0; i <= draw.below(4); i++) {
    if (copy.length === 0) return copy;
    const change = draw.weighted<Mutation>([
      [4, setEdge],
      [3, flipBit],
      [1, truncate],
      [1, noise],
    ]);
    copy = change(copy, draw);
  }
  return copy;
}
