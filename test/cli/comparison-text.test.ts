import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { comparisonText } from '../../src/cli/comparison-text.ts';
import { compare } from '../../src/lab/compare.ts';

const image = new Uint8Array(readFileSync(new URL('../../firmware/overflow.elf', import.meta.url)));
const MACHINES = ['bare', 'emulated', 'mediated', 'rfc-v1'];
const text = comparisonText(compare(image, { name: 'overflow', machines: MACHINES }));

it('fits 100 columns, and cuts no word off', () => {
  expect(text.split('\n').filter((line) => line.length > 100)).toEqual([]);
  expect(text.split('\n').filter((line) => line.includes('…') && !/^ {2}… /.test(line))).toEqual(
    [],
  );
});

it('says of every section what stands behind it', () => {
  const titles = text.split('\n').filter((line) => / {6}bare {4}/.test(line));
  const standing = titles.map((line) => /\[(exact|modelled)\]/.exec(line)?.[1]);
  expect(standing).toEqual([...Array(8).fill('exact'), 'modelled', 'modelled']);
});

it('tells the cost of the switch by kind: eleven RDPMC to load and eleven to put, elided or not', () => {
  const rdpmc = text.split('\n').filter((line) => /^ {2}RDPMC +\d+(\.\d\d)? /.test(line));
  expect(rdpmc.join('\n')).toMatch(/ 22\.00$/m);
});
