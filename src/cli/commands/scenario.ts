import { Command } from 'commander';
import { CounterpointError } from '../../bits/error.ts';
import { SCENARIOS } from '../../lab/scenarios/index.ts';
import { json } from '../json.ts';
import { scenarioText } from '../scenario-text.ts';
import { table } from '../table.ts';

export const scenarioCommand = new Command('scenario')
  .description('run a named scenario of hosts, guests and counters; without a name, list them')
  .argument('[name]', 'the scenario')
  .option('--json', 'print JSON; 64-bit values as strings')
  .addHelpText(
    'after',
    `
Examples:
  counterpoint scenario
  counterpoint scenario ${Object.keys(SCENARIOS)[0]}`,
  )
  .action((name: string | undefined, { json: asJson }: { json?: boolean }) => {
    if (name === undefined) {
      const list = Object.values(SCENARIOS).map(({ name, title }) => ({ name, title }));
      const rows = list.map(({ name, title }) => [name, title]);
      process.stdout.write(asJson ? json(list) : `${table(rows, ['left', 'left'])}\n`);
      return;
    }
    const scenario = Object.hasOwn(SCENARIOS, name) ? SCENARIOS[name] : undefined;
    if (!scenario) {
      throw new CounterpointError(
        'unknown-scenario',
        `there is no scenario '${name}': ${Object.keys(SCENARIOS).join(', ')}`,
      );
    }
    const { title, why, columns } = scenario;
    const rows = scenario.run();
    process.stdout.write(
      asJson ? json({ name, title, why, columns, rows }) : scenarioText(scenario, rows),
    );
  });
