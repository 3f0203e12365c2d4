import { readFileSync } from 'node:fs';
import type { Plugin } from 'esbuild';
import type { Fault } from './faults.ts';

/** Bundles the sources with one fault in them, or none. */
export const planted = (fault: Fault | undefined): Plugin => ({
  name: 'fault',
  setup(context) {
    if (!fault) return;
    const filter = new RegExp(`/${fault.file.replaceAll('.', '\\.')}$`);
    context.onLoad({ filter }, ({ path }) => {
      const sound = readFileSync(path, 'utf8');
      return { contents: sound.replace(fault.from, () => fault.to), loader: 'ts' };
    });
  },
});
