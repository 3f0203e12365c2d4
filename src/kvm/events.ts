import type { Vcpu } from './vcpu.ts';

/** An event on its way into the guest. */
export interface InjectedEvent {
  readonly type:
    | 'interrupt'
    | 'nmi'
    | 'exception'
    | 'software-interrupt'
    | 'software-exception'
    | 'privileged-exception';
  readonly vector: number;
  readonly errorCode: number | undefined;
  /** What the processor learns when it is delivered: the address of a page fault (CR2), the conditions of a debug exception (DR6). */
  readonly payload?: bigint;
  /** Of software events, the length of the instruction they come from. */
  readonly length?: number;
}

/** Types in interruption information. Vol. 3, "VM-Entry Controls for Event Injection". */
// biome-ignore format: a table
const TYPE = {
  interrupt: 0, nmi: 2, exception: 3, 'software-interrupt': 4, 'privileged-exception': 5, 'software-exception': 6,
} as const;
const BY_NUMBER = new Map(
  (Object.entries(TYPE) as [InjectedEvent['type'], number][]).map(([name, type]) => [type, name]),
);

const ERROR_CODE = 1 << 11;
const VALID = 0x8000_0000;

/**
 * Arms the next VM entry of the current VMCS with an event.
 * @param again the delivery of the event has been interrupted before
 */
export function writeInjection(vcpu: Vcpu, event: InjectedEvent, again = false): void {
  const { type, vector, errorCode, length } = event;
  vcpu.vm.observer?.inject?.({ vcpu: vcpu.id, event, again });
  const information =
    (VALID | (TYPE[type] << 8) | vector | (errorCode === undefined ? 0 : ERROR_CODE)) >>> 0;
  vcpu.write('VM_ENTRY_INTERRUPTION_INFORMATION', BigInt(information));
  if (errorCode !== undefined) vcpu.write('VM_ENTRY_EXCEPTION_ERROR_CODE', BigInt(errorCode));
  if (length !== undefined) vcpu.write('VM_ENTRY_INSTRUCTION_LENGTH', BigInt(length));
}

/** An event whose delivery the VM exit interrupted is injected again (vmx_complete_interrupts). */
export function reinject(vcpu: Vcpu): void {
  const information = Number(vcpu.read('IDT_VECTORING_INFORMATION'));
  if ((information & VALID) === 0) return;
  const type = BY_NUMBER.get((information >> 8) & 7);
  if (!type) return;
  const errorCode =
    (information & ERROR_CODE) === 0 ? undefined : Number(vcpu.read('IDT_VECTORING_ERROR_CODE'));
  const event = { type, vector: information & 0xff, errorCode };
  const isSoftware = type !== 'interrupt' && type !== 'nmi' && type !== 'exception';
  const length = Number(vcpu.read('VM_EXIT_INSTRUCTION_LENGTH'));
  writeInjection(vcpu, isSoftware ? { ...event, length } : event, true);
}
