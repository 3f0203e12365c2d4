/** One line of the hypervisor guest's output: a case and what the VMCS said after it. */
export interface Line {
  readonly name: string;
  /** `VMfailInvalid`, `VMfailValid n`, or undefined after a VM exit. */
  readonly failure: string | undefined;
  readonly fields: ReadonlyMap<string, bigint>;
  /** Fields and values that a random case wrote. */
  readonly written: ReadonlyMap<number, bigint>;
}

/** Where this machine and Bochs 2.7 differ, who is right, and which field may then differ (`*`: all). */
export interface Difference {
  readonly why: string;
  readonly fields: readonly string[];
  applies(ours: Line, theirs: Line): boolean;
}

const GUEST_RIP = 0x681e;
const PENDING_DEBUG = 0x6822;
const PRIMARY_CONTROLS = 0x4002;
const LINK_POINTER = 0x2800;
const INTERRUPTIBILITY = 0x4824;
const MONITOR_TRAP = 1n << 27n;
/** Exceptions, triple faults, APIC accesses, EPT violations and misconfigurations. */
const FAULTS: ReadonlySet<bigint> = new Set([0n, 2n, 44n, 48n, 49n]);
const INVALID_STATE = 0x8000_0021n;

const isCanonical = (address: bigint) => {
  const high = address >> 47n;
  return high === 0n || high === 0x1_ffffn;
};

export const DIFFERENCES: readonly Difference[] = [
  {
    why: 'RFLAGS.RF is saved as delivery would have pushed it (SDM, "Saving RIP, RSP, RFLAGS, and SSP"); Bochs saves it as it is',
    fields: ['rflags'],
    applies: (ours, theirs) =>
      FAULTS.has(ours.fields.get('reason') ?? -1n) &&
      ((ours.fields.get('rflags') ?? 0n) ^ (theirs.fields.get('rflags') ?? 0n)) === 1n << 16n,
  },
  {
    why: 'instruction information of RDRAND and RDSEED: bit 10 is undefined, and Bochs calls 16-bit operands 32-bit',
    fields: ['information'],
    applies: ({ name }) => /^RD(RAND|SEED) /.test(name),
  },
  {
    why: 'Bochs keeps virtual-NMI blocking of the VM before although the interruptibility field is 0',
    fields: ['*'],
    applies: ({ name }) => name === 'NMI window',
  },
  {
    why: 'this Bochs has no monitor trap flag',
    fields: ['*'],
    applies: ({ name, written }, { failure }) =>
      failure === 'VMfailValid 7' &&
      (/monitor trap|other event/.test(name) ||
        ((written.get(PRIMARY_CONTROLS) ?? 0n) & MONITOR_TRAP) !== 0n),
  },
  {
    why: 'RIP of 64-bit code must be canonical (SDM, "Checks on Guest RIP, RFLAGS, and SSP"); Bochs does not look',
    fields: ['*'],
    applies: ({ name, fields, written }) =>
      fields.get('reason') === INVALID_STATE &&
      (name === 'guest: RIP' || !isCanonical(written.get(GUEST_RIP) ?? 0n)),
  },
  {
    why: 'pending debug exceptions: bits 63:32 are reserved too; Bochs looks at the lower half',
    fields: ['*'],
    applies: ({ fields, written }) =>
      fields.get('reason') === INVALID_STATE && (written.get(PENDING_DEBUG) ?? 0n) >> 32n !== 0n,
  },
  {
    why: 'two rules broken at once: which one names the qualification is not defined',
    fields: ['qualification'],
    applies: ({ fields, written }) =>
      fields.get('reason') === INVALID_STATE && written.has(LINK_POINTER),
  },
  {
    why: 'blocking by MOV SS does not hold the preemption timer back; in Bochs it does',
    fields: ['*'],
    applies: ({ fields, written }) =>
      fields.get('reason') === 52n && ((written.get(INTERRUPTIBILITY) ?? 0n) & 2n) !== 0n,
  },
];

/** Parses a line; undefined for those that are no case. */
export function parse(text: string): Line | undefined {
  const match = /^(.*?): (reason .*|VMfail.*)$/.exec(text);
  if (!match) return undefined;
  const [, name = '', rest = ''] = match;
  const written = new Map(
    [...name.matchAll(/ 0x([0-9a-f]+)=(0x[0-9a-f]+)/g)].map(([, field, value]) => [
      Number.parseInt(field!, 16),
      BigInt(value!),
    ]),
  );
  if (rest.startsWith('VMfail')) return { name, failure: rest.trim(), fields: new Map(), written };
  const fields = new Map(
    [...rest.matchAll(/([a-z]+) (0x[0-9a-f]+(?: 0x[0-9a-f]+)*)/g)].flatMap(([, field, values]) =>
      values!
        .split(' ')
        .map((value, i): [string, bigint] => [i === 0 ? field! : `${field} ${i}`, BigInt(value)]),
    ),
  );
  return { name, failure: undefined, fields, written };
}

/** What differs between two lines beyond the known differences; empty when nothing does. */
export function surprises(ours: Line, theirs: Line): string[] {
  const names = new Set([...ours.fields.keys(), ...theirs.fields.keys()]);
  const differing = [...names].filter((name) => ours.fields.get(name) !== theirs.fields.get(name));
  if (ours.failure !== theirs.failure) differing.push('failure');
  const excused = new Set(
    DIFFERENCES.filter((row) => row.applies(ours, theirs)).flatMap(({ fields }) => fields),
  );
  return excused.has('*') ? [] : differing.filter((name) => !excused.has(name));
}
