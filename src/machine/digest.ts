import { createHash } from 'node:crypto';

/** Plain data in one fixed spelling: keys sorted, bigints marked. */
export const canonical = (value: unknown): string =>
  JSON.stringify(value, (_key, part: unknown) => {
    if (typeof part === 'bigint') return `${part}n`;
    if (part instanceof Uint8Array) return Buffer.from(part).toString('base64');
    if (part !== null && typeof part === 'object' && !Array.isArray(part)) {
      return Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)));
    }
    return part;
  });

/** SHA-256, in hexadecimal, of blocks of bytes and plain data. */
export function digest(parts: Iterable<Uint8Array | unknown>): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part instanceof Uint8Array ? part : canonical(part));
  return hash.digest('hex');
}
