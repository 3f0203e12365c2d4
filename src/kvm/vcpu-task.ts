import type { HostCpu } from '../host/cpu.ts';
import type { Task, TaskStop } from '../host/task.ts';
import type { VcpuStop } from './run-loop.ts';
import type { Vcpu } from './vcpu.ts';

const STOP: Readonly<Record<VcpuStop, TaskStop>> = {
  budget: 'budget',
  preempted: 'preempted',
  halted: 'blocked',
  shutdown: 'exited',
  stopped: 'exited',
};

/** The thread of a vCPU, as the host's scheduler runs it. */
export class VcpuTask implements Task {
  readonly vcpu: Vcpu;
  readonly name: string;
  /** Why the vCPU last came back. */
  lastStop: VcpuStop | undefined;

  constructor(vcpu: Vcpu, name = vcpu.task.name) {
    this.vcpu = vcpu;
    this.name = name;
  }

  get inGuest(): boolean {
    return this.vcpu.inGuest;
  }

  get wakes(): boolean {
    return this.vcpu.wakes;
  }

  schedIn(host: HostCpu): void {
    this.vcpu.schedIn(host);
  }

  schedOut(): void {
    this.vcpu.schedOut();
  }

  step(until: bigint): TaskStop {
    this.lastStop = this.vcpu.step(until);
    return STOP[this.lastStop];
  }

  nextDeadline(): number {
    return this.vcpu.nextDeadline();
  }

  /** The vCPU itself is its VM's to save. */
  save(): VcpuStop | undefined {
    return this.lastStop;
  }

  restore(saved: unknown): void {
    this.lastStop = saved as VcpuStop | undefined;
  }
}
