import { type FuzzCase, isAccess, type Step } from '../case.ts';
import { LAYOUT, MOST_STEPS, STEP_SIZE } from './layout.ts';
import { STUB } from './stub.ts';

/** What the guest itself saw of one step. */
export interface StepResult {
  /** `done`, the exception it met, or that it was never reached. */
  readonly outcome: 'done' | 'unreached' | `#${string}`;
  /** EDX:EAX behind it. */
  readonly value: bigint;
  /** Of an exception. */
  readonly rip: bigint;
  readonly errorCode: number;
}

const EXCEPTIONS = [
  'DE',
  'DB',
  'NMI',
  'BP',
  'OF',
  'BR',
  'UD',
  'NM',
  'DF',
  '9',
  'TS',
  'NP',
  'SS',
  'GP',
  'PF',
];

/** What HOST_PORT is written for each action of the host. */
export const HOST_ACTIONS = ['preempt', 'deny-all', 'allow-all', 'reset', 'init'] as const;

const operands = (step: Step): { register: number; value: bigint } => {
  if (isAccess(step)) return { register: step.register, value: BigInt(step.value ?? '0x0') };
  if (step.do === 'cpuid') return { register: 0, value: BigInt(step.leaf) };
  if (step.do === 'work') return { register: step.count, value: 0n };
  return { register: 0, value: BigInt(HOST_ACTIONS.indexOf(step.action)) };
};

/** Writes the steps where the guest looks for them. `bytes` is the dirty part of its memory. */
export function writeSteps(view: DataView, steps: FuzzCase['steps']): void {
  if (steps.length > MOST_STEPS) throw new RangeError(`${steps.length} steps are too many`);
  let at = LAYOUT.STEPS - LAYOUT.DIRTY;
  for (const step of steps) {
    const { register, value } = operands(step);
    view.setUint32(at, STUB.routines[step.do]!, true);
    view.setUint32(at + 8, register >>> 0, true);
    view.setBigUint64(at + 16, value, true);
    at += STEP_SIZE;
  }
  view.setUint32(at, STUB.routines['end']!, true);
}

const FAULT = 0x100;

/** What the guest wrote down, one result for each step. */
export function readResults(view: DataView, count: number): StepResult[] {
  return Array.from({ length: count }, (_, index) => {
    const at = LAYOUT.RESULTS - LAYOUT.DIRTY + index * STEP_SIZE;
    const code = view.getUint32(at, true);
    const value = view.getBigUint64(at + 8, true);
    if (code < FAULT) {
      return { outcome: code === 1 ? 'done' : 'unreached', value, rip: 0n, errorCode: 0 };
    }
    const vector = code - FAULT;
    return {
      outcome: `#${EXCEPTIONS[vector] ?? vector}`,
      value: 0n,
      rip: view.getBigUint64(at + 16, true),
      errorCode: view.getUint32(at + 24, true),
    };
  });
}

/** NMIs that the guest took. */
export const readNmis = (view: DataView): number =>
  view.getUint32(LAYOUT.NMIS - LAYOUT.DIRTY, true);

/** The step that the guest is in, by its RDI. */
export const stepOf = (rdi: bigint): number =>
  Math.floor((Number(rdi) - LAYOUT.RESULTS) / STEP_SIZE);
