import {
  type AccessForm,
  type Exposure,
  type FuzzCase,
  type NestedCase,
  OPEN_HYPERVISOR,
  type Step,
} from './case.ts';
import { MOST_STEPS } from './guest/layout.ts';
import { pairsOf } from './profiles.ts';
import { ADDRESSES } from './registers.ts';

/** Both ranges of the MSR bitmaps. */
const BITMAP_RANGE = 0x2000;
const BITMAP_COVERS = 2 * BITMAP_RANGE;
const bitmapAddress = (at: number) => (at < BITMAP_RANGE ? at : 0xc000_0000 + (at - BITMAP_RANGE));

const INDEXES = 0x1_0000;
/** RDPMC types that are or were defined: counters, metrics, fixed, the old fast reads. */
const TYPES = [0, 0x2000, 0x4000, 0x8000] as const;

const OTHER_FORMS = [
  ...(['rdmsrlist', 'wrmsrlist', 'wrmsrns', 'urdmsr', 'uwrmsr'] as const),
  ...(['rdmsr-imm', 'wrmsrns-imm', 'xsaves'] as const),
] satisfies AccessForm[];

/** A stretch of accesses at one privilege level. */
interface Section {
  readonly cpl: FuzzCase['cpl'];
  readonly pce: boolean;
  /** Where a guest's guest does it. */
  readonly nested?: NestedCase;
  readonly count: number;
  readonly step: (at: number) => Step;
}

const msrs = (cpl: FuzzCase['cpl'], form: AccessForm): Section => ({
  cpl,
  pce: false,
  count: BITMAP_COVERS,
  step: (at) => ({
    do: form,
    register: bitmapAddress(at),
    ...(form.endsWith('wrmsr') && { value: '0x0' }),
  }),
});

/** Every index of the defined types, or the first so many of each. */
const rdpmc = (
  cpl: FuzzCase['cpl'],
  pce: boolean,
  types: readonly number[],
  indexes = INDEXES,
): Section => ({
  cpl,
  pce,
  count: types.length * indexes,
  step: (at) => ({
    do: 'rdpmc',
    register: ((types[Math.floor(at / indexes)]! << 16) | (at % indexes)) >>> 0,
  }),
});

/** Every type with its first index. */
const rdpmcTypes = (cpl: FuzzCase['cpl'], pce: boolean): Section => ({
  cpl,
  pce,
  count: INDEXES,
  step: (at) => ({ do: 'rdpmc', register: (at << 16) >>> 0 }),
});

const others = (cpl: FuzzCase['cpl']): Section => ({
  cpl,
  pce: true,
  count: OTHER_FORMS.length * ADDRESSES.length,
  step: (at) => ({
    do: OTHER_FORMS[at % OTHER_FORMS.length]!,
    register: ADDRESSES[Math.floor(at / OTHER_FORMS.length)]!,
  }),
});

/** A guest hypervisor that asks for everything and does it itself. */
const SHUT: NestedCase = {
  bitmap: { exits: 'all', except: [] },
  rdpmcExiting: true,
  onExit: 'carry-out',
};
const byL2 = (nested: NestedCase, ...sections: readonly Section[]): Section[] =>
  sections.map((section) => ({ ...section, nested }));

/** All there is to try on one design, profile and exposure. */
const SECTIONS: readonly Section[] = [
  ...([0, 1, 2, 3] as const).flatMap((cpl) => [msrs(cpl, 'rdmsr'), msrs(cpl, 'wrmsr')]),
  msrs(0, 'emulated-rdmsr'),
  msrs(0, 'emulated-wrmsr'),
  others(0),
  others(3),
  rdpmc(0, false, TYPES),
  rdpmcTypes(0, false),
  rdpmc(3, true, [0, 0x4000]),
  rdpmcTypes(3, false),
  ...byL2(
    OPEN_HYPERVISOR,
    msrs(0, 'rdmsr'),
    msrs(0, 'wrmsr'),
    rdpmc(0, false, TYPES),
    rdpmcTypes(0, false),
  ),
  ...byL2(OPEN_HYPERVISOR, others(0)),
  // What exits to L1 does so whatever the index: the first of each type.
  ...byL2(SHUT, msrs(0, 'rdmsr'), msrs(0, 'wrmsr'), rdpmc(0, false, TYPES, 64)),
  // At CPL 3 #GP comes before L1 is asked.
  ...byL2(SHUT, msrs(3, 'rdmsr'), msrs(3, 'wrmsr'), rdpmcTypes(3, false)),
];

const casesIn = ({ count }: Section) => Math.ceil(count / MOST_STEPS);
const CASES_EACH = SECTIONS.reduce((sum, section) => sum + casesIn(section), 0);

/** Accesses that one design, profile and exposure is tried with. */
export const EXHAUSTIVE_ACCESSES = SECTIONS.reduce((sum, { count }) => sum + count, 0);

const EXPOSURES = ['half', 'all'] as const satisfies readonly Exposure[];

interface Space {
  readonly seed: string;
  readonly designs: readonly string[];
  readonly profiles: readonly string[];
}

/** How many cases it takes to try everything. */
export const exhaustiveCases = ({ designs, profiles }: Space): number =>
  pairsOf(designs, profiles).length * EXPOSURES.length * CASES_EACH;

/** Case number `index` of trying everything: up to a hundred accesses in one go. */
export function exhaustiveCase(space: Space, index: number): FuzzCase {
  const { seed, designs, profiles } = space;
  const combination = Math.floor(index / CASES_EACH);
  const exposure = EXPOSURES[combination % EXPOSURES.length]!;
  const [design, profile] = pairsOf(designs, profiles)[Math.floor(combination / EXPOSURES.length)]!;
  let rest = index % CASES_EACH;
  const section = SECTIONS.find((each) => {
    if (rest < casesIn(each)) return true;
    rest -= casesIn(each);
    return false;
  })!;
  const first = rest * MOST_STEPS;
  const count = Math.min(MOST_STEPS, section.count - first);
  return {
    seed,
    index,
    design,
    profile,
    exposure,
    cpl: section.cpl,
    pce: section.pce,
    lvtpc: 'masked',
    registers: [],
    bitmap: [],
    ...(section.nested && { nested: section.nested }),
    host: { secret: 1, events: [] },
    steps: Array.from({ length: count }, (_, at) => section.step(first + at)),
  };
}
