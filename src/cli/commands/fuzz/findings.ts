import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CounterpointError } from '../../../bits/error.ts';
import type { Finding } from '../../../fuzz/finding.ts';
import { findingFile, parseFinding, replay } from '../../../fuzz/replay.ts';
import { EXIT_CODE } from '../../exit-code.ts';
import { json } from '../../json.ts';
import { replayText } from '../../replay-text.ts';
import { writeWhole } from '../../write-whole.ts';

export function saveFindings(folder: string, findings: readonly Finding[]): void {
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new CounterpointError('unwritable-file', `${folder}: cannot be created (${code})`);
  }
  for (const finding of findings) {
    const { name, content } = findingFile(finding);
    writeWhole(join(folder, name), content);
  }
}

export function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new CounterpointError('unreadable-file', `${path}: cannot be read (${code})`);
  }
}

/** Runs a finding again. Ends with 1 if it still shows. */
export function showAgain(path: string, asJson: boolean): void {
  const finding = parseFinding(readText(path), path);
  const seen = replay(finding);
  const { again, violations, trace } = seen;
  const { steps, toL1, stored } = trace;
  const told = { again, violations, steps, ...(finding.case.nested && { toL1, stored }) };
  process.stdout.write(asJson ? json(told) : replayText(finding, seen));
  process.exitCode = again ? EXIT_CODE.FAIL : EXIT_CODE.PASS;
}
