/** An error a user can act on: one line that names what and where, and a `code` that stays the same for ever. */
export class CounterpointError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.name = 'CounterpointError';
    this.code = code;
  }
}
