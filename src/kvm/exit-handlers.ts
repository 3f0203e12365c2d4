import { isSet } from '../bits/bitfield.ts';
import { CounterpointError } from '../bits/error.ts';
import { hex } from '../bits/hex.ts';
import { EXIT_REASON, exitReasonName } from '../vmx/exit-reasons.ts';
import { CR0, CR4 } from './control-registers.ts';
import { guestCpuid } from './cpuid.ts';
import { emulate, forcedEmulation } from './emulation.ts';
import { guestRdmsr, guestWrmsr } from './guest-msr-access.ts';
import { readGpr } from './guest-registers.ts';
import { shadowViolation } from './nested/ept-violation.ts';
import { vmxInstruction } from './nested/instructions.ts';
import { readControlRegister, writeCr0, writeCr4 } from './paging-mode.ts';
import type { VcpuStop } from './run-loop.ts';
import type { Vcpu } from './vcpu.ts';

/** What the run loop does next. `advance` first steps over the instruction that exited, which retires. */
export type Next =
  | 'enter'
  | 'advance'
  | { readonly inject: number; readonly errorCode?: number; readonly payload?: bigint }
  | { readonly leave: VcpuStop };

export type ExitHandler = (vcpu: Vcpu) => Next;

const UD: Next = { inject: 6 };
const GP: Next = { inject: 13, errorCode: 0 };
const LOW = 0xffff_ffffn;
const [RAX, RCX, RDX, RBX] = [0, 1, 2, 3] as const;

const low = (vcpu: Vcpu, register: number): bigint => vcpu.gpr[register]! & LOW;

function setEdxEax(vcpu: Vcpu, value: bigint): void {
  vcpu.gpr[RAX] = value & LOW;
  vcpu.gpr[RDX] = (value >> 32n) & LOW;
}

const edxEax = (vcpu: Vcpu): bigint => (low(vcpu, RDX) << 32n) | low(vcpu, RAX);

const cpuid: ExitHandler = (vcpu) => {
  const cr4 = readControlRegister(vcpu, 4);
  const apicBase = vcpu.apicBus.rdmsr(0x1b);
  const registers = guestCpuid(
    Number(low(vcpu, RAX)),
    Number(low(vcpu, RCX)),
    (leaf, subleaf) => vcpu.host.cpuid(leaf, subleaf),
    {
      apicId: vcpu.id,
      processors: vcpu.vm.vcpus.length,
      pmu: vcpu.vpmu.pmu.shape,
      osxsave: isSet(cr4, CR4.OSXSAVE),
      ospke: isSet(cr4, CR4.PKE),
      vmx: vcpu.nested !== undefined,
      apicEnabled: typeof apicBase === 'bigint' && (apicBase & 0x800n) !== 0n,
    },
  );
  vcpu.gpr[RAX] = BigInt(registers.eax >>> 0);
  vcpu.gpr[RBX] = BigInt(registers.ebx >>> 0);
  vcpu.gpr[RCX] = BigInt(registers.ecx >>> 0);
  vcpu.gpr[RDX] = BigInt(registers.edx >>> 0);
  return 'advance';
};

const rdmsr: ExitHandler = (vcpu) => {
  const value = guestRdmsr(vcpu, Number(low(vcpu, RCX)));
  if (value === '#GP') return GP;
  setEdxEax(vcpu, value);
  return 'advance';
};

const wrmsr: ExitHandler = (vcpu) =>
  guestWrmsr(vcpu, Number(low(vcpu, RCX)), edxEax(vcpu)) === '#GP' ? GP : 'advance';

const rdpmc: ExitHandler = (vcpu) => {
  const privileged = vcpu.cpl === 0 || isSet(vcpu.read('GUEST_CR4'), CR4.PCE);
  if (!privileged && isSet(vcpu.read('GUEST_CR0'), CR0.PE)) return GP;
  vcpu.host.spend('vpmu-register');
  const ecx = Number(low(vcpu, RCX));
  const value = vcpu.vpmu.rdpmc(ecx);
  vcpu.vm.observer?.rdpmc?.({ vcpu: vcpu.id, ecx, value });
  if (value === '#GP') return GP;
  setEdxEax(vcpu, value);
  return 'advance';
};

const hlt: ExitHandler = (vcpu) => {
  vcpu.skipInstruction();
  vcpu.halt();
  return 'enter';
};

/** Hypercalls KVM does not know answer -KVM_ENOSYS; KVM_HC_VAPIC_POLL_IRQ (1) answers 0. */
const vmcall: ExitHandler = (vcpu) => {
  if (vcpu.cpl !== 0) vcpu.gpr[RAX] = EPERM;
  else vcpu.gpr[RAX] = low(vcpu, RAX) === 1n ? 0n : ENOSYS;
  return 'advance';
};
const ENOSYS = 0xffff_ffff_ffff_fc18n;
const EPERM = 0xffff_ffff_ffff_ffffn;

