import type { CpuPorts } from '../../src/cpu/ports.ts';
import { STATE } from '../../src/cpu/state/layout.ts';
import { State } from '../../src/cpu/state/state.ts';
import { Core } from '../../src/cpu/system/core.ts';
import { PhysicalMemory } from '../../src/memory/physical-memory.ts';
import { MsrBus } from '../../src/msr/bus.ts';
import { defineMsrs } from '../../src/msr/definition.ts';
import { SAPPHIRE_RAPIDS_VMX, type VmxShape } from '../../src/msr/vmx.ts';
import { FIELDS, type FieldName } from '../../src/vmx/fields.ts';
import { Vmx } from '../../src/vmx/vmx.ts';

/** Physical addresses that the tests use. */
export const VMXON_REGION = 0x1_0000n;
export const VMCS = 0x1_1000n;
export const OTHER_VMCS = 0x1_2000n;
export const MSR_BITMAP = 0x1_3000n;
export const IO_BITMAP_A = 0x1_4000n;
export const IO_BITMAP_B = 0x1_5000n;
export const MSR_STORE = 0x1_6000n;
export const HOST_MSR_LOAD = 0x1_7000n;
export const GUEST_MSR_LOAD = 0x1_8000n;
export const VIRTUAL_APIC = 0x1_9000n;
export const EPT_PML4 = 0x1_a000n;

/** Counters: four general-purpose, three fixed. */
const ROWS = defineMsrs({
  IA32_DEBUGCTL: { address: 0x1d9, writable: 0x1802n, sdm: 'IA32_DEBUGCTL MSR' },
  IA32_PERF_GLOBAL_CTRL: { address: 0x38f, writable: 0x7_0000_000fn, sdm: 'a test' },
  IA32_LBR_CTL: { address: 0x14ce, writable: 0x7f_000fn, sdm: 'a test' },
  IA32_PMC: { address: 0xc1, count: 4, writable: 0xffff_ffffn, sdm: 'a test' },
});

/** One CPU with VMX on memory and ports of a test, nothing executing. */
export class Processor {
  readonly memory = new PhysicalMemory({ ramSize: 0x5_0000, reserved: 0x1_0000 });
  readonly state = new State(this.memory.linear, 0);
  readonly msr = new MsrBus();
  readonly vmx: Vmx;
  readonly core: Core;
  /** What happened at the ports, in order. */
  readonly log: string[] = [];
  pending: number | undefined;

  constructor(shape: VmxShape = SAPPHIRE_RAPIDS_VMX) {
    const { memory, state, msr, log } = this;
    msr.attach(ROWS);
    this.vmx = new Vmx({ shape, memory, msr });
    const ports: CpuPorts = {
      memory,
      msr,
      io: { read: () => 0, write: () => undefined },
      interrupts: {
        pendingVector: () => this.pending,
        acknowledge: () => {
          const vector = this.pending ?? 0;
          this.pending = undefined;
          return vector;
        },
        endOfInterrupt: () => undefined,
        nmiPending: () => false,
        takeNmi: () => void log.push('takeNmi'),
        pendingSignal: () => undefined,
        dismissInit: () => undefined,
        takeSignal: () => undefined,
        taskPriority: () => 0,
        setTaskPriority: () => undefined,
        enabled: () => true,
        bootstrap: () => true,
      },
      time: {
        horizon: () => Number.POSITIVE_INFINITY,
        boundary: () => undefined,
        modeChanging: () => void log.push('modeChanging'),
        modeChanged: ({ cpl, halted }) => void log.push(`modeChanged ${cpl} ${halted}`),
      },
      rdpmc: () => 0n,
      cpuid: () => ({ eax: 0, ebx: 0, ecx: 0, edx: 0 }),
      random: () => 0n,
      vmx: this.vmx,
    };
    const features = { physicalWidth: 46, cr4: 0x37_67ffn, xcr0: 3n, xss: 0n };
    this.core = new Core(state, ports, features, {
      flush: () => undefined,
      retagged: () => undefined,
      debugChanged: () => undefined,
      endSlice: () => undefined,
    });
    this.vmx.connect(this.core);
    state.set(STATE.CR0, 0x8000_0033n);
    state.set(STATE.CR4, 0x2020n);
    state.set(STATE.EFER, 0xd01n);
    this.core.rflags = 2n;
    for (const region of [VMXON_REGION, VMCS, OTHER_VMCS]) {
      memory.write(Number(region), 4, BigInt(shape.revision));
    }
  }

