import { expect, it } from 'vitest';
import { CounterpointError } from '../../src/bits/error.ts';

it('the message of an error is one line, whatever it quotes', () => {
  const { message } = new CounterpointError('x', "there is no event 'a\nb\u001b[2J\u202e'");
  expect(message).toBe("there is no event 'a\\u000ab\\u001b[2J\\u202e'");
});
