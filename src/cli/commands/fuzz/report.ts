import type { Report } from '../../../fuzz/campaign/report.ts';
import { coverageHtml } from '../../../fuzz/coverage-html.ts';
import { EXIT_CODE } from '../../exit-code.ts';
import { fuzzText } from '../../fuzz-text.ts';
import { json } from '../../json.ts';
import { writeWhole } from '../../write-whole.ts';
import { saveFindings } from './findings.ts';
import type { Options } from './options.ts';

/** Writes what a campaign came to, wherever it was asked for. */
export function showReport(
  report: Report,
  options: Pick<Options, 'json' | 'coverage' | 'findings' | 'output' | 'html'>,
): void {
  if (options.findings !== undefined) {
    saveFindings(
      options.findings,
      report.findings.map(({ finding }) => finding),
    );
  }
  if (options.html !== undefined) {
    const title = `Coverage of the PMU's intercepts, seed ${report.campaign.seed}, ${report.cases} cases`;
    writeWhole(options.html, coverageHtml(report.coverage, title));
  }
  if (options.output !== undefined) writeWhole(options.output, json(report));
  process.stdout.write(
    options.json ? json(report) : fuzzText(report, { coverage: options.coverage === true }),
  );
}

export const exitCodeFor = (report: Report): number =>
  report.findings.length > 0 || report.filed.length > 0 ? EXIT_CODE.FAIL : EXIT_CODE.PASS;
