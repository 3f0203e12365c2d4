/** JSON as every command prints it: two spaces, bigints as decimal strings, since JSON numbers are exact only to 2^53. */
export const json = (value: unknown): string =>
  `${JSON.stringify(value, (_key, part: unknown) => (typeof part === 'bigint' ? part.toString() : part), 2)}\n`;
