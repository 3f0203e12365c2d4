import type { Mode } from './image.ts';
import { LAYOUT } from './layout.ts';

/** VMCS fields as the guest hypervisor encodes them. Vol. 3, appendix "Field Encoding in VMCS". */
// biome-ignore format: a table
export const FIELD = {
  MSR_BITMAP_ADDRESS: 0x2004,  VM_EXIT_MSR_STORE_ADDRESS: 0x2006,  VM_EXIT_MSR_LOAD_ADDRESS: 0x2008,
  VM_ENTRY_MSR_LOAD_ADDRESS: 0x200a,  VMCS_LINK_POINTER: 0x2800,
  GUEST_IA32_PERF_GLOBAL_CTRL: 0x2808,  HOST_IA32_PERF_GLOBAL_CTRL: 0x2c04,
  PIN_BASED_CONTROLS: 0x4000,  PRIMARY_CONTROLS: 0x4002,  VM_EXIT_CONTROLS: 0x400c,
  VM_EXIT_MSR_STORE_COUNT: 0x400e,  VM_EXIT_MSR_LOAD_COUNT: 0x4010,  VM_ENTRY_CONTROLS: 0x4012,
  VM_ENTRY_MSR_LOAD_COUNT: 0x4014,  VM_ENTRY_INTERRUPTION_INFORMATION: 0x4016,
  VM_ENTRY_EXCEPTION_ERROR_CODE: 0x4018,
  VM_INSTRUCTION_ERROR: 0x4400,  EXIT_REASON: 0x4402,  VM_EXIT_INSTRUCTION_LENGTH: 0x440c,
  EXIT_QUALIFICATION: 0x6400,  GUEST_RIP: 0x681e,
} as const;

/** Controls that must be 1, and those that every case has: HLT exits; both sides are 64-bit code. */
export const CONTROLS = {
  PIN: 0x16,
  PRIMARY: 0x0401_e172 | 0x80,
  EXIT: 0x3_6dff | 0x200,
  ENTRY: 0x11ff | 0x200,
  USE_MSR_BITMAPS: 1 << 28,
  RDPMC_EXITING: 1 << 11,
  NMI_EXITING: 1 << 3,
  ENTRY_LOADS_GLOBAL_CTRL: 1 << 13,
  EXIT_LOADS_GLOBAL_CTRL: 1 << 12,
  EXIT_SAVES_GLOBAL_CTRL: 1 << 30,
} as const;

/** Ends a table of fields. */
export const NO_FIELD = 0xffff_ffff;

const SEGMENTS = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS', 'LDTR', 'TR'] as const;
const UNUSABLE = { selector: 0, base: 0, limit: 0, rights: 0x1_0000 } as const;

/** Registers that the guest hypervisor and its guest share. */
export interface RootState {
  readonly cr0: bigint;
  readonly cr3: bigint;
  readonly cr4: bigint;
  readonly rip: number;
}

