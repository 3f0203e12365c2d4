import { InvalidArgumentError } from 'commander';
import type { Shard } from '../../../fuzz/campaign/plan.ts';

export const names = (text: string): string[] => text.split(',').filter((name) => name !== '');

export function cases(text: string): number {
  const digits = text.replace(/[_,]/g, '');
  if (!/^\d{1,12}$/.test(digits) || Number(digits) === 0) {
    throw new InvalidArgumentError('a number of cases is a whole number above 0.');
  }
  return Number(digits);
}

/** `90s`, `5m`, `2h` in seconds. */
export function time(text: string): number {
  const match = /^(\d{1,6})(s|m|h)$/.exec(text);
  if (!match)
    throw new InvalidArgumentError('a time is a number with s, m or h behind it, as in 90s.');
  return Number(match[1]) * { s: 1, m: 60, h: 3600 }[match[2] as 's' | 'm' | 'h'];
}

export function jobs(text: string): number {
  if (!/^\d{1,3}$/.test(text) || Number(text) < 1) {
    throw new InvalidArgumentError('a number of jobs is a whole number above 0.');
  }
  return Number(text);
}

export function shard(text: string): Shard {
  const match = /^(\d{1,6})\/(\d{1,6})$/.exec(text);
  const [part, of] = [Number(match?.[1]), Number(match?.[2])];
  if (!match || part < 1 || part > of) {
    throw new InvalidArgumentError('a shard is i/n with i from 1 to n, as in 2/4.');
  }
  return { part, of };
}
