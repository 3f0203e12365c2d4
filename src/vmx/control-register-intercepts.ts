import { CR0 } from '../cpu/control-registers.ts';
import type { Insn } from '../cpu/insn.ts';
import { STATE } from '../cpu/state/layout.ts';
import { PRIMARY } from '../msr/vmx.ts';
import { EXIT_REASON } from './exit-reasons.ts';
import { FIELDS } from './fields.ts';
import { Intercepts } from './intercepts.ts';

const CONTROL_FIELDS = {
  0: { mask: FIELDS.CR0_GUEST_HOST_MASK, shadow: FIELDS.CR0_READ_SHADOW },
  4: { mask: FIELDS.CR4_GUEST_HOST_MASK, shadow: FIELDS.CR4_READ_SHADOW },
} as const;

const CR3_TARGETS = [
  FIELDS.CR3_TARGET_VALUE_0,
  FIELDS.CR3_TARGET_VALUE_1,
  FIELDS.CR3_TARGET_VALUE_2,
  FIELDS.CR3_TARGET_VALUE_3,
];

const CR_ACCESS = { TO: 0, FROM: 1 << 4, CLTS: 2 << 4, LMSW: 3 << 4, MEMORY: 1 << 6 } as const;

/** Control registers under their masks, shadows and exiting controls. Vol. 3, "Changes to Instruction Behavior in VMX Non-Root Operation". */
export class ControlRegisterIntercepts extends Intercepts {
  movToCr(number: number, value: bigint, register: number, insn: Insn): bigint {
    const exit = () => this.#access(insn, number | CR_ACCESS.TO | (register << 8));
    switch (number) {
      case 0:
      case 4: {
        const mask = this.vmcs.read(CONTROL_FIELDS[number].mask);
        const shadow = this.vmcs.read(CONTROL_FIELDS[number].shadow);
        if (((value ^ shadow) & mask) !== 0n) exit();
        const current = this.machine.core.state.get(number === 0 ? STATE.CR0 : STATE.CR4);
        return (value & ~mask) | (current & mask);
      }
      case 3: {
        if (!this.primary(PRIMARY.CR3_LOAD_EXITING)) return value;
        const targets = CR3_TARGETS.slice(0, this.vmcs.read32(FIELDS.CR3_TARGET_COUNT));
        if (!targets.some((field) => this.vmcs.read(field) === value)) exit();
        return value;
      }
      case 2: // never exits
        return value;
      default:
        if (this.primary(PRIMARY.CR8_LOAD_EXITING)) exit();
        return value;
    }
  }

  movFromCr(number: number, value: bigint, register: number, insn: Insn): bigint {
    const exit = () => this.#access(insn, number | CR_ACCESS.FROM | (register << 8));
    switch (number) {
      case 0:
      case 4: {
        const mask = this.vmcs.read(CONTROL_FIELDS[number].mask);
        const shadow = this.vmcs.read(CONTROL_FIELDS[number].shadow);
        return (value & ~mask) | (shadow & mask);
      }
      case 2: // never exits
        return value;
      case 3:
        if (this.primary(PRIMARY.CR3_STORE_EXITING)) exit();
        return value;
      default:
        if (this.primary(PRIMARY.CR8_STORE_EXITING)) exit();
        return value;
    }
  }

  clts(insn: Insn): boolean {
    const mask = this.vmcs.read(FIELDS.CR0_GUEST_HOST_MASK);
    const shadow = this.vmcs.read(FIELDS.CR0_READ_SHADOW);
    if ((mask & shadow & CR0.TS) !== 0n) this.#access(insn, CR_ACCESS.CLTS);
    return (mask & CR0.TS) === 0n;
  }

  lmsw(source: number, linear: bigint | undefined, insn: Insn): number {
    const mask = Number(this.vmcs.read(FIELDS.CR0_GUEST_HOST_MASK) & 0xfn);
    const shadow = Number(this.vmcs.read(FIELDS.CR0_READ_SHADOW) & 0xfn);
    const changes = (source ^ shadow) & mask;
    const setsPe = (mask & source & ~shadow & 1) !== 0;
    if (setsPe || (changes & 0xe) !== 0) {
      const memory = linear === undefined ? 0 : CR_ACCESS.MEMORY;
      const qualification = CR_ACCESS.LMSW | memory | ((source & 0xffff) << 16);
      this.#access(insn, qualification, linear);
    }
    const current = Number(this.machine.core.state.get(STATE.CR0) & 0xfn);
    return (source & 0xf & ~mask) | (current & mask) | (current & 1);
  }

  #access(insn: Insn, qualification: number, linear = 0n): never {
    return this.exit(EXIT_REASON.CR_ACCESS, insn, {
      qualification: BigInt(qualification >>> 0),
      guestLinear: linear,
    });
  }
}