/** The fields that no case changes: the guest is the loop of steps at the privilege level of the mode. */
export function nestedFields(
  { cpl, pce }: Mode,
  parts: {
    readonly root: RootState;
    readonly begin: number;
    readonly rflags: bigint;
    readonly codeSelector: (cpl: number) => number;
    readonly tss: number;
    readonly gdtLimit: number;
  },
): readonly (readonly [field: number, value: bigint])[] {
  const { root, codeSelector, tss, gdtLimit } = parts;
  const flat = (selector: number, rights: number) => ({
    ...{ selector: selector | cpl, base: 0, limit: 0xffff_ffff },
    rights: rights | (cpl << 5),
  });
  const segments: Readonly<Partial<Record<(typeof SEGMENTS)[number], typeof UNUSABLE | object>>> = {
    CS: flat(codeSelector(cpl), 0xa09b),
    SS: flat(codeSelector(cpl) + 8, 0xc093),
    TR: { selector: tss, base: LAYOUT.TSS, limit: 0x67, rights: 0x8b },
  };
  const segmentFields = SEGMENTS.flatMap((name, at) => {
    const { selector, base, limit, rights } = { ...UNUSABLE, ...segments[name] };
    return [
      [0x0800 + 2 * at, selector],
      [0x6806 + 2 * at, base],
      [0x4800 + 2 * at, limit],
      [0x4814 + 2 * at, rights],
    ] as const;
  });
  // biome-ignore format: a table
  const fields: readonly (readonly [number, number | bigint])[] = [
    [FIELD.PIN_BASED_CONTROLS, CONTROLS.PIN],   [FIELD.PRIMARY_CONTROLS, CONTROLS.PRIMARY],
    [FIELD.VM_EXIT_CONTROLS, CONTROLS.EXIT],    [FIELD.VM_ENTRY_CONTROLS, CONTROLS.ENTRY],
    // Exception bitmap, page-fault mask and match, CR3 targets, masks of CR0 and CR4.
    [0x4004, 0], [0x4006, 0], [0x4008, 0], [0x400a, 0], [0x6000, 0], [0x6002, 0],
    [FIELD.MSR_BITMAP_ADDRESS, LAYOUT.MSR_BITMAP],
    [FIELD.VM_ENTRY_MSR_LOAD_ADDRESS, LAYOUT.ENTRY_LOAD],  [FIELD.VM_ENTRY_MSR_LOAD_COUNT, 0],
    [FIELD.VM_EXIT_MSR_STORE_ADDRESS, LAYOUT.EXIT_STORE],  [FIELD.VM_EXIT_MSR_STORE_COUNT, 0],
    [FIELD.VM_EXIT_MSR_LOAD_ADDRESS, LAYOUT.EXIT_LOAD],    [FIELD.VM_EXIT_MSR_LOAD_COUNT, 0],
    [FIELD.VM_ENTRY_INTERRUPTION_INFORMATION, 0],
    [FIELD.VMCS_LINK_POINTER, 0xffff_ffff_ffff_ffffn],
    // DEBUGCTL, interruptibility, activity, pending debug exceptions, SYSENTER.
    [0x2802, 0], [0x4824, 0], [0x4826, 0], [0x6822, 0], [0x482a, 0], [0x6824, 0], [0x6826, 0],
    ...segmentFields,
    // GDTR and IDTR.
    [0x6816, LAYOUT.GDT], [0x4810, gdtLimit], [0x6818, LAYOUT.IDT], [0x4812, 0xfff],
    // CR0, CR3, CR4, DR7, RSP, RIP, RFLAGS.
    [0x6800, root.cr0], [0x6802, root.cr3], [0x6804, root.cr4 | (pce ? CR4_PCE : 0n)], [0x681a, 0x400],
    [0x681c, LAYOUT.USER_STACK], [FIELD.GUEST_RIP, parts.begin], [0x6820, parts.rflags],
    // Host: CR0, CR3, CR4, selectors, bases of FS, GS, TR, GDTR, IDTR, SYSENTER, RSP, RIP.
    [0x6c00, root.cr0], [0x6c02, root.cr3], [0x6c04, root.cr4],
    [0x0c00, 0], [0x0c02, codeSelector(0)], [0x0c04, codeSelector(0) + 8], [0x0c06, 0], [0x0c08, 0], [0x0c0a, 0], [0x0c0c, tss],
    [0x6c06, 0], [0x6c08, 0], [0x6c0a, LAYOUT.TSS], [0x6c0c, LAYOUT.GDT], [0x6c0e, LAYOUT.ROOT_IDT],
    [0x4c00, 0], [0x6c10, 0], [0x6c12, 0], [0x6c14, LAYOUT.ROOT_STACK], [0x6c16, root.rip],
  ];
  return fields.map(([field, value]) => [field, BigInt(value)]);
}

const CR4_PCE = 0x100n;
