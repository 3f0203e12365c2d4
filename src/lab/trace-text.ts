import { hex } from '../bits/hex.ts';
import type { InjectedEvent } from '../kvm/events.ts';
import type { ExitRecord, KvmObserver } from '../kvm/observer.ts';
import { exitName, type GuestAccess, onAccess } from '../machine/accesses.ts';
import type { Machine } from '../machine/machine.ts';
import type { Step, Steps } from '../machine/steps.ts';
import { VirtualMachine } from '../machine/virtual.ts';

/** What can be traced, and what it shows. */
// biome-ignore format: a table
export const TRACE_KINDS = {
  insn: 'each instruction of the guest, disassembled, before it is executed',
  msr:  'RDMSR, WRMSR and RDPMC of the guest, by an exit or not',
  kvm:  'VM entries and exits, injected events and the MSR accesses that KVM answers, as the Linux tracepoints show them',
  vpmu: 'PMIs of the guest, mediated vPMUs loaded and put',
} as const;
export type TraceKind = keyof typeof TRACE_KINDS;

export interface TraceOptions {
  readonly kinds: ReadonlySet<TraceKind>;
  /** Gets each line, with its end. */
  readonly write: (line: string) => void;
  /** Text of an instruction; needed for `insn`. */
  readonly disassemble?: (step: Step) => string;
  /** Whose tracepoints to follow: 6.1 tells neither what an entry injects nor requests. */
  readonly kernel?: '6.1' | '6.18';
}

const TICKS_PER_MICROSECOND = 3000n;
/** Columns of an instruction's bytes: most have seven at most. */
const BYTES_WIDTH = 7 * 3;

/** An error code, where the interruption information says that there is one. */
const delivered = (interruption: number, errorCode: number): number =>
  (interruption & 0x8000_0800) >>> 0 === 0x8000_0800 ? errorCode : 0;

const x = (value: bigint | number): string => `0x${value.toString(16)}`;
const padded = (value: bigint | number, digits: number): string =>
  `0x${value.toString(16).padStart(digits, '0')}`;

/**
 * Writes what a machine does as text, a line an event, with the prefix of ftrace and Linux's words for Linux's events:
 * `guest-1 [000] ..... 0.000123: kvm_exit: vcpu 0 reason …`. Times are of the virtual clock.
 */
export function traceText(machine: Machine, steps: Steps | undefined, options: TraceOptions): void {
  const { kinds, write, disassemble, kernel = '6.18' } = options;
  const { processors } = machine.hardware;
  const event = (cpu: number, name: string, text: string) => {
    const micros = processors[cpu]!.state.total('ticks') / TICKS_PER_MICROSECOND;
    const [seconds, rest] = [micros / 1_000_000n, micros % 1_000_000n];
    const time = `${seconds}.${rest.toString().padStart(6, '0')}`;
    write(`guest-1 [${cpu.toString().padStart(3, '0')}] ..... ${time}: ${name}: ${text}\n`);
  };
  if (kinds.has('insn') && disassemble) {
    steps?.tell((processor, step) => {
      const bytes = Buffer.from(step.bytes)
        .toString('hex')
        .replace(/(..)(?!$)/g, '$1 ');
      event(
        processor,
        'insn',
        `${padded(step.rip, 16)} ${bytes.padEnd(BYTES_WIDTH)} ${disassemble(step)}`,
      );
    });
  }
  if (kinds.has('msr')) {
    const { msrs } = machine.hardware.current;
    onAccess(machine, (access) =>
      event(
        access.processor,
        'msr',
        accessText(access, (a) => msrs.name(a)),
      ),
    );
  }
  if (!(machine instanceof VirtualMachine)) return;
  if (kinds.has('kvm')) machine.watch(kvmEvents(event, kernel));
  if (kinds.has('vpmu')) {
    machine.watch({
      pmi: ({ vcpu }) => event(vcpu, 'vpmu', `vcpu ${vcpu} PMI`),
      vpmu: ({ vcpu, step }) => event(vcpu, 'vpmu', `vcpu ${vcpu} ${step}`),
    });
  }
}

