import { several } from '../../bits/decimal.ts';
import { hex } from '../../bits/hex.ts';
import type { BareTrace } from '../bare-chamber.ts';
import { type FuzzCase, isAccess } from '../case.ts';
import { atStep, type Violation } from '../finding.ts';
import { storedMsrs } from '../guest/nested-tables.ts';
import { channelOf, NESTED_CHANNEL } from '../leaks/channel-of.ts';
import { placeOf, type RegisterClass, registerName } from '../registers.ts';
import type { StepTrace, Trace } from '../trace.ts';
import { msrVerdict } from './access-rules.ts';
import { counterAt, counterOf, FIXED0, inexactCounters, PMC0, writesOf } from './counters.ts';
import { RIGHTS } from './rights.ts';
import { guestShape, hostShape } from './shapes.ts';

/** Registers that a virtual PMU promises to be like those of a processor. */
const PROMISED: ReadonlySet<RegisterClass> = new Set([
  ...(['PMC', 'A_PMC', 'FIXED_CTR', 'PERFEVTSEL', 'FIXED_CTR_CTRL'] as const),
  ...(['GLOBAL_CTRL', 'GLOBAL_STATUS', 'OVF_CTRL', 'PERF_CAPABILITIES'] as const),
]);

const INT = 1n << 20n;
/** Basic exit reason. */
const NMI = 0;
const PMI_BIT = 0x8n;

/** Counters that a write lets ask for a PMI. */
function countersAsking(address: number, value: bigint): number[] {
  const { class: kind, index } = placeOf(address);
  if (kind === 'PERFEVTSEL') return (value & INT) !== 0n ? [PMC0 + index] : [];
  if (kind !== 'FIXED_CTR_CTRL') return [];
  return [0, 1, 2, 3]
    .filter((i) => (value & (PMI_BIT << BigInt(4 * i))) !== 0n)
    .map((i) => FIXED0 + i);
}

/**
 * Whether the design promises that this case looks as on the bare machine. Where it does not: docs/differences.md,
 * and what the case itself has turned over.
 */
export function promisesEquality(fuzzed: FuzzCase): boolean {
  const { design, exposure, bitmap, host, steps } = fuzzed;
  if (exposure === 'none' || bitmap.length > 0) return false;
  const rights = RIGHTS[design]!;
  // A guest that reaches the host's registers sees the host's PMU, not one of its own shape.
  if (rights.globalCtrl === 'direct') return false;
  if (steps.some((step) => step.do === 'host' && step.action !== 'preempt')) return false;
  if (rights.counters === 'direct') return true;
  // Emulated: the host's events steal counters, and overflows may come one event late.
  return (
    host.events.length === 0 &&
    writesOf(fuzzed).every(([address, value]) => countersAsking(address, value).length === 0)
  );
}

/** Registers whose values are promised, less what counts something that differs by nature. */
function compares(fuzzed: FuzzCase, at: number, inexact: ReadonlySet<number>): boolean {
  const step = fuzzed.steps[at]!;
  if (!isAccess(step)) return false;
  if (step.do !== 'rdpmc') return isPromised(fuzzed, step.register, inexact);
  const counter = counterOf(step);
  return counter === undefined || !inexact.has(counter);
}

function isPromised(fuzzed: FuzzCase, address: number, inexact: ReadonlySet<number>): boolean {
  const { class: kind, version6, index } = placeOf(address);
  if (!PROMISED.has(kind) || version6) return false;
  if (kind === 'PERFEVTSEL' && index >= 8) return false;
  // Emulated counters tell of an overflow when they are brought up to date.
  if (kind === 'GLOBAL_STATUS' && RIGHTS[fuzzed.design]!.counters === 'exit') return false;
  const counter = counterAt(address);
  return counter === undefined || !inexact.has(counter);
}

