import { readdirSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { describe, expect, it } from 'vitest';

/** Who may import whom: each folder of src, and the folders it may reach. */
// biome-ignore format: a table
const REACH: Readonly<Record<string, readonly string[]>> = {
  bits:     [],
  memory:   ['bits'],
  msr:      ['bits'],
  pmu:      ['bits', 'msr'],
  apic:     ['bits', 'msr'],
  cpu:      ['bits', 'memory', 'msr'],
  vmx:      ['bits', 'memory', 'msr', 'cpu'],
  host:     ['bits', 'msr', 'vmx'],
  perf:     ['bits', 'msr', 'host'],
  kvm:      ['bits', 'memory', 'msr', 'apic', 'vmx', 'host', 'perf'],
  platform: ['bits', 'memory', 'apic'],
  machine:  ['bits', 'memory', 'msr', 'pmu', 'apic', 'cpu', 'vmx', 'host', 'perf', 'kvm', 'platform'],
  lab:      ['bits', 'machine', 'kvm', 'perf'],
  fuzz:     ['bits', 'lab', 'machine', 'kvm', 'perf'],
  page:     ['bits', 'lab', 'fuzz', 'machine'],
  cli:      ['bits', 'lab', 'fuzz', 'machine'],
};

/** `src/index.ts`, the library's front door, may reach everything. */
const FRONT_DOOR = /^(index\.ts|webassembly\.d\.ts)$/;

const files = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .map((path) => path.replaceAll('\\', '/'))
  .filter((path) => path.endsWith('.ts') && !FRONT_DOOR.test(path));

const folderOf = (path: string) => path.split('/')[0] ?? '';

/** Every relative module specifier: `from '…'`, bare `import '…'` and `import('…')`. */
const importsOf = (file: string) =>
  [
    ...readFileSync(`src/${file}`, 'utf8').matchAll(
      /(?:\bfrom\s+|\bimport\s+|\bimport\(\s*)'(\.[^']+)'/g,
    ),
  ].map(([, target = '']) => posix.join(posix.dirname(file), target));

describe('the house', () => {
  it('has files to look at', () => expect(files.length).toBeGreaterThan(5));

  it.each(files)('src/%s imports only from folders its own may reach', (file) => {
    const folder = folderOf(file);
    expect(Object.keys(REACH)).toContain(folder);
    for (const target of importsOf(file)) {
      expect([folder, ...(REACH[folder] ?? [])], target).toContain(folderOf(target));
    }
  });
});
