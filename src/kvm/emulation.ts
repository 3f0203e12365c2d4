import { bit, bits, isSet } from '../bits/bitfield.ts';
import { CounterpointError } from '../bits/error.ts';
import { hex } from '../bits/hex.ts';
import { DEBUGCTL } from '../msr/pmu.ts';
import { RFLAGS } from './control-registers.ts';
import type { InjectedEvent } from './events.ts';
import type { Next } from './exit-handlers.ts';
import type { GuestFault } from './ports.ts';
import type { Vcpu } from './vcpu.ts';

/** UD2 and the bytes of "kvm": what follows is to be emulated (kvm.force_emulation_prefix). */
const FORCED_EMULATION_PREFIX = [0x0f, 0x0b, 0x6b, 0x76, 0x6d];
const [DEBUG, PAGE_FAULT] = [1, 14];
/** DR6: breakpoints 0 to 3, and single step. */
const DR6 = { TRAPS: bits(3, 0), BS: bit(14) } as const;

/** kvm_vcpu_do_singlestep: under TF an instruction that KVM carries out ends in a debug trap, too. */
export function singleStep(vcpu: Vcpu): void {
  if (!isSet(vcpu.read('GUEST_RFLAGS'), RFLAGS.TF)) return;
  if (isSet(vcpu.read('GUEST_IA32_DEBUGCTL'), DEBUGCTL.BTF)) return;
  vcpu.inject(DEBUG, undefined, DR6.BS);
}

/** Emulates the instruction behind a forced-emulation prefix; undefined if RIP points at none. */
export function forcedEmulation(vcpu: Vcpu): Next | undefined {
  if (!vcpu.vm.forceEmulationPrefix) return undefined;
  const bytes = vcpu.emulator.fetch(FORCED_EMULATION_PREFIX.length);
  if (!FORCED_EMULATION_PREFIX.every((byte, at) => bytes[at] === byte)) return undefined;
  return emulate(vcpu, FORCED_EMULATION_PREFIX.length);
}

/** The guest's exception as the run loop injects it. */
export function injectionOf({ vector, errorCode, address }: GuestFault): Next {
  return {
    inject: vector,
    ...(errorCode !== undefined && { errorCode }),
    ...(vector === PAGE_FAULT && { payload: address }),
  };
}

/** The processor learns what an exception is about only when it is delivered (kvm_deliver_exception_payload). */
export function deliverPayload({ host }: Vcpu, { vector, payload }: InjectedEvent): void {
  if (payload === undefined) return;
  const { registers } = host;
  if (vector === PAGE_FAULT) registers.cr2 = payload;
  else registers.dr[6] = (registers.dr[6]! & ~DR6.TRAPS) | payload;
}

/** Carries out the guest's instruction `skip` bytes behind RIP; done, it retires and counts once. */
export function emulate(vcpu: Vcpu, skip: number): Next {
  vcpu.host.spend('emulate-instruction');
  const result = vcpu.emulator.emulate(skip);
  switch (result.kind) {
    case 'done':
      vcpu.retireEmulated(result.branch);
      return 'enter';
    case 'fault':
      return injectionOf(result);
    case 'unsupported':
      if (skip > 0) return { inject: 6 };
      throw new CounterpointError(
        'emulation',
        `vCPU ${vcpu.id}: cannot emulate the instruction at RIP ${hex(vcpu.rip)}`,
      );
  }
}
