import type { HostCpu } from '../host/cpu.ts';
import { CPU_MSRS } from './msrs.ts';
import type { Vcpu } from './vcpu.ts';

const RSP = 4;

/** Guest registers that are neither in the VMCS nor in memory: on the CPU while the thread is, kept here otherwise. */
export interface GuestRegisters {
  readonly gpr: readonly bigint[];
  readonly cr2: bigint;
  readonly xcr0: bigint;
  readonly dr: readonly bigint[];
  readonly extended: Uint8Array;
  readonly msrs: readonly bigint[];
}

/** As they are after RESET but for the general registers; x87, SSE and AVX state is the CPU's own of that moment. */
export const initialRegisters = (host: HostCpu, gpr: readonly bigint[]): GuestRegisters => ({
  gpr: [...gpr],
  cr2: 0n,
  xcr0: 1n,
  dr: [0n, 0n, 0n, 0n, 0n, 0n, 0xffff_0ff0n],
  extended: host.registers.saveExtended(),
  msrs: CPU_MSRS.map(() => 0n),
});

/** Takes the guest's registers from the CPU. */
export const takeRegisters = (host: HostCpu): GuestRegisters => ({
  gpr: [...host.registers.gpr],
  cr2: host.registers.cr2,
  xcr0: host.registers.xcr0,
  dr: [...host.registers.dr],
  extended: host.registers.saveExtended(),
  msrs: CPU_MSRS.map((address) => host.rdmsr(address)),
});

/** Gives the CPU the guest's registers. */
export function giveRegisters(host: HostCpu, saved: GuestRegisters): void {
  const { registers } = host;
  registers.gpr.set(saved.gpr);
  registers.cr2 = saved.cr2;
  registers.xcr0 = saved.xcr0;
  registers.dr.set(saved.dr);
  registers.restoreExtended(saved.extended);
  CPU_MSRS.forEach((address, at) => {
    host.wrmsr(address, saved.msrs[at]!);
  });
}

/** A general register of the guest by number; RSP is in the VMCS. */
export const readGpr = (vcpu: Vcpu, register: number): bigint =>
  register === RSP ? vcpu.read('GUEST_RSP') : vcpu.gpr[register]!;

export function writeGpr(vcpu: Vcpu, register: number, value: bigint): void {
  if (register === RSP) vcpu.write('GUEST_RSP', value);
  else vcpu.gpr[register] = value;
}