/** A register that passes is the host's: it takes bits which a smaller PMU, of an older version, reserves. */
function hasBitsOfTheHost(fuzzed: FuzzCase, at: number, { path, carried }: StepTrace): boolean {
  const step = fuzzed.steps[at]!;
  if (step.do !== 'wrmsr' || (carried ?? path) !== 'direct') return false;
  const value = BigInt(step.value ?? '0x0');
  const guest = guestShape(fuzzed.profile, fuzzed.design, fuzzed.exposure);
  const [there, here] = [guest, hostShape(fuzzed.profile)].map((shape) =>
    msrVerdict(shape, step.register, value),
  );
  return there !== here;
}

/**
 * What the guest reads is what it would read on a processor of its own. Once a counter that is not exact has sent a
 * PMI, what came before its handler and what after is not promised: then faults are compared and no values.
 */
export function checkBare(fuzzed: FuzzCase, trace: Trace, bare: BareTrace): Violation[] {
  const inexact = inexactCounters(fuzzed);
  const asked = writesOf(fuzzed).flatMap(([address, value]) => countersAsking(address, value));
  const exactPmis = !asked.some((counter) => inexact.has(counter));
  const sameTimes = exactPmis || (trace.nmis === 0 && bare.nmis === 0);
  const shown = (outcome: string, value: bigint) =>
    outcome === 'done' && sameTimes ? `0x${value.toString(16)}` : outcome;
  const values = trace.steps.flatMap((seen, at) => {
    if (seen.outcome === 'unreached' || !compares(fuzzed, at, inexact)) return [];
    if (hasBitsOfTheHost(fuzzed, at, seen)) return [];
    const step = fuzzed.steps[at]!;
    const there = bare.steps[at]!;
    const expected = shown(there.outcome, there.value);
    const actual = shown(seen.outcome, seen.value);
    if (expected === actual) return [];
    const counts = counterOf(step) !== undefined && !fuzzed.nested;
    const channel = counts ? 24 : channelOf(fuzzed, step);
    return [
      atStep(fuzzed, at, { oracle: 'bare-machine', rip: seen.rip, expected, actual, channel }),
    ];
  });
  return [
    ...values,
    ...(sameTimes ? checkStored(fuzzed, trace, bare, inexact) : []),
    ...(exactPmis ? checkPmis(fuzzed, trace, bare) : []),
  ];
}

/** Where counters that count exactly ask for PMIs and no others, as many come, and to the same of L1 and L2. */
function checkPmis(fuzzed: FuzzCase, trace: Trace, bare: BareTrace): Violation[] {
  if (RIGHTS[fuzzed.design]!.counters === 'exit') return [];
  if (trace.steps.some((seen, at) => hasBitsOfTheHost(fuzzed, at, seen))) return [];
  const shown = ({ nmis, toL1 }: Pick<BareTrace, 'nmis' | 'toL1'>): string => {
    const exits = toL1?.filter(({ reason }) => reason === NMI).length ?? 0;
    return `${several(nmis, 'PMI')}${exits > 0 ? `, ${exits} by an exit to L1` : ''}`;
  };
  const [expected, actual] = [shown(bare), shown(trace)];
  if (expected === actual) return [];
  const told = { expected, actual, channel: 13 } as const;
  return [atStep(fuzzed, fuzzed.steps.length - 1, { oracle: 'bare-machine', ...told })];
}

/** What L1's VM exits store is what those of a processor of its own store. */
function checkStored(
  fuzzed: FuzzCase,
  { stored }: Trace,
  bare: BareTrace,
  inexact: ReadonlySet<number>,
): Violation[] {
  return storedMsrs(fuzzed).flatMap(({ address }, at) => {
    const [expected, actual] = [hex(bare.stored[at]!), hex(stored[at]!)];
    if (expected === actual || !isPromised(fuzzed, address, inexact)) return [];
    const told = { oracle: 'bare-machine', expected, actual, channel: NESTED_CHANNEL } as const;
    return [{ ...atStep(fuzzed, fuzzed.steps.length - 1, told), register: registerName(address) }];
  });
}