  /** In VMX operation, with a current VMCS that enters. */
  enterable(changes: Fields = {}): this {
    this.vmx.vmxon(VMXON_REGION);
    this.vmx.vmclear(VMCS);
    this.vmx.vmptrld(VMCS);
    this.set({ ...VALID, ...changes });
    return this;
  }

  set(fields: Fields): void {
    for (const [name, value] of Object.entries(fields)) {
      this.vmx.vmwrite(FIELDS[name as FieldName].encoding, BigInt(value));
    }
  }

  get(name: FieldName): bigint | undefined {
    return this.vmx.vmread(FIELDS[name].encoding);
  }
}

export type Fields = Readonly<Partial<Record<FieldName, bigint | number>>>;

/** A 64-bit guest under a 64-bit host, every field at a value that passes. */
// biome-ignore format: a table
export const VALID: Fields = {
  PIN_BASED_CONTROLS: 0x16,          PRIMARY_CONTROLS: 0x0400_6172,     SECONDARY_CONTROLS: 0,
  VM_EXIT_CONTROLS: 0x0003_6ffb,     VM_ENTRY_CONTROLS: 0x0000_13fb,    VMCS_LINK_POINTER: 0xffff_ffff_ffff_ffffn,

  HOST_CR0: 0x8000_0033n,  HOST_CR3: 0x2000n,  HOST_CR4: 0x2020n,
  HOST_ES_SELECTOR: 0x10,  HOST_CS_SELECTOR: 0x08,  HOST_SS_SELECTOR: 0x10,  HOST_DS_SELECTOR: 0x10,
  HOST_FS_SELECTOR: 0x10,  HOST_GS_SELECTOR: 0x10,  HOST_TR_SELECTOR: 0x18,
  HOST_FS_BASE: 0x7f00_0000_1000n,  HOST_GS_BASE: 0xffff_8000_0000_1000n,  HOST_TR_BASE: 0x5000n,
  HOST_GDTR_BASE: 0x6000n,  HOST_IDTR_BASE: 0x7000n,  HOST_RSP: 0x9000n,  HOST_RIP: 0xa000n,
  HOST_IA32_SYSENTER_CS: 8,  HOST_IA32_SYSENTER_ESP: 0x9100n,  HOST_IA32_SYSENTER_EIP: 0xa100n,

  GUEST_CR0: 0x8000_0031n,  GUEST_CR3: 0x3000n,  GUEST_CR4: 0x2020n,  GUEST_DR7: 0x400n,
  GUEST_ES_SELECTOR: 0x10,  GUEST_CS_SELECTOR: 0x08,  GUEST_SS_SELECTOR: 0x10,  GUEST_DS_SELECTOR: 0x10,
  GUEST_FS_SELECTOR: 0x10,  GUEST_GS_SELECTOR: 0x10,  GUEST_LDTR_SELECTOR: 0,  GUEST_TR_SELECTOR: 0x18,
  GUEST_ES_LIMIT: 0xffff_ffffn,  GUEST_CS_LIMIT: 0xffff_ffffn,  GUEST_SS_LIMIT: 0xffff_ffffn,  GUEST_DS_LIMIT: 0xffff_ffffn,
  GUEST_FS_LIMIT: 0xffff_ffffn,  GUEST_GS_LIMIT: 0xffff_ffffn,  GUEST_LDTR_LIMIT: 0xffff,  GUEST_TR_LIMIT: 0x67,
  GUEST_ES_ACCESS_RIGHTS: 0xc093,  GUEST_CS_ACCESS_RIGHTS: 0xa09b,  GUEST_SS_ACCESS_RIGHTS: 0xc093,
  GUEST_DS_ACCESS_RIGHTS: 0xc093,  GUEST_FS_ACCESS_RIGHTS: 0xc093,  GUEST_GS_ACCESS_RIGHTS: 0xc093,
  GUEST_LDTR_ACCESS_RIGHTS: 0x82,  GUEST_TR_ACCESS_RIGHTS: 0x8b,
  GUEST_GDTR_BASE: 0xb000n,  GUEST_IDTR_BASE: 0xc000n,  GUEST_GDTR_LIMIT: 0x7f,  GUEST_IDTR_LIMIT: 0xfff,
  GUEST_RSP: 0xd000n,  GUEST_RIP: 0xe000n,  GUEST_RFLAGS: 0x202n,
};
