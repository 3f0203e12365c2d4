import type { InjectedEvent } from './events.ts';

/** A VM exit as Linux's kvm_exit tracepoint shows it. */
export interface ExitRecord {
  readonly vcpu: number;
  readonly reason: number;
  readonly rip: bigint;
  readonly qualification: bigint;
  /** IDT-vectoring information. */
  readonly vectoring: number;
  readonly interruption: number;
  readonly errorCode: number;
}

/** A VM entry of L1, as Linux's kvm_nested_vmenter tracepoint shows it. */
export interface NestedEntryRecord {
  readonly vcpu: number;
  /** RIP of L1, its VMCS, RIP of L2, and what is injected. */
  readonly rip: bigint;
  readonly vmcs: number;
  readonly nestedRip: bigint;
  readonly injection: number;
  readonly guestCr3: bigint;
  /** L1's EPT for L2, if it has one. */
  readonly eptp: bigint | undefined;
}

/** Somebody who watches a VM: traces, accounting. Nothing it does changes the run. */
export interface KvmObserver {
  entry?(record: { vcpu: number; rip: bigint; interruption: number; errorCode: number }): void;
  exit?(record: ExitRecord): void;
  /** A guest hypervisor enters its guest; that exits, whoever the exit is for; the hypervisor gets an exit. */
  nestedEntry?(record: NestedEntryRecord): void;
  nestedExit?(record: ExitRecord): void;
  nestedReflection?(record: Omit<ExitRecord, 'rip'>): void;
  /** An event is put into the next VM entry: a new one, or one whose delivery a VM exit interrupted. */
  inject?(record: { vcpu: number; event: InjectedEvent; again: boolean }): void;
  msr?(record: {
    vcpu: number;
    access: 'read' | 'write';
    address: number;
    value: bigint;
    fault: boolean;
  }): void;
  /** A VM entry or VM exit of a guest hypervisor has loaded a register. */
  loaded?(record: { vcpu: number; address: number; value: bigint }): void;
  /** An RDPMC that exited. */
  rdpmc?(record: { vcpu: number; ecx: number; value: bigint | '#GP' }): void;
  /** A PMI goes through the guest's LVTPC, which is not masked. */
  pmi?(record: { vcpu: number }): void;
  /** KVM has carried out an instruction on the guest's behalf. */
  retired?(record: { vcpu: number; branch: boolean; cpl: number }): void;
  /** A mediated vPMU is loaded or put. */
  vpmu?(record: { vcpu: number; step: 'load' | 'put' }): void;
}

/** Lets `observer` see, after those before it, whatever `target` is told from now on. */
export function join(target: KvmObserver, observer: KvmObserver): void {
  for (const kind of Object.keys(observer) as (keyof KvmObserver)[]) {
    const earlier = target[kind] as ((record: unknown) => void) | undefined;
    const later = observer[kind] as ((record: unknown) => void) | undefined;
    if (!later) continue;
    target[kind] = (record: unknown) => {
      earlier?.(record);
      later(record);
    };
  }
}
