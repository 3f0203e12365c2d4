import Table from 'cli-table3';

/** No boxes: fixed columns that parse, two spaces apart. */
// biome-ignore format: a table
const BARE = {
  top: '', 'top-mid': '', 'top-left': '', 'top-right': '', bottom: '', 'bottom-mid': '', 'bottom-left': '',
  'bottom-right': '', left: '', 'left-mid': '', mid: '', 'mid-mid': '', right: '', 'right-mid': '', middle: '  ',
};

/** A table in text: the first column to the left, the others to the right unless told; as wide as needed unless told. */
export function table(
  rows: readonly (readonly string[])[],
  align: readonly ('left' | 'right')[] = [],
  widths: readonly number[] = [],
): string {
  const columns = Math.max(...rows.map((row) => row.length));
  const text = new Table({
    chars: BARE,
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [], compact: true },
    colWidths: widths.length > 0 ? [...widths] : Array.from({ length: columns }, () => null),
    colAligns: Array.from({ length: columns }, (_, i) => align[i] ?? (i === 0 ? 'left' : 'right')),
  });
  text.push(
    ...rows.map((row) => [...row, ...Array.from({ length: columns - row.length }, () => '')]),
  );
  return text
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}
