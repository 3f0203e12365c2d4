import { Argument, Command } from 'commander';
import { hex } from '../../bits/hex.ts';
import { GUESTS } from '../../lab/guests.ts';
import { events, msrs } from '../../machine/catalogue.ts';
import { MACHINES } from '../../machine/create.ts';
import { DEVIATIONS, PROFILES } from '../../machine/profiles.ts';
import { json } from '../json.ts';
import { OPTION } from '../options.ts';
import { table } from '../table.ts';

type Rows = readonly Readonly<Record<string, string>>[];

const named = (rows: Readonly<Record<string, string>>): Rows =>
  Object.entries(rows).map(([name, title]) => ({ name, title }));

/** What can be listed. Every event says whether it is exact or a model. */
const LISTS: Readonly<Record<string, (profile: string) => Rows>> = {
  guests: () => named(GUESTS),
  machines: () => named({ ...MACHINES, passthrough: 'another name of mediated' }),
  profiles: () => Object.values(PROFILES).map(({ name, title }) => ({ name, title })),
  deviations: () =>
    Object.entries(DEVIATIONS).map(([name, { title, takes }]) => ({
      name: takes ? `${name}=<${takes}>` : name,
      title,
    })),
  events: (profile) =>
    events(profile).map(({ name, event, umask, exactness }) => ({
      name,
      raw: `r${umask.toString(16).padStart(2, '0')}${event.toString(16).padStart(2, '0')}`,
      counts: exactness,
    })),
  msrs: (profile) =>
    msrs(profile).map(({ address, name, writable, reset, sdm }) => ({
      address: hex(address),
      name,
      writable: typeof writable === 'bigint' ? hex(writable) : 'none',
      reset: hex(reset),
      sdm,
    })),
};

export const listCommand = new Command('list')
  .description('list guests, machines, profiles, deviations, events or msrs')
  .addArgument(new Argument('<what>').choices(Object.keys(LISTS)))
  .addOption(OPTION.profile())
  .addOption(OPTION.json())
  .addHelpText(
    'after',
    `
Examples:
  counterpoint list guests
  counterpoint list events --profile skylake-server
  counterpoint list msrs --json`,
  )
  .action((what: string, { profile, json: asJson }: { profile: string; json?: boolean }) => {
    const rows = LISTS[what]!(profile);
    if (asJson) process.stdout.write(json(rows));
    else {
      const lines = rows.map((row) => Object.values(row));
      process.stdout.write(`${table(lines, ['left', 'left', 'left', 'left', 'left'])}\n`);
    }
  });
