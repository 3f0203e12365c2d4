import { Examiner } from '../../../src/fuzz/examine.ts';
import { generate } from '../../../src/fuzz/generate.ts';

/**
 * Draws cases of some designs until an oracle disagrees, for so many seconds of processor time: design,design seconds;
 * with `nested` behind them only those of a guest's guest.
 */
const [designs = 'mediated', seconds = '60', kind] = process.argv.slice(2);
const examiner = new Examiner();
const space = { seed: 'faults', designs: designs.split(','), profiles: ['sapphire-rapids'] };
const spent = () => process.cpuUsage().user / 1e6;
let index = 0;
let found: string | undefined;
for (; found === undefined && spent() < Number(seconds); index++) {
  const fuzzed = generate(space, index);
  if (kind === 'nested' && !fuzzed.nested) continue;
  const [violation] = examiner.examine(fuzzed).violations;
  if (violation) found = `${violation.oracle}: ${violation.instruction} ${violation.register}`;
}
console.log(JSON.stringify({ cases: index, seconds: Math.round(spent()), found }));
process.exit(found === undefined ? 0 : 1);
