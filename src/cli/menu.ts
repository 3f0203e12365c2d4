import { GUESTS } from '../lab/guests.ts';
import { table } from './table.ts';

/** What the command shows when it is asked for nothing: the bundled guests, one line each. */
export function menu(): string {
  const rows = Object.entries(GUESTS).map(([name, title]) => [`  ${name}`, title]);
  return [
    'counterpoint: an x86-64 machine whose performance-monitoring unit is exact',
    '',
    'Guests that come with it:',
    table(rows, ['left', 'left']),
    '',
    'Try:',
    '  counterpoint compare multiplex            one guest on three machines, one table',
    '  counterpoint run count -m emulated        one machine',
    '  counterpoint scenario                     named runs, complaint by complaint',
    '  counterpoint list events                  what its counters count',
    '  counterpoint --help                       everything else',
    '',
  ].join('\n');
}
