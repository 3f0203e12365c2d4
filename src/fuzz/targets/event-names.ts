import { CounterpointError } from '../../bits/error.ts';
import { readEvents } from '../../machine/event-list.ts';
import { Draw } from '../draw.ts';

/** What users write, and what nobody should be able to make anything of. */
// biome-ignore format: a table
const PIECES = [
  'cycles', 'instructions', 'branches', 'r00c0', 'r', 'cpu/', 'event=', '0xc0', 'umask=', 'cmask=', 'inv', 'edge', '/', ',', '{', '}', ':',
  'u', 'k', 'h', 'G', 'H', 'p', 'pp', 'D', 'INST_RETIRED.ANY', 'br_inst_retired.near_call', '__proto__', 'constructor', 'toString',
  'hasOwnProperty', '-1', '99999999999999999999', '0x', '=', ' ', '\n', '\0', '../../etc/passwd', '%s', '\u202e', '😀', 'name=',
] as const;

/** Reads so many event lists; answers those that ended in anything else than an answer or an error for the user. */
export function fuzzEventNames({ seed, lists }: { seed: string; lists: number }): string[] {
  const unexpected: string[] = [];
  for (let list = 0; list < lists; list++) {
    const draw = new Draw(`${seed}/${list}`);
    const text = Array.from({ length: 1 + draw.below(8) }, () => draw.of(PIECES)).join('');
    try {
      for (const event of readEvents(text, 'sapphire-rapids')) {
        if (typeof event !== 'object') unexpected.push(text);
      }
    } catch (error) {
      if (!(error instanceof CounterpointError)) unexpected.push(`${text}: ${error}`);
      else if (error.message.includes('\n')) unexpected.push(`${text}: more than one line`);
    }
  }
  return unexpected;
}
