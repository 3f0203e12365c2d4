/** Where the guest that executes cases has its code, its tables and what is dirty after a case. */
// biome-ignore format: a table
export const LAYOUT = {
  CODE:        0x10_0000,
  /** Code of a guest that is a hypervisor itself. */
  HYPERVISOR:  0x10_1000,
  GDT:         0x10_2000,
  TSS:         0x10_2100,
  /** LGDT and LIDT operands. */
  GDTR:        0x10_2200,
  IDTR:        0x10_2210,
  IDT:         0x10_3000,
  /** The guest hypervisor's own IDT, and its VMXON region. */
  ROOT_IDT:    0x10_4000,
  VMXON:       0x10_5000,
  /** Operands of VMXON, VMCLEAR, VMPTRLD: addresses of regions. */
  VMXON_POINTER: 0x10_6000,
  VMCS_POINTER:  0x10_6008,
  PAGE_TABLES: 0x10_8000,
  /** All that a case writes to, from here to the end. */
  DIRTY:       0x11_0000,
  STEPS:       0x11_0000,
  RESULTS:     0x11_1000,
  /** NMIs taken, u32; step of the latest, u32. */
  NMIS:        0x11_2000,
  /** CR4, SS, RSP, RFLAGS, CS, RIP of the loop, u64 each. */
  ENTRY:       0x11_2100,
  /** The stack below it is that of interrupt handlers, which the last quarter of the page is for. */
  STACK:       0x11_2c00,
  USER_STACK:  0x11_3000,
  /** Memory operands of list and XSAVE forms. */
  OPERANDS:    0x11_3000,
  DIRTY_END:   0x11_4000,
  /** In a case with a guest's guest the dirty part goes on: VMCS fields to be written, 16 bytes each. */
  FIELDS:      0x11_4000,
  /** What the guest hypervisor does on an exit, u64; end of its records of exits, u32; it is at a loss, u32. */
  ON_EXIT:     0x11_4f00,
  EXITS_END:   0x11_4f08,
  LOST:        0x11_4f0c,
  /** Exits from the guest's guest, in their order. */
  EXITS:       0x11_5000,
  /** MSR lists of the guest hypervisor, 1 KiB each; the rest of the page is its stack. */
  ENTRY_LOAD:  0x11_6000,
  EXIT_STORE:  0x11_6400,
  EXIT_LOAD:   0x11_6800,
  ROOT_STACK:  0x11_6ff0,
  MSR_BITMAP:  0x11_7000,
  VMCS:        0x11_8000,
  NESTED_END:  0x11_9000,
} as const;

const MEGABYTE = 1 << 20;
/** Bytes of a machine for it: what is larger is collected sooner, with all there is, when it is not used any more. */
export const CHAMBER_MEMORY = {
  ...{ hostMemory: 2 * MEGABYTE, guestsMemory: 2 * MEGABYTE, engineMemory: 4 * MEGABYTE },
} as const;

/** LVTPC of the local APIC, as the guest maps it, and what delivers an NMI. */
export const APIC = { LVTPC: 0xfee0_0340, PAGE: 0xfee0_0000, NMI: 0x400 } as const;

export const STEP_SIZE = 32;
export const MOST_STEPS = 100;
/** A record of an exit. Where VMWRITE, VMLAUNCH or VMRESUME has failed, REASON is the VM-instruction error and VM_FAIL is 1. */
export const RECORD = {
  REASON: 0,
  VM_FAIL: 4,
  QUALIFICATION: 8,
  LENGTH: 16,
  RDI: 20,
  RIP: 24,
} as const;
export const EXIT_SIZE = 32;
export const FIELD_SIZE = 16;

/** The guest tells by this port that it stands before the first step; the snapshot is taken there. */
export const READY_PORT = 0xea;
/** Steps of the host. */
export const HOST_PORT = 0xeb;
