import { hex } from '../bits/hex.ts';
import { type FuzzCase, isAccess, type Step } from './case.ts';
import { STUB } from './guest/stub.ts';
import { rdpmcName, registerName } from './registers.ts';

export type OracleName =
  | 'policy'
  | 'bare-machine'
  | 'invariants'
  | 'non-interference'
  | 'provenance'
  | 'host'
  | 'stream'
  | 'lists'
  | 'pieces'
  | 'nested'
  | 'end';

/** What an oracle did not agree with, at one step of one case. */
export interface Violation {
  readonly oracle: OracleName;
  /** Step it shows at; the last one where it shows at the end only. */
  readonly step: number;
  /** `IA32_PMC4 (0xc5)`, `RDPMC fixed 3 (0x40000003)`, or whatever else is meant. */
  readonly register: string;
  /** RDMSR, WRMSR, RDPMC… */
  readonly instruction: string;
  /** Address of that instruction in the guest. */
  readonly rip: string;
  readonly expected: string;
  readonly actual: string;
  /** Row of the table of leak channels that this is a case of. */
  readonly channel: number | undefined;
}

/** A violation with what is needed to see it again. */
export interface Finding extends Violation {
  readonly case: FuzzCase;
  /** A channel that was left open on purpose. */
  readonly planted?: number;
}

/** Findings with one key are one finding. */
export const findingKey = ({ oracle, channel, register, instruction, actual }: Violation): string =>
  [oracle, channel ?? '-', register, instruction, actual.replace(/0x[0-9a-f]+|\b\d+\b/g, 'x')].join(
    ' | ',
  );

/** What a step accesses, for people. */
export const registerOf = (step: Step): string => {
  if (!isAccess(step)) return step.do;
  return step.do.endsWith('rdpmc') ? rdpmcName(step.register) : registerName(step.register);
};

export const instructionOf = (step: Step): string => step.do.toUpperCase();

/** A violation that shows at one step of a case. */
export function atStep(
  fuzzed: FuzzCase,
  step: number,
  told: Pick<Violation, 'oracle' | 'expected' | 'actual' | 'channel'> & { readonly rip?: bigint },
): Violation {
  const what = fuzzed.steps[step] ?? { do: 'cpuid' as const, leaf: 0 };
  const { rip, ...rest } = told;
  return {
    ...rest,
    step,
    register: registerOf(what),
    instruction: instructionOf(what),
    rip: hex(rip || BigInt(STUB.instructions[what.do] ?? 0)),
  };
}
