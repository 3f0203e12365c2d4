import { it } from 'vitest';
import { SCENARIOS } from '/work/main/src/lab/scenarios/index.ts';
it.each(Object.keys(SCENARIOS))('%s', (name) => {
  const rows = SCENARIOS[name]!.run();
  console.log(name + '\n' + rows.map(({ what, values }) => `${what.padEnd(60)} ${Object.entries(values).map(([k, v]) => `${k}=${v}`).join('  ')}`).join('\n'));
}, 100000);
