import { hex } from '../bits/hex.ts';
import type {
  AccessForm,
  FuzzCase,
  HostAction,
  HostEvent,
  ListedMsr,
  MsrList,
  Step,
} from './case.ts';
import { Draw } from './draw.ts';
import { nestedCase } from './draw-nested.ts';
import { listVerdict } from './oracles/lists.ts';
import { guestShape, hostShape, type Shape } from './oracles/shapes.ts';
import { DESIGN_NAMES, PROFILE_NAMES, pairsOf } from './profiles.ts';
import { placeOf } from './registers.ts';
import {
  address,
  counterValue,
  EVENTS,
  EXACT_EVENTS,
  FAVOURITES,
  OPENED,
  SELECT,
  UNLOADABLE,
  value,
} from './values.ts';

/** What cases are drawn from. */
export interface Space {
  readonly seed: string;
  readonly designs?: readonly string[];
  readonly profiles?: readonly string[];
}

// biome-ignore format: a table
const FORMS: readonly (readonly [number, AccessForm])[] = [
  [35, 'rdmsr'], [30, 'wrmsr'], [25, 'rdpmc'],
  [2, 'emulated-rdmsr'], [2, 'emulated-wrmsr'], [2, 'emulated-rdpmc'],
  [0.5, 'rdmsrlist'], [0.5, 'wrmsrlist'], [0.5, 'wrmsrns'], [0.5, 'urdmsr'], [0.5, 'uwrmsr'],
  [0.5, 'rdmsr-imm'], [0.5, 'wrmsrns-imm'], [0.5, 'xsaves'],
];

/** Case number `index` of a campaign. Depends on nothing but its arguments. */
export function generate(space: Space, index: number): FuzzCase {
  const draw = new Draw(`${space.seed}/${index}`);
  const [design, profile] = draw.of(pairsIn(space));
  const exposure = draw.weighted([
    [5, 'default'],
    [3, 'half'],
    [3, 'all'],
    [1, 'none'],
  ] as const);
  const cpl = draw.weighted([
    [7, 0],
    [0.5, 1],
    [0.5, 2],
    [3, 3],
  ] as const);
  const rest = draw.chance(0.5) ? {} : inFlight(draw, profile);
  const fuzzed: FuzzCase = {
    seed: space.seed,
    index,
    design,
    profile,
    exposure,
    cpl,
    pce: draw.chance(0.5),
    lvtpc: draw.of(['masked', 'nmi'] as const),
    registers: counters(draw, profile),
    bitmap: draw.chance(0.15) ? flips(draw) : [],
    ...rest,
    host: { secret: draw.below(2 ** 31), events: draw.chance(0.4) ? hostEvents(draw) : [] },
    steps: steps(draw, hostShape(profile)),
  };
  return draw.chance(NESTED) ? withGuest(draw, fuzzed) : fuzzed;
}

/** How many of all cases are those of a guest's guest. */
const NESTED = 0.15;

/** The same steps, done by a guest of the guest: the lists are L1’s then. */
function withGuest(draw: Draw, { lists: _, ...fuzzed }: FuzzCase): FuzzCase {
  const { profile, design, exposure, steps } = fuzzed;
  const shape = guestShape(profile, design, exposure);
  return { ...fuzzed, nested: nestedCase(draw, { profile, shape, steps }) };
}

const pairsIn = ({ designs = DESIGN_NAMES, profiles = PROFILE_NAMES }: Space) =>
  pairsOf(designs, profiles);

/** Counters in flight: some enabled, some about to overflow. */
function counters(draw: Draw, profile: string): FuzzCase['registers'] {
  const { width, fullWidth } = hostShape(profile);
  if (draw.chance(0.25)) return [];
  const registers: [number, string][] = [];
  let global = 0n;
  for (let i = 0; i < 1 + draw.below(3); i++) {
    const counter = draw.below(8);
    let select = draw.of(EVENTS) | SELECT.EN;
    if (draw.chance(0.8)) select |= SELECT.OS;
    if (draw.chance(0.7)) select |= SELECT.USR;
    if (draw.chance(0.5)) select |= SELECT.INT;
    const value = counterValue(draw, width);
    registers.push(
      fullWidth ? [0x4c1 + counter, hex(value)] : [0xc1 + counter, hex(value & 0xffff_ffffn)],
    );
    registers.push([0x186 + counter, hex(select)]);
    global |= 1n << BigInt(counter);
  }
  if (draw.chance(0.5)) {
    const control = BigInt(draw.below(0x1000)) & 0xbbbn;
    registers.push([0x309 + draw.below(3), hex(counterValue(draw, width))], [0x38d, hex(control)]);
    global |= 7n << 32n;
  }
  registers.push([0x38f, hex(draw.chance(0.8) ? global : 0n)]);
  return registers;
}

/** A host that has no timer tick throttles nothing: with a period that its handler takes longer than it would do nothing else. */
const SHORTEST_PERIOD = 4_000;

function hostEvents(draw: Draw): HostEvent[] {
  return Array.from({ length: 1 + draw.below(4) }, () => ({
    config: hex(draw.of(EVENTS)),
    pinned: draw.chance(0.6),
    period: draw.chance(0.3) ? SHORTEST_PERIOD + draw.below(100_000) : 0,
  }));
}

/** A few bits of the bitmap, or a bitmap of another hypervisor altogether. */
const flips = (draw: Draw): FuzzCase['bitmap'] => {
  const addresses = draw.chance(0.7) ? FAVOURITES : OPENED;
  return Array.from({ length: 1 + draw.below(addresses === OPENED ? 60 : 6) }, () => [
    draw.of(addresses),
    draw.of(['read', 'write'] as const),
  ]);
};

