import seedrandom from 'seedrandom';
import { STATE } from '../../src/cpu/state/layout.ts';
import { SAPPHIRE_RAPIDS_VMX } from '../../src/msr/vmx.ts';
import { FIELDS, fieldsOf } from '../../src/vmx/fields.ts';
import {
  CONTROL_ROWS,
  HOST_ROWS,
  REGISTER_ROWS,
  SEGMENT_ROWS,
  type Setting,
  STATE_ROWS,
} from './entry-checks/rows.ts';
import { type Plain, type Verdict, verdict } from './entry-validator.ts';
import { Processor, VALID, VMCS } from './processor.ts';

/** Settings that enter on the processor as it is: starting points of all kinds. */
const STARTS: readonly Setting[] = [
  ...CONTROL_ROWS,
  ...HOST_ROWS,
  ...REGISTER_ROWS,
  ...SEGMENT_ROWS,
  ...STATE_ROWS,
]
  .flatMap(([, , passes]) => passes)
  .filter(({ shape }) => shape === undefined);

/** Fields that a change may hit: every control, host and guest field that exists. */
const TARGETS = [...fieldsOf(SAPPHIRE_RAPIDS_VMX).values()].filter(
  ({ type }) => type !== 'information',
);

const EDGES = [
  0n,
  1n,
  2n,
  3n,
  0xfffn,
  0x1000n,
  0xffffn,
  0x1_0000n,
  0xffff_ffffn,
  0x1_0000_0000n,
  0x7fff_ffff_ffffn,
  0x8000_0000_0000n,
  0xffff_8000_0000_0000n,
  0xffff_ffff_ffff_ffffn,
];

/** A VMCS one or two fields away from one that enters. */
export interface NearValid {
  readonly fields: Plain;
  readonly efer: bigint;
  readonly memory: Readonly<Record<number, bigint>>;
}

/** The VMCSs that a seed gives, one after the other. */
export function* nearValid(seed: string): Iterable<NearValid> {
  const random = seedrandom(seed);
  const below = (n: number) => Math.floor(random() * n);
  const word = () => (BigInt(below(2 ** 32)) << 32n) | BigInt(below(2 ** 32));
  for (;;) {
    const { efer = 0xd01n, memory = {}, shape: _, ...start } = STARTS[below(STARTS.length)]!;
    const fields: Record<string, bigint> = {};
    for (const [name, value] of Object.entries({ ...VALID, ...start })) {
      fields[name] = BigInt(value) & FIELDS[name as keyof typeof FIELDS].mask;
    }
    for (let changes = 1 + below(2); changes > 0; changes--) {
      const { name, mask } = TARGETS[below(TARGETS.length)]!;
      const old = fields[name] ?? 0n;
      const bits = mask.toString(2).length;
      const values = [
        old ^ (1n << BigInt(below(bits))),
        old ^ (1n << BigInt(below(bits))) ^ (1n << BigInt(below(bits))),
        EDGES[below(EDGES.length)]!,
        word(),
        old + 1n,
        old - 1n,
      ];
      fields[name] = values[below(values.length)]! & mask;
    }
    // Now and then a bit of what the fields point to.
    const addresses = Object.keys(memory);
    if (addresses.length > 0 && below(3) === 0) {
      const address = Number(addresses[below(addresses.length)]);
      const flipped = (memory[address] ?? 0n) ^ (1n << BigInt(below(64)));
      yield { fields, efer, memory: { ...memory, [address]: flipped } };
    } else yield { fields, efer, memory };
  }
}

/** What the processor does with it, in the validator's words. */
function outcome(cpu: Processor): Verdict {
  const result = cpu.vmx.vmlaunch();
  if (typeof result === 'object') return `error ${result.VMfailValid}` as Verdict;
  if (cpu.vmx.nonRoot) return 'enters';
  return `exit ${Number(cpu.get('EXIT_REASON')! & 0xffffn)}, ${cpu.get('EXIT_QUALIFICATION')}` as Verdict;
}

/** Tries `count` VMCSs on both; answers the first disagreement, and how often each verdict came. */
export function compare(
  seed: string,
  count: number,
): { disagreement: string | undefined; tally: Record<string, number> } {
  const tally: Record<string, number> = {};
  const cases = nearValid(seed)[Symbol.iterator]();
  for (let i = 0; i < count; i++) {
    const { fields, efer, memory } = cases.next().value as NearValid;
    const cpu = new Processor();
    cpu.enterable(fields);
    cpu.state.set(STATE.EFER, efer);
    for (const [address, value] of Object.entries(memory))
      cpu.memory.write(Number(address), 8, value);
    const expected = verdict(fields, {
      longMode: (efer & 0x400n) !== 0n,
      memory: (address) => cpu.memory.read(Number(address), 8),
      revision: 0x12n,
      currentVmcs: VMCS,
    });
    let actual = outcome(cpu);
    // The MSR lists are looked at after everything that the validator knows.
    if (actual.startsWith('exit 34')) actual = 'enters';
    tally[actual] = (tally[actual] ?? 0) + 1;
    if (actual !== expected) {
      const changed = Object.entries(fields).filter(
        ([name, value]) => BigInt((VALID as Record<string, bigint | number>)[name] ?? 0) !== value,
      );
      const where = changed.map(([name, value]) => `${name}=0x${value.toString(16)}`).join(' ');
      return {
        disagreement: `seed ${seed}, case ${i}: ${actual}, must be ${expected}: ${where} (${cpu.vmx.lastFailure?.rule})`,
        tally,
      };
    }
  }
  return { disagreement: undefined, tally };
}