function accessText(
  { kind, address, value, intercepted }: GuestAccess,
  name: (address: number) => string,
) {
  const register = kind === 'RDPMC' ? hex(address) : name(address);
  const outcome = value === '#GP' ? '#GP' : `= ${hex(value)}`;
  return `${kind} ${register} ${outcome}${intercepted ? ' by an exit' : ''}`;
}

const interruptionText = (information: number, errorCode: number): string =>
  `intr_info ${padded(information, 8)} error_code ${padded(delivered(information, errorCode), 8)}`;

// biome-ignore format: a table
const EXCEPTIONS: Readonly<Record<number, string>> = {
  0: '#DE', 1: '#DB', 3: '#BP', 4: '#OF', 5: '#BR', 6: '#UD', 7: '#NM', 8: '#DF', 10: '#TS', 11: '#NP', 12: '#SS', 13: '#GP', 14: '#PF',
  17: '#AC', 18: '#MC',
};

/** Tracepoint and text of an injected event; NMIs have no tracepoint. */
function injectionText({ type, vector, errorCode }: InjectedEvent): [name?: string, text?: string] {
  switch (type) {
    case 'nmi':
      return [];
    case 'interrupt':
      return ['kvm_inj_virq', `IRQ ${x(vector)}`];
    case 'software-interrupt':
      return ['kvm_inj_virq', `Soft/INTn ${x(vector)}`];
    default: {
      const code = errorCode === undefined ? '' : ` (${x(errorCode)})`;
      return ['kvm_inj_exception', `${EXCEPTIONS[vector] ?? x(vector)}${code}`];
    }
  }
}

const exitText = (
  { vcpu, reason, rip, qualification, vectoring, interruption, errorCode }: ExitRecord,
  kernel: '6.1' | '6.18',
): string =>
  `vcpu ${vcpu} reason ${exitName(reason)} rip ${x(rip)} info1 ${padded(qualification, 16)} ` +
  `info2 ${padded(vectoring, 16)} ${interruptionText(interruption, errorCode)}` +
  (kernel === '6.1' ? '' : ` requests ${padded(0, 16)}`);

const kvmEvents = (
  event: (cpu: number, name: string, text: string) => void,
  kernel: '6.1' | '6.18',
): KvmObserver => ({
  entry: ({ vcpu, rip, interruption, errorCode }) =>
    event(
      vcpu,
      'kvm_entry',
      `vcpu ${vcpu}, rip ${x(rip)}` +
        (kernel === '6.1' ? '' : ` ${interruptionText(interruption, errorCode)}`),
    ),
  exit: (record) => event(record.vcpu, 'kvm_exit', exitText(record, kernel)),
  nestedEntry: ({ vcpu, rip, vmcs, nestedRip, injection, guestCr3, eptp }) =>
    event(
      vcpu,
      'kvm_nested_vmenter',
      `rip: ${padded(rip, 16)} vmcs: ${padded(vmcs, 16)} nested_rip: ${padded(nestedRip, 16)} int_ctl: ${padded(0, 8)} ` +
        `event_inj: ${padded(injection, 8)} nested_ept=${eptp === undefined ? 'n guest_cr3' : 'y nested_eptp'}: ${padded(eptp ?? guestCr3, 16)}`,
    ),
  nestedExit: (record) => event(record.vcpu, 'kvm_nested_vmexit', exitText(record, kernel)),
  nestedReflection: ({ vcpu, reason, qualification, vectoring, interruption, errorCode }) =>
    event(
      vcpu,
      'kvm_nested_vmexit_inject',
      `reason: ${exitName(reason)} ext_inf1: ${padded(qualification, 16)} ext_inf2: ${padded(vectoring, 16)} ` +
        `ext_int: ${padded(interruption, 8)} ext_int_err: ${padded(errorCode, 8)}`,
    ),
  inject: ({ vcpu, event: injected, again }) => {
    const [name, text] = injectionText(injected);
    if (name) event(vcpu, name, `${text}${again ? ' [reinjected]' : ''}`);
  },
  msr: ({ vcpu, access, address, value, fault }) =>
    event(
      vcpu,
      'kvm_msr',
      `msr_${access} ${address.toString(16)} = ${x(value)}${fault ? ' (#GP)' : ''}`,
    ),
});