/** PMIs that wait, overflows that stand, interrupts on the way, and MSR lists. */
function inFlight(draw: Draw, profile: string): Partial<FuzzCase> {
  const status = BigInt(draw.below(0x10)) | (BigInt(draw.below(4)) << 32n);
  const interruptions = Array.from({ length: draw.below(6) }, () => draw.below(20_000));
  return {
    ...(draw.chance(0.4) && { status: hex(status) }),
    ...(draw.chance(0.3) && { pending: true }),
    ...(draw.chance(0.7) && { interruptions: interruptions.sort((a, b) => a - b) }),
    ...(draw.chance(0.15) && { lists: lists(draw, profile) }),
  };
}

/** Entries that are loaded and stored; of what VM entry loads some cannot be. A VM exit that fails ends the machine. */
function lists(draw: Draw, profile: string): ListedMsr[] {
  const shape = hostShape(profile);
  const entry = (list: MsrList, address: number): ListedMsr => ({
    ...{ list, address },
    value: hex(value(draw, address, shape)),
  });
  const drawn = Array.from({ length: 1 + draw.below(4) }, () =>
    draw.chance(0.8)
      ? entry(
          draw.of(['entry-load', 'exit-store', 'exit-store', 'exit-load'] as const),
          draw.of(OPENED),
        )
      : entry('entry-load', draw.of(UNLOADABLE)),
  );
  return drawn.filter((each, at) => {
    if (drawn.findIndex(({ address }) => address === each.address) < at) return false;
    const verdict = listVerdict(shape, each);
    if (each.list === 'entry-load') return verdict !== 'unspecified';
    // What reads as it was written.
    return (
      verdict === 'done' && (each.list === 'exit-store' || placeOf(each.address).class === 'A_PMC')
    );
  });
}

const MOST_STEPS = 12;
/** KVM answers writes of it in the fastpath; they are dropped where the timer is in another mode. */
const TSC_DEADLINE = 0x6e0;

/** Single steps, and some that belong together. */
function steps(draw: Draw, shape: Shape): Step[] {
  const wanted = 1 + draw.below(MOST_STEPS);
  const drawn: Step[] = [];
  while (drawn.length < wanted) {
    if (draw.chance(0.12)) drawn.push(...phrase(draw, shape));
    else drawn.push(step(draw, shape));
  }
  return drawn;
}

/** What is written is read again behind an exit; a counter is programmed and looked at while something happens to it. */
function phrase(draw: Draw, shape: Shape): Step[] {
  const counter = draw.below(4);
  const read: Step = { do: 'rdmsr', register: 0xc1 + counter };
  const work: Step = { do: 'work', count: 1 + draw.below(40) };
  const select = hex(draw.of(EXACT_EVENTS) | SELECT.EN | SELECT.OS | SELECT.USR);
  const program: Step[] = [
    { do: 'wrmsr', register: 0x186 + counter, value: select },
    { do: 'wrmsr', register: 0x38f, value: '0x7000000ff' },
  ];
  const host = (action: HostAction): Step => ({ do: 'host', action });
  return draw.weighted<() => Step[]>([
    [
      4,
      () => {
        const register = draw.of([0x186 + counter, 0xc1 + counter, 0x309, 0x38d, 0x38f]);
        const between = draw.of<Step>([host('preempt'), { do: 'cpuid', leaf: 0 }]);
        const written: Step = { do: 'wrmsr', register, value: hex(value(draw, register, shape)) };
        return [written, between, { do: 'rdmsr', register }];
      },
    ],
    [3, () => [...program, read, work, { do: 'cpuid', leaf: 0 }, read]],
    [2, () => [host('deny-all'), ...program, read, work, read, host('allow-all'), work, read]],
    [1, () => [...program, host('deny-all'), work, read, work, read]],
    [1, () => [...program, work, host('reset'), read]],
    [2, () => [...program, work, { do: 'wrmsr', register: TSC_DEADLINE, value: '0x0' }, read]],
  ])();
}

function step(draw: Draw, shape: Shape): Step {
  return draw.weighted<() => Step>([
    [80, () => access(draw, shape)],
    [5, () => ({ do: 'cpuid', leaf: draw.of([0, 1, 7, 0x0a, 0x14, 0x1c, 0x23]) })],
    [8, () => ({ do: 'work', count: 1 + draw.below(40) })],
    [5, () => ({ do: 'host', action: 'preempt' })],
    [1, () => ({ do: 'host', action: draw.of<HostAction>(['deny-all', 'allow-all']) })],
    [1, () => ({ do: 'host', action: draw.of<HostAction>(['reset', 'init']) })],
  ])();
}

function access(draw: Draw, shape: Shape): Step {
  const form = draw.weighted(FORMS);
  if (form.endsWith('rdpmc')) return { do: form, register: rdpmcIndex(draw) };
  const register = address(draw);
  const writes = form.includes('wr');
  return { do: form, register, ...(writes && { value: hex(value(draw, register, shape)) }) };
}

const rdpmcIndex = (draw: Draw): number =>
  draw.weighted<() => number>([
    [6, () => draw.below(9)],
    [4, () => 0x4000_0000 + draw.below(6)],
    [1, () => 0x2000_0000],
    [1, () => 2 ** draw.below(32)],
    [1, () => Number(draw.bits64() & 0xffff_ffffn)],
  ])();
