import type { CoverageCell } from './coverage.ts';

const escaped = (text: string): string =>
  text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);

/** Five shades by the logarithm of a count, from white to blue; nothing met is grey hatching. */
function shade(count: number, most: number): string {
  if (count === 0) return 'none';
  const share = Math.log1p(count) / Math.log1p(Math.max(most, 1));
  const light = Math.round(92 - 52 * share);
  return `hsl(212 70% ${light}%)`;
}

/** Which ways accesses took, design by design, as a page that opens from disk. */
export function coverageHtml(cells: readonly CoverageCell[], title: string): string {
  const designs = [...new Set(cells.map(({ design }) => design))].sort();
  const rowOf = ({ register, form }: CoverageCell) => `${form} ${register}`;
  const rows = [...new Set(cells.map(rowOf))].sort();
  const outcomes = [...new Set(cells.map(({ outcome }) => outcome))].sort();
  const most = Math.max(0, ...cells.map(({ count }) => count));
  const counts = new Map(
    cells.map((cell) => [`${cell.design}|${rowOf(cell)}|${cell.outcome}`, cell.count]),
  );
  const cell = (design: string, row: string, outcome: string) => {
    const count = counts.get(`${design}|${row}|${outcome}`) ?? 0;
    const dark = count > 0 && Math.log1p(count) / Math.log1p(most) > 0.6;
    const style =
      count === 0 ? '' : ` style="background:${shade(count, most)}${dark ? ';color:#fff' : ''}"`;
    const label = `${design}: ${row}: ${outcome}: ${count}`;
    return `<td${style} title="${escaped(label)}">${count === 0 ? '' : count}</td>`;
  };
  const head = `<tr><th></th>${outcomes.map((outcome) => `<th>${escaped(outcome)}</th>`).join('')}</tr>`;
  const maps = designs.map((design) => {
    const own = rows.filter((row) =>
      outcomes.some((outcome) => counts.has(`${design}|${row}|${outcome}`)),
    );
    const body = own
      .map((row) => {
        const line = outcomes.map((outcome) => cell(design, row, outcome)).join('');
        return `<tr><th>${escaped(row)}</th>${line}</tr>`;
      })
      .join('\n');
    return `<section><h2>${escaped(design)}</h2><table>${head}\n${body}</table></section>`;
  });
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>${escaped(title)}</title>
<style>
body { font: 14px system-ui, sans-serif; margin: 2rem; color: #1b1f24; }
h1 { font-size: 1.3rem; } h2 { font-size: 1rem; margin: 0 0 .4rem; }
main { display: flex; flex-wrap: wrap; gap: 2rem; }
table { border-collapse: collapse; table-layout: fixed; font-variant-numeric: tabular-nums; font-size: 12px; }
th { font-weight: 500; text-align: left; padding: 1px 6px; white-space: nowrap; }
tr:first-child th { width: 4.6rem; white-space: normal; vertical-align: bottom; text-align: right; }
tr:first-child th:first-child { width: 17rem; }
td { text-align: right; padding: 1px 6px; border: 1px solid #e4e7eb; background: #f6f7f8; }
</style>
<h1>${escaped(title)}</h1>
<p>Accesses by register, instruction and outcome. <em>direct</em>: the processor answered; <em>exit</em>: the hypervisor did; neither: the
access faulted before anybody was asked. Rows of L2 are those of a guest’s guest: <em>exit to L1</em> says what its hypervisor did about the
access, and which way its own one went where it carried it out. Darker is more, on a logarithmic scale; exact counts of this run.</p>
<main>
${maps.join('\n')}
</main>
</html>
`;
}
