/** The bit at position `n`, as a mask. */
export const bit = (n: number): bigint => 1n << BigInt(n);

/** The field from bit `high` down to bit `low`, both included, as a mask: `bits(15, 8)` is FF00H. */
export const bits = (high: number, low: number): bigint => ones(high - low + 1) << BigInt(low);

/** `count` ones from bit 0 up. */
export const ones = (count: number): bigint => (1n << BigInt(count)) - 1n;

/** All the given fields in one mask. */
export const maskOf = (...fields: readonly bigint[]): bigint => fields.reduce((a, b) => a | b, 0n);

/** Whether any bit of `field` is set in `value`. */
export const isSet = (value: bigint, field: bigint): boolean => (value & field) !== 0n;

/** Positions that were asked for: fields are few, and asked for again and again. */
const positions = new Map<bigint, bigint>();

/** The position of the lowest bit of `field`. */
export function lowest(field: bigint): bigint {
  const known = positions.get(field);
  if (known !== undefined) return known;
  if (field <= 0n) throw new RangeError(`a field has at least one bit: ${field}`);
  let position = 0n;
  for (let rest = field; (rest & 1n) === 0n; rest >>= 1n) position += 1n;
  positions.set(field, position);
  return position;
}

/** The number that `field` holds in `value`. */
export const extract = (value: bigint, field: bigint): bigint => (value & field) >> lowest(field);

/** `value` with `field` replaced by `content`. */
export const insert = (value: bigint, field: bigint, content: bigint): bigint =>
  (value & ~field) | ((content << lowest(field)) & field);
