import { decode } from '../../../src/cpu/decode/decode.ts';
import type { Sample } from './byte-strings.ts';
import { forgiven, ONLY_THEIRS, type Unshared } from './differences.ts';
import { type View, viewOf } from './view.ts';

/** What another decoder says, and what may be said by one side alone. */
export interface Opinion {
  readonly view: View;
  /** The CPUID feature it names, where that is one our CPU does not have. */
  readonly absent?: string | undefined;
  readonly onlyTheirs?: readonly Unshared[];
  readonly onlyOurs?: readonly Unshared[];
}

const listed = (rows: readonly Unshared[], text: string, codeSize: number) =>
  rows.some((row) => (row.codeSizes?.includes(codeSize) ?? true) && row.applies.test(text));

function agree(ours: View, theirs: Opinion, codeSize: number): boolean {
  const { view, absent, onlyTheirs = ONLY_THEIRS, onlyOurs = [] } = theirs;
  if (ours === 'invalid') {
    return view === 'invalid' || absent !== undefined || listed(onlyTheirs, view.text, codeSize);
  }
  if (view === 'invalid') return listed(onlyOurs, ours.text, codeSize);
  return ours.length === view.length && forgiven(ours.text) === forgiven(view.text);
}

const hexOf = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

/** A sentence if the two decoders disagree on these bytes. */
export function disagreement({ bytes, codeSize }: Sample, theirs: Opinion): string | undefined {
  const ours = viewOf(decode(bytes, 0, codeSize));
  if (agree(ours, theirs, codeSize)) return undefined;
  const say = (view: View) => (view === 'invalid' ? view : `${view.text} (${view.length} bytes)`);
  return `${codeSize * 8}-bit ${hexOf(bytes)}: ours ${say(ours)}, theirs ${say(theirs.view)}`;
}

/** The same bytes with as many of them zero as still make the two decoders disagree. */
export function shrink(sample: Sample, opinionOf: (sample: Sample) => Opinion): Sample {
  const bytes = Uint8Array.from(sample.bytes);
  for (let i = bytes.length - 1; i >= 0; i--) {
    const kept = bytes[i]!;
    bytes[i] = 0;
    const smaller = { ...sample, bytes };
    if (disagreement(smaller, opinionOf(smaller)) === undefined) bytes[i] = kept;
  }
  return { ...sample, bytes };
}