/** IN and OUT go to user space; string forms are emulated. */
const io: ExitHandler = (vcpu) => {
  const qualification = Number(vcpu.read('EXIT_QUALIFICATION'));
  vcpu.host.spend('user-space-exit');
  if ((qualification & STRING_IO) !== 0) return emulate(vcpu, 0);
  const size = ((qualification & 7) + 1) as 1 | 2 | 4;
  const port = (qualification >>> 16) & 0xffff;
  const mask = (1n << BigInt(size * 8)) - 1n;
  const { io: ports } = vcpu.vm.ports;
  const rax = vcpu.gpr[RAX]!;
  if ((qualification & IN) === 0) ports.write(port, size, Number(rax & mask));
  else {
    const value = BigInt(ports.read(port, size) >>> 0) & mask;
    vcpu.gpr[RAX] = size === 4 ? value : (rax & ~mask) | value;
  }
  return 'advance';
};
const IN = 1 << 3;
const STRING_IO = 1 << 4;

const controlRegister: ExitHandler = (vcpu) => {
  const qualification = Number(vcpu.read('EXIT_QUALIFICATION'));
  const number = qualification & 15;
  const access = (qualification >> 4) & 3;
  const register = (qualification >> 8) & 15;
  if (access === MOV_FROM) {
    // CR8 is the only register whose reads exit.
    vcpu.gpr[register] = BigInt(vcpu.apic.taskPriority());
    return 'advance';
  }
  const cr0 = readControlRegister(vcpu, 0);
  if (access === CLTS) return writeCr0(vcpu, cr0 & ~TS) ? 'advance' : GP;
  if (access === LMSW) {
    const source = BigInt(qualification >>> 16) & 0xfn;
    return writeCr0(vcpu, (cr0 & ~0xen) | source | (cr0 & CR0.PE)) ? 'advance' : GP;
  }
  const value = readGpr(vcpu, register);
  if (number === 0) return writeCr0(vcpu, value) ? 'advance' : GP;
  if (number === 4) return writeCr4(vcpu, value) ? 'advance' : GP;
  if (number !== 8 || value > 15n) return GP;
  vcpu.apic.setTaskPriority(Number(value));
  return 'advance';
};
const [MOV_FROM, CLTS, LMSW] = [1, 2, 3] as const;
const TS = 8n;

/** XSETBV: XCR0 must have x87, and AVX only with SSE. */
const xsetbv: ExitHandler = (vcpu) => {
  const value = edxEax(vcpu);
  const allowed = hostXcr0(vcpu);
  const valid = (value & 1n) !== 0n && (value & 6n) !== 4n && (value & ~allowed) === 0n;
  if (vcpu.cpl !== 0 || low(vcpu, RCX) !== 0n || !valid) return GP;
  vcpu.host.registers.xcr0 = value;
  return 'advance';
};

const hostXcr0 = (vcpu: Vcpu): bigint => {
  const { eax, edx } = vcpu.host.cpuid(0x0d, 0);
  return (BigInt(edx >>> 0) << 32n) | BigInt(eax >>> 0);
};

/** #UD with the forced-emulation prefix; every other exception KVM intercepts goes back to the guest. */
const exception: ExitHandler = (vcpu) => {
  const information = Number(vcpu.read('VM_EXIT_INTERRUPTION_INFORMATION'));
  const vector = information & 0xff;
  if (vector === 6) return forcedEmulation(vcpu) ?? UD;
  const hasErrorCode = (information & 0x800) !== 0;
  const errorCode = Number(vcpu.read('VM_EXIT_INTERRUPTION_ERROR_CODE'));
  return hasErrorCode ? { inject: vector, errorCode } : { inject: vector };
};

/** What is no RAM belongs to a device: the instruction is emulated. Of a guest's guest its own EPT is asked first. */
const eptViolation: ExitHandler = (vcpu) => {
  const { nested } = vcpu;
  if (nested?.guestMode && nested.usesEpt && shadowViolation(vcpu, nested) === 'done') {
    return 'enter';
  }
  return emulate(vcpu, 0);
};

const timer: ExitHandler = (vcpu) => {
  vcpu.elapse();
  return 'enter';
};

const undefinedOpcode: ExitHandler = () => UD;
const advance: ExitHandler = () => 'advance';
/** The run loop has dealt with it; opening a window was all it took. */
const enter: ExitHandler = () => 'enter';

