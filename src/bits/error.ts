/** Control characters, line separators, and marks that turn the direction of text. */
const UNPRINTABLE = /[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/gu;

/** What a message quotes may be anything that somebody typed: it stays on its line. */
export const printable = (text: string): string =>
  text.replace(UNPRINTABLE, (character) => {
    const code = character.codePointAt(0)!.toString(16).padStart(4, '0');
    return `\\u${code}`;
  });

/** An error a user can act on: one line that names what and where, and a `code` that stays the same for ever. */
export class CounterpointError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(printable(message));
    this.name = 'CounterpointError';
    this.code = code;
  }
}
