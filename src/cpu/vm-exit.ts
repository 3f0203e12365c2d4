/** A VM exit on its way to `VmxPort.vmExit`. Thrown like a fault; takes no stack trace. */
export class VmExit {
  /** Basic exit reason. Vol. 3, appendix "VMX Basic Exit Reasons". */
  readonly reason: number;
  readonly qualification: bigint;
  readonly instructionLength: number;
  readonly instructionInformation: number;
  /** Interruption information and error code of exits due to vectored events. */
  readonly interruption: number;
  readonly interruptionError: number;
  readonly guestLinear: bigint;
  readonly guestPhysical: bigint;

  constructor(reason: number, detail: VmExitDetail = NONE, length = 0) {
    this.reason = reason;
    this.qualification = detail.qualification ?? 0n;
    this.instructionLength = detail.instructionLength ?? length;
    this.instructionInformation = detail.instructionInformation ?? 0;
    this.interruption = detail.interruption ?? 0;
    this.interruptionError = detail.interruptionError ?? 0;
    this.guestLinear = detail.guestLinear ?? 0n;
    this.guestPhysical = detail.guestPhysical ?? 0n;
  }
}

const NONE: VmExitDetail = {};

export interface VmExitDetail {
  readonly qualification?: bigint;
  readonly instructionLength?: number;
  readonly instructionInformation?: number;
  readonly interruption?: number;
  readonly interruptionError?: number;
  readonly guestLinear?: bigint;
  readonly guestPhysical?: bigint;
}
