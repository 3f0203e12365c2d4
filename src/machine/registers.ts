import { readStatusFlags } from '../cpu/flags.ts';
import { STATE } from '../cpu/state/layout.ts';
import { ENTRY_REGISTERS } from '../platform/boot/entry-state.ts';
import type { Machine } from './machine.ts';
import { VirtualMachine } from './virtual.ts';

/** Registers of a guest's processor, by the manual's names. */
export type GuestRegisterFile = Readonly<Record<string, bigint>>;

const NAMES = [...ENTRY_REGISTERS, ...Array.from({ length: 8 }, (_, i) => `R${i + 8}`)];

/** What the processor that ran last holds of its guest. */
export function guestRegisters(machine: Machine): GuestRegisterFile {
  const { hardware } = machine;
  const { state } = hardware.current;
  const gpr = Object.fromEntries(NAMES.map((name, at) => [name, state.gpr[at]!]));
  const cr2 = state.get(STATE.CR2);
  if (!(machine instanceof VirtualMachine)) {
    const flags = state.get(STATE.RFLAGS_SYSTEM) | BigInt(readStatusFlags(state));
    const [cs, ss] = [state.segment('CS'), state.segment('SS')];
    const [cr0, cr3, cr4] = [STATE.CR0, STATE.CR3, STATE.CR4].map((at) => state.get(at));
    return {
      ...gpr,
      RIP: state.rip,
      RFLAGS: flags,
      CR0: cr0!,
      CR2: cr2,
      CR3: cr3!,
      CR4: cr4!,
      EFER: state.get(STATE.EFER),
      CS: BigInt(cs.selector),
      SS: BigInt(ss.selector),
      GDTR: state.get(STATE.GDTR_BASE),
      IDTR: state.get(STATE.IDTR_BASE),
    };
  }
  const vcpu = machine.vm.vcpus[hardware.processors.indexOf(hardware.current)]!;
  return {
    ...gpr,
    RSP: vcpu.read('GUEST_RSP'),
    RIP: vcpu.rip,
    RFLAGS: vcpu.read('GUEST_RFLAGS'),
    CR0: vcpu.read('GUEST_CR0'),
    CR2: cr2,
    CR3: vcpu.read('GUEST_CR3'),
    CR4: vcpu.read('GUEST_CR4'),
    EFER: vcpu.read('GUEST_IA32_EFER'),
    CS: vcpu.read('GUEST_CS_SELECTOR'),
    SS: vcpu.read('GUEST_SS_SELECTOR'),
    GDTR: vcpu.read('GUEST_GDTR_BASE'),
    IDTR: vcpu.read('GUEST_IDTR_BASE'),
  };
}