const unexpected: ExitHandler = (vcpu) => {
  const reason = Number(vcpu.read('EXIT_REASON'));
  throw new CounterpointError(
    'vm-exit',
    `vCPU ${vcpu.id}: unexpected VM exit ${exitReasonName(reason)} at RIP ${hex(vcpu.rip)}`,
  );
};

/** Who handles which exit. A reason this machine can raise and no row names does not compile. */
// biome-ignore format: a table
export const EXIT_HANDLERS: Readonly<Record<(typeof EXIT_REASON)[keyof typeof EXIT_REASON], ExitHandler>> = {
  [EXIT_REASON.EXCEPTION_NMI]:       exception,
  [EXIT_REASON.EXTERNAL_INTERRUPT]:  enter,
  [EXIT_REASON.TRIPLE_FAULT]:        () => ({ leave: 'shutdown' }),
  [EXIT_REASON.INIT_SIGNAL]:         unexpected,
  [EXIT_REASON.SIPI_SIGNAL]:         unexpected,
  [EXIT_REASON.INTERRUPT_WINDOW]:    enter,
  [EXIT_REASON.NMI_WINDOW]:          enter,
  [EXIT_REASON.TASK_SWITCH]:         unexpected,
  [EXIT_REASON.CPUID]:               cpuid,
  [EXIT_REASON.GETSEC]:              undefinedOpcode,
  [EXIT_REASON.HLT]:                 hlt,
  [EXIT_REASON.INVD]:                advance,
  [EXIT_REASON.INVLPG]:              advance,
  [EXIT_REASON.RDPMC]:               rdpmc,
  [EXIT_REASON.RDTSC]:               unexpected,
  [EXIT_REASON.RSM]:                 undefinedOpcode,
  [EXIT_REASON.VMCALL]:              vmcall,
  [EXIT_REASON.VMCLEAR]:             vmxInstruction,
  [EXIT_REASON.VMLAUNCH]:            vmxInstruction,
  [EXIT_REASON.VMPTRLD]:             vmxInstruction,
  [EXIT_REASON.VMPTRST]:             vmxInstruction,
  [EXIT_REASON.VMREAD]:              vmxInstruction,
  [EXIT_REASON.VMRESUME]:            vmxInstruction,
  [EXIT_REASON.VMWRITE]:             vmxInstruction,
  [EXIT_REASON.VMOFF]:               vmxInstruction,
  [EXIT_REASON.VMON]:                vmxInstruction,
  [EXIT_REASON.CR_ACCESS]:           controlRegister,
  [EXIT_REASON.DR_ACCESS]:           unexpected,
  [EXIT_REASON.IO_INSTRUCTION]:      io,
  [EXIT_REASON.MSR_READ]:            rdmsr,
  [EXIT_REASON.MSR_WRITE]:           wrmsr,
  [EXIT_REASON.INVALID_STATE]:       unexpected,
  [EXIT_REASON.MSR_LOAD_FAIL]:       unexpected,
  [EXIT_REASON.MWAIT_INSTRUCTION]:   advance,
  [EXIT_REASON.MONITOR_TRAP_FLAG]:   unexpected,
  [EXIT_REASON.MONITOR_INSTRUCTION]: advance,
  [EXIT_REASON.PAUSE_INSTRUCTION]:   advance,
  [EXIT_REASON.MCE_DURING_VMENTRY]:  unexpected,
  [EXIT_REASON.TPR_BELOW_THRESHOLD]: enter,
  [EXIT_REASON.APIC_ACCESS]:         unexpected,
  [EXIT_REASON.EOI_INDUCED]:         unexpected,
  [EXIT_REASON.GDTR_IDTR]:           unexpected,
  [EXIT_REASON.LDTR_TR]:             unexpected,
  [EXIT_REASON.EPT_VIOLATION]:       eptViolation,
  [EXIT_REASON.EPT_MISCONFIG]:       unexpected,
  [EXIT_REASON.INVEPT]:              vmxInstruction,
  [EXIT_REASON.RDTSCP]:              unexpected,
  [EXIT_REASON.PREEMPTION_TIMER]:    timer,
  [EXIT_REASON.INVVPID]:             vmxInstruction,
  [EXIT_REASON.WBINVD]:              advance,
  [EXIT_REASON.XSETBV]:              xsetbv,
  [EXIT_REASON.APIC_WRITE]:          unexpected,
  [EXIT_REASON.RDRAND]:              unexpected,
  [EXIT_REASON.INVPCID]:             unexpected,
  [EXIT_REASON.VMFUNC]:              undefinedOpcode,
  [EXIT_REASON.RDSEED]:              unexpected,
  [EXIT_REASON.PML_FULL]:            unexpected,
  [EXIT_REASON.XSAVES]:              unexpected,
  [EXIT_REASON.XRSTORS]:             unexpected,
};
