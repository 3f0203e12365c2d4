import type { Insn } from '../cpu/insn.ts';
import { VmExit, type VmExitDetail } from '../cpu/vm-exit.ts';
import type { Controls } from './controls.ts';
import type { VmxMachine } from './machine.ts';
import type { Vmcs } from './vmcs.ts';

/** What every intercept is decided on: the processor, the current VMCS, and its controls as VM entry found them. */
export class Intercepts {
  readonly vmcs: Vmcs;
  readonly controls: Controls;
  protected readonly machine: VmxMachine;

  constructor(machine: VmxMachine, vmcs: Vmcs, controls: Controls) {
    this.machine = machine;
    this.vmcs = vmcs;
    this.controls = controls;
  }

  protected get rip(): bigint {
    return this.machine.core.state.rip;
  }

  protected pin(control: number): boolean {
    return (this.controls.pin & control) !== 0;
  }

  protected primary(control: number): boolean {
    return (this.controls.primary & control) !== 0;
  }

  protected secondary(control: number): boolean {
    return (this.controls.secondary & control) !== 0;
  }

  /** Has the instruction end in an exit, and says so. */
  protected exits(reason: number, insn: Insn, detail?: VmExitDetail): true {
    this.machine.core.exit = new VmExit(reason, detail, insn.length);
    return true;
  }

  /** @throws VmExit the exit of an instruction */
  protected exit(reason: number, insn: Insn, detail?: VmExitDetail): never {
    throw new VmExit(reason, detail, insn.length);
  }
}
