import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { onAccess } from '../../src/machine/accesses.ts';
import { createMachine, DEFAULT_MEMORY } from '../../src/machine/create.ts';
import type { Machine } from '../../src/machine/machine.ts';
import { VirtualMachine } from '../../src/machine/virtual.ts';

const image = (name: string) =>
  new Uint8Array(readFileSync(new URL(`../../firmware/${name}.elf`, import.meta.url)));
const HOST_MEMORY = 16 << 20;
// biome-ignore format: a table
const RETIRED = [
  'instructions', 'branches', 'conditionalBranches', 'conditionalTaken', 'nearCalls', 'nearReturns', 'nearTaken',
  'indirectBranches', 'farBranches',
] as const;

/** Everything a guest saw and left, but for time. */
export interface Signature {
  /** Every RDMSR, WRMSR and RDPMC with its value, in order. */
  readonly accesses: readonly string[];
  /** What retired, by kind. */
  readonly retired: readonly bigint[];
  /** Exceptions delivered through the guest's IDT, raised by its processor or injected by a hypervisor. */
  readonly exceptions: bigint;
  readonly ram: Uint8Array;
  /** The PASS:, FAIL: and SKIP: lines. */
  readonly verdicts: readonly string[];
}

/** Runs a bundled guest to its end on a machine. */
export function signatureOf(guest: string, machine: string, profile: string): Signature {
  const made = createMachine(image(guest), { machine, profile });
  const accesses: string[] = [];
  onAccess(made, ({ kind, address, value }) => {
    accesses.push(`${kind} ${address.toString(16)} ${value}`);
  });
  const injected = injectedExceptions(made);
  made.run({ maxInstructions: 100_000_000n });
  const { memory } = made.hardware;
  const from = memory.ramBase + (made instanceof VirtualMachine ? HOST_MEMORY : 0);
  return {
    accesses,
    retired: RETIRED.map((total) => made.ledger.read(total)),
    exceptions: made.ledger.read('exceptions') + injected(),
    ram: memory.bytes.slice(from, from + DEFAULT_MEMORY),
    verdicts: made.board.console.split(/\r?\n/).filter((line) => /^(PASS|FAIL|SKIP):/.test(line)),
  };
}

const [VALID, HARDWARE_EXCEPTION] = [0x8000_0000, 3];
const isException = (information: number): boolean =>
  (information & VALID) !== 0 && ((information >> 8) & 7) === HARDWARE_EXCEPTION;

/** Hardware exceptions that VM entries inject, but for those whose delivery a VM exit had interrupted. */
function injectedExceptions(machine: Machine): () => bigint {
  let injected = 0n;
  if (machine instanceof VirtualMachine) {
    machine.watch({
      entry: ({ interruption }) => {
        if (isException(interruption)) injected += 1n;
      },
      exit: ({ vectoring }) => {
        if (isException(vectoring)) injected -= 1n;
      },
    });
  }
  return () => injected;
}

/** Bytes in which two memories differ, as pairs of what each holds. */
export function differences(one: Uint8Array, other: Uint8Array): [number, number][] {
  const found: [number, number][] = [];
  if (Buffer.compare(one, other) === 0) return found;
  for (let at = 0; at < one.length; at++) {
    if (one[at] !== other[at]) found.push([one[at]!, other[at]!]);
  }
  return found;
}

/** The signature as one number, to compare runs on machines that show the guest the same PMU. */
export const digestOf = ({ accesses, retired, exceptions, ram, verdicts }: Signature): string =>
  createHash('sha256')
    .update([...accesses, ...retired, exceptions, ...verdicts].join('\n'))
    .update(ram)
    .digest('hex');

/** What CPUID says of the PMU on the bare machine and in a VM: version, and where it differs the fixed counters. */
export const PUBLISHED: Readonly<Record<string, readonly [number, number][]>> = {
  'sapphire-rapids': [
    [5, 2],
    [4, 3],
  ],
  'skylake-server': [[4, 2]],
};
