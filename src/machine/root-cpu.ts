import { ACTIVITY, CR0, CR4, EFER } from '../cpu/control-registers.ts';
import { STATE } from '../cpu/state/layout.ts';
import type { CpuPorts as HostCpuPorts, RegisterPorts } from '../host/ports.ts';
import type { Hardware } from './hardware.ts';
import type { Processor } from './processor.ts';

/** Bytes of x87, MMX, SSE and AVX state in the state block. */
const EXTENDED = { START: STATE.MXCSR, END: STATE.SCRATCH } as const;

/** Puts a processor into 64-bit mode with VMX allowed, as a host kernel has it. */
export function enterRootMode({ state, apic, msrs }: Processor): void {
  const { PE, ET, NE, WP, AM, PG, MP } = CR0;
  state.set(STATE.CR0, PE | MP | ET | NE | WP | AM | PG);
  state.set(STATE.CR4, CR4.PAE | CR4.OSFXSR | CR4.OSXMMEXCPT | CR4.VMXE);
  state.set(STATE.EFER, EFER.SCE | EFER.LME | EFER.LMA | EFER.NXE);
  state.setSegment('CS', { selector: 0x10, base: 0n, limit: 0xffff_ffff, rights: 0xa09b });
  state.setSegment('SS', { selector: 0x18, base: 0n, limit: 0xffff_ffff, rights: 0xc093 });
  state.set32(STATE.ACTIVITY, ACTIVITY.ACTIVE);
  // x2APIC mode, software-enabled: a host kernel of this day.
  const base = msrs.rdmsr(0x1b) as bigint;
  msrs.wrmsr(0x1b, base | 0xc00n);
  msrs.wrmsr(0x80f, 0x1ffn);
  // RESET leaves general-purpose counters enabled; perf opens the PMU itself, with the first event on a processor.
  msrs.wrmsr(0x38f, 0n);
  apic.elapse();
}

/** A processor as root-mode software in TypeScript meets it. */
export function rootCpu(processor: Processor, hardware: Hardware): HostCpuPorts {
  const { state, cpu, vmx, apic, pmu, msrs } = processor;
  const { memory } = hardware;
  const bytes = () =>
    new Uint8Array(
      memory.linear.buffer,
      state.base + EXTENDED.START,
      EXTENDED.END - EXTENDED.START,
    );
  const registers: RegisterPorts = {
    gpr: state.gpr,
    dr: new BigUint64Array(memory.linear.buffer, state.base + STATE.DR, 7),
    get cr2() {
      return state.get(STATE.CR2);
    },
    set cr2(value) {
      state.set(STATE.CR2, value);
    },
    get xcr0() {
      return state.get(STATE.XCR0);
    },
    set xcr0(value) {
      state.set(STATE.XCR0, value);
    },
    saveExtended: () => bytes().slice(),
    restoreExtended: (saved) => bytes().set(saved),
  };
  const add = {
    ticks: state.adder('ticks'),
    instructions: state.adder('instructions'),
    branches: state.adder('branches'),
    unhaltedTicks: state.adder('unhaltedTicks'),
    cycles: state.adder('cycles'),
  };
  return {
    id: apic.id,
    rdmsr: (address) => msrs.rdmsr(address),
    wrmsr: (address, value) => msrs.wrmsr(address, value),
    rdpmc: (ecx) => pmu.rdpmc(ecx),
    cpuid: (leaf, subleaf) =>
      cpu.ports.cpuid(leaf, subleaf, {
        cr4: state.get(STATE.CR4),
        xcr0: state.get(STATE.XCR0),
        xss: state.get(STATE.XSS),
        apicEnabled: apic.enabled(),
      }),
    now: () => state.total('ticks'),
    horizon: () => processor.horizon(),
    quiet: (ticks) => processor.quiet(ticks),
    retire({ ticks, instructions, branches }, halted) {
      if (vmx.nonRoot) throw new RangeError(`CPU ${apic.id} works in root mode while a guest runs`);
      add.ticks(ticks);
      add.instructions(instructions);
      add.branches(branches);
      if (halted) return;
      add.unhaltedTicks(ticks);
      add.cycles(ticks);
    },
    boundary: () => processor.boundary(),
    takeNmi() {
      const pending = apic.nmiPending();
      if (pending) apic.takeNmi();
      return pending;
    },
    interruptPending: () => apic.nmiPending() || apic.pendingVector() !== undefined,
    takeInterrupt: () => (apic.pendingVector() === undefined ? undefined : apic.acknowledge()),
    run(maxTicks) {
      if (!vmx.nonRoot) return 'exit';
      hardware.current = processor;
      const { reason } = cpu.run(maxTicks);
      if (reason === 'vm-exit') return 'exit';
      if (reason === 'budget' || reason === 'stopped') return 'budget';
      throw new RangeError(`a guest in VMX non-root operation ended in ${reason}`);
    },
    vmx,
    registers,
    memory,
  };
}
