import type { VmxShape } from '../../../src/msr/vmx.ts';
import type { Fields } from '../processor.ts';

/** How a processor and its VMCS differ from the valid ones. */
export interface Setting extends Fields {
  readonly shape?: Partial<VmxShape>;
  /** EFER of the processor at VM entry. */
  readonly efer?: bigint;
  /** 64-bit values in memory, by physical address. */
  readonly memory?: Readonly<Record<number, bigint>>;
}

/** A rule, settings that break nothing else before it, and settings that it applies to and that it lets pass. */
export type RuleRow = readonly [
  rule: string,
  fails: readonly Setting[],
  passes: readonly Setting[],
];

const HIGH = 1n << 46n; // first address bit beyond the physical-address width of the test
const HOLE = 0x0000_8000_0000_0000n; // not canonical

// Controls that other settings build on.
const SECONDARY_ON = { PRIMARY_CONTROLS: 0x8400_6172n };
const EPT = { ...SECONDARY_ON, SECONDARY_CONTROLS: 0x2, EPT_POINTER: 0x1_a01en };
const UNRESTRICTED = { ...EPT, SECONDARY_CONTROLS: 0x82 };
const FUNCTIONS = { ...EPT, SECONDARY_CONTROLS: 0x2002 };
const SWITCHING = { ...FUNCTIONS, VM_FUNCTION_CONTROLS: 1n, EPTP_LIST_ADDRESS: 0x3_0000n };
const SHADOWING = {
  ...SECONDARY_ON,
  SECONDARY_CONTROLS: 0x4000,
  VMREAD_BITMAP_ADDRESS: 0x1_6000n,
  VMWRITE_BITMAP_ADDRESS: 0x1_7000n,
};
/** A shadow VMCS of this revision at 12000H. */
const SHADOW_AT_LINK = { memory: { 73728: 0x8000_0012n } };
const TPR = { PRIMARY_CONTROLS: 0x0420_6172, VIRTUAL_APIC_ADDRESS: 0x1_9000n };
const APIC = (secondary: number, more: Fields = {}): Fields => ({
  ...TPR,
  PRIMARY_CONTROLS: 0x8420_6172n,
  SECONDARY_CONTROLS: secondary,
  ...more,
});
const DELIVERY = APIC(0x200, { PIN_BASED_CONTROLS: 0x17 });
const POSTED: Fields = {
  ...DELIVERY,
  PIN_BASED_CONTROLS: 0x97,
  VM_EXIT_CONTROLS: 0x3_effbn,
  POSTED_INTERRUPT_NOTIFICATION_VECTOR: 0xf2,
  POSTED_INTERRUPT_DESCRIPTOR_ADDRESS: 0x3_0040n,
};
const IO_BITMAPS = { PRIMARY_CONTROLS: 0x0600_6172 };
const MSR_BITMAPS = { PRIMARY_CONTROLS: 0x1400_6172 };

const page = (words: string, field: keyof Fields, on: Fields): RuleRow[] => [
  [
    `${words} is 4-KByte aligned`,
    [
      { ...on, [field]: 0x3_0001n },
      { ...on, [field]: 0x3_0800n },
    ],
    [{ ...on, [field]: 0x3_0000n }, { [field]: 0x3_0001n }],
  ],
  [
    `${words} is within the physical-address width`,
    [
      { ...on, [field]: HIGH },
      { ...on, [field]: 1n << 63n },
    ],
    [{ ...on, [field]: HIGH - 0x1000n }, { [field]: HIGH }],
  ],
];

const area = (
  words: string,
  prefix: 'VM_EXIT_MSR_STORE' | 'VM_EXIT_MSR_LOAD' | 'VM_ENTRY_MSR_LOAD',
): RuleRow[] => {
  const at = (address: bigint, count: number) => ({
    [`${prefix}_ADDRESS`]: address,
    [`${prefix}_COUNT`]: count,
  });
  const filled = { memory: { 196608: 0xc1n, 196616: 5n, 196624: 0xc2n, 196632: 6n } };
  return [
    [
      `${words} address is 16-byte aligned`,
      [at(0x3_0008n, 1), at(0x3_0001n, 1)],
      [{ ...at(0x3_0000n, 2), ...filled }, at(0x3_0008n, 0)],
    ],
    [
      `${words} address is within the physical-address width`,
      [at(HIGH, 1)],
      [{ ...at(0x3_0000n, 1), ...filled }, at(HIGH, 0)],
    ],
    [
      `last byte of the ${words} area is within the physical-address width`,
      [at(HIGH - 16n, 2), at(HIGH - 0x1000n, 0x101)],
      [{ ...at(0x3_0000n, 2), ...filled }, at(HIGH - 16n, 0)],
    ],
  ];
};

const inject = (information: bigint, more: Fields = {}) => ({
  VM_ENTRY_INTERRUPTION_INFORMATION: information,
  ...more,
});
const IF = { GUEST_RFLAGS: 0x202n };

// biome-ignore format: a table
export const CONTROL_ROWS: readonly RuleRow[] = [
  ['pin-based controls are allowed by IA32_VMX_TRUE_PINBASED_CTLS', [{ PIN_BASED_CONTROLS: 0x14 }, { PIN_BASED_CONTROLS: 0x116 }, { PIN_BASED_CONTROLS: 0x36 | 1 << 9 }], [{ PIN_BASED_CONTROLS: 0x17 }, { PIN_BASED_CONTROLS: 0x7f }]],
  ['primary processor-based controls are allowed by IA32_VMX_TRUE_PROCBASED_CTLS', [{ PRIMARY_CONTROLS: 0x0400_6170 }, { PRIMARY_CONTROLS: 0x0402_6172 }, { PRIMARY_CONTROLS: 0 }], [{ PRIMARY_CONTROLS: 0x0401_e172 }, { PRIMARY_CONTROLS: 0x0400_6df6 & ~0x400 }]],
  ['secondary processor-based controls are allowed by IA32_VMX_PROCBASED_CTLS2', [{ ...SECONDARY_ON, SECONDARY_CONTROLS: 0x4_0000 }, { ...SECONDARY_ON, SECONDARY_CONTROLS: 0x8000_0000n }], [{ ...SECONDARY_ON, SECONDARY_CONTROLS: 0x8 }, { SECONDARY_CONTROLS: 0x4_0000 }]],
  ['CR3-target count is at most IA32_VMX_MISC[24:16]', [{ CR3_TARGET_COUNT: 5 }, { CR3_TARGET_COUNT: 0xffff_ffffn }], [{ CR3_TARGET_COUNT: 4 }]],
  ...page('I/O-bitmap A address', 'IO_BITMAP_A_ADDRESS', IO_BITMAPS),
  ...page('I/O-bitmap B address', 'IO_BITMAP_B_ADDRESS', IO_BITMAPS),
  ...page('MSR-bitmap address', 'MSR_BITMAP_ADDRESS', MSR_BITMAPS),
  ['virtual-APIC address is 4-KByte aligned', [{ ...TPR, VIRTUAL_APIC_ADDRESS: 0x1_9010n }], [TPR, { VIRTUAL_APIC_ADDRESS: 1n }]],
  ['virtual-APIC address is within the physical-address width', [{ ...TPR, VIRTUAL_APIC_ADDRESS: HIGH }], [{ ...TPR, VIRTUAL_APIC_ADDRESS: HIGH - 0x1000n }]],
  ['TPR threshold bits 31:4 are 0', [{ ...TPR, TPR_THRESHOLD: 0x10 }, { ...TPR, TPR_THRESHOLD: 0x8000_0000n }], [{ ...TPR, TPR_THRESHOLD: 0 }, { TPR_THRESHOLD: 0x10 }, { ...DELIVERY, TPR_THRESHOLD: 0x10 }]],
  ['TPR threshold is at most VTPR[7:4]', [{ ...TPR, TPR_THRESHOLD: 1 }, { ...TPR, TPR_THRESHOLD: 8, memory: { 102528: 0x7fn } }], [{ ...TPR, TPR_THRESHOLD: 7, memory: { 102528: 0x7fn } }, { ...APIC(1), TPR_THRESHOLD: 1 }, { ...DELIVERY, TPR_THRESHOLD: 1 }]],
  ['virtual NMIs need NMI exiting', [{ PIN_BASED_CONTROLS: 0x36 }], [{ PIN_BASED_CONTROLS: 0x3e }]],
  ['NMI-window exiting needs virtual NMIs', [{ PRIMARY_CONTROLS: 0x0440_6172 }, { PRIMARY_CONTROLS: 0x0440_6172, PIN_BASED_CONTROLS: 0x1e }], [{ PRIMARY_CONTROLS: 0x0440_6172, PIN_BASED_CONTROLS: 0x3e }]],
  ...page('APIC-access address', 'APIC_ACCESS_ADDRESS', APIC(1)),
  ['virtualized x2APIC mode needs the TPR shadow', [{ ...SECONDARY_ON, SECONDARY_CONTROLS: 0x10 }], [APIC(0x10), TPR]],
  ['APIC-register virtualization needs the TPR shadow', [{ ...SECONDARY_ON, SECONDARY_CONTROLS: 0x100 }], [APIC(0x100)]],
  ['virtual-interrupt delivery needs the TPR shadow', [{ ...SECONDARY_ON, SECONDARY_CONTROLS: 0x200, PIN_BASED_CONTROLS: 0x17 }], [DELIVERY]],
  ['virtualized x2APIC mode excludes virtualized APIC accesses', [APIC(0x11)], [APIC(0x10), APIC(1)]],
  ['virtual-interrupt delivery needs external-interrupt exiting', [APIC(0x200)], [DELIVERY]],
  ['posted interrupts need virtual-interrupt delivery', [{ ...POSTED, SECONDARY_CONTROLS: 0 }], [POSTED]],
  ['posted interrupts need interrupts acknowledged on exit', [{ ...POSTED, VM_EXIT_CONTROLS: 0x3_6ffbn }], [POSTED, DELIVERY]],
  ['posted-interrupt notification vector bits 15:8 are 0', [{ ...POSTED, POSTED_INTERRUPT_NOTIFICATION_VECTOR: 0x1f2 }], [POSTED, { ...DELIVERY, POSTED_INTERRUPT_NOTIFICATION_VECTOR: 0x1f2 }]],
  ['posted-interrupt descriptor is 64-byte aligned', [{ ...POSTED, POSTED_INTERRUPT_DESCRIPTOR_ADDRESS: 0x3_0020n }], [POSTED, { ...DELIVERY, POSTED_INTERRUPT_DESCRIPTOR_ADDRESS: 1n }]],
  ['posted-interrupt descriptor is within the physical-address width', [{ ...POSTED, POSTED_INTERRUPT_DESCRIPTOR_ADDRESS: HIGH }], [{ ...POSTED, POSTED_INTERRUPT_DESCRIPTOR_ADDRESS: HIGH - 64n }]],
  ['VPID is not 0000H', [{ ...SECONDARY_ON, SECONDARY_CONTROLS: 0x20 }], [{ ...SECONDARY_ON, SECONDARY_CONTROLS: 0x20, VIRTUAL_PROCESSOR_IDENTIFIER: 1 }, { VIRTUAL_PROCESSOR_IDENTIFIER: 0 }]],
  ['EPTP has a supported memory type', [{ ...EPT, EPT_POINTER: 0x1_a019n }, { ...EPT, EPT_POINTER: 0x1_a01fn }], [EPT, { ...EPT, EPT_POINTER: 0x1_a018n }, { EPT_POINTER: 0x1n }]],
  ['EPTP has a page-walk length of 4', [{ ...EPT, EPT_POINTER: 0x1_a016n }, { ...EPT, EPT_POINTER: 0x1_a026n }, { ...EPT, EPT_POINTER: 0x1_a006n }], [EPT]],
  ['EPTP bit 6 needs accessed and dirty flags for EPT', [{ ...EPT, EPT_POINTER: 0x1_a05en, shape: { eptVpid: 0x4141n } }], [{ ...EPT, EPT_POINTER: 0x1_a05en }]],
  ['EPTP bits 11:7 are 0', [{ ...EPT, EPT_POINTER: 0x1_a09en }, { ...EPT, EPT_POINTER: 0x1_a81en }], [EPT]],
  ['EPTP is within the physical-address width', [{ ...EPT, EPT_POINTER: HIGH | 0x1en }], [{ ...EPT, EPT_POINTER: (HIGH - 0x1000n) | 0x1en }]],
  ['PML needs EPT', [{ ...SECONDARY_ON, SECONDARY_CONTROLS: 0x2_0000, PML_ADDRESS: 0x3_0000n }], [{ ...EPT, SECONDARY_CONTROLS: 0x2_0002, PML_ADDRESS: 0x3_0000n }]],
  ...page('PML address', 'PML_ADDRESS', { ...EPT, SECONDARY_CONTROLS: 0x2_0002 }),
  ['unrestricted guest needs EPT', [{ ...UNRESTRICTED, SECONDARY_CONTROLS: 0x80 }], [UNRESTRICTED]],
  ['VM-function controls are allowed by IA32_VMX_VMFUNC', [{ ...FUNCTIONS, VM_FUNCTION_CONTROLS: 2n }, { ...FUNCTIONS, VM_FUNCTION_CONTROLS: 1n << 63n }], [FUNCTIONS, SWITCHING]],
  ['EPTP switching needs EPT', [{ ...SWITCHING, SECONDARY_CONTROLS: 0x2000 }], [SWITCHING]],
  ['EPTP-list address is 4-KByte aligned', [{ ...SWITCHING, EPTP_LIST_ADDRESS: 0x3_0008n }], [SWITCHING, { ...FUNCTIONS, EPTP_LIST_ADDRESS: 1n }]],
  ['EPTP-list address is within the physical-address width', [{ ...SWITCHING, EPTP_LIST_ADDRESS: HIGH }], [{ ...SWITCHING, EPTP_LIST_ADDRESS: HIGH - 0x1000n }]],
  ['VMREAD-bitmap address is 4-KByte aligned', [{ ...SHADOWING, VMREAD_BITMAP_ADDRESS: 8n }], [SHADOWING, { VMREAD_BITMAP_ADDRESS: 8n }]],
  ['VMREAD-bitmap address is within the physical-address width', [{ ...SHADOWING, VMREAD_BITMAP_ADDRESS: HIGH }], [{ ...SHADOWING, VMREAD_BITMAP_ADDRESS: HIGH - 0x1000n }]],
  ['VMWRITE-bitmap address is 4-KByte aligned', [{ ...SHADOWING, VMWRITE_BITMAP_ADDRESS: 0x800n }], [SHADOWING, { VMWRITE_BITMAP_ADDRESS: 8n }]],
  ['VMWRITE-bitmap address is within the physical-address width', [{ ...SHADOWING, VMWRITE_BITMAP_ADDRESS: HIGH }], [{ ...SHADOWING, VMWRITE_BITMAP_ADDRESS: HIGH - 0x1000n }]],
  ['TSC multiplier is not 0', [{ ...SECONDARY_ON, SECONDARY_CONTROLS: 0x0200_0000 }], [{ ...SECONDARY_ON, SECONDARY_CONTROLS: 0x0200_0000, TSC_MULTIPLIER: 1n }]],
  ['VM-exit controls are allowed by IA32_VMX_TRUE_EXIT_CTLS', [{ VM_EXIT_CONTROLS: 0x200 }, { VM_EXIT_CONTROLS: 0x0083_6ffb }], [{ VM_EXIT_CONTROLS: 0x4003_7fff }]],
  ['saving the VMX-preemption timer needs the timer', [{ VM_EXIT_CONTROLS: 0x0043_6ffb }], [{ VM_EXIT_CONTROLS: 0x0043_6ffb, PIN_BASED_CONTROLS: 0x56 }]],
  ...area('VM-exit MSR-store', 'VM_EXIT_MSR_STORE'),
  ...area('VM-exit MSR-load', 'VM_EXIT_MSR_LOAD'),
  ['VM-entry controls are allowed by IA32_VMX_TRUE_ENTRY_CTLS', [{ VM_ENTRY_CONTROLS: 0x200 }, { VM_ENTRY_CONTROLS: 0x0001_13fb }, { VM_ENTRY_CONTROLS: 0x0020_13fb }], [{ VM_ENTRY_CONTROLS: 0x33ff }]],
  ['interruption type is not the reserved value 1', [inject(0x8000_0120n)], [inject(0x0000_0120n), inject(0x8000_0020n, IF)]],
  ['interruption type 7 needs the monitor trap flag', [inject(0x8000_0700n, { shape: { primary: 0x0400_6172 } } as Setting)], [inject(0x8000_0700n)]],
  ['an NMI has vector 2', [inject(0x8000_0203n), inject(0x8000_0200n)], [inject(0x8000_0202n)]],
  ['a hardware exception has a vector of at most 31', [inject(0x8000_0320n), inject(0x8000_03ffn)], [inject(0x8000_031fn)]],
  ['an other event has vector 0', [inject(0x8000_0701n)], [inject(0x8000_0700n)]],
  ['an error code is delivered exactly with exceptions that have one',
    [inject(0x8000_0820n), inject(0x8000_0a02n), inject(0x8000_0e03n), { ...inject(0x8000_030dn), shape: { anyErrorCode: false } }, { ...inject(0x8000_0b06n), shape: { anyErrorCode: false } }, { ...UNRESTRICTED, ...inject(0x8000_0b0dn), GUEST_CR0: 0x20n }],
    [inject(0x8000_0b0dn), inject(0x8000_030dn), inject(0x8000_0b06n), { ...inject(0x8000_0b0dn), shape: { anyErrorCode: false } }, { ...inject(0x8000_0306n), shape: { anyErrorCode: false } }]],
  ['interruption-information bits 30:12 are 0', [inject(0x8000_1202n), inject(0xc000_0202n)], [inject(0x7fff_f202n)]],
  ['VM-entry exception error code bits 31:16 are 0', [inject(0x8000_0b0dn, { VM_ENTRY_EXCEPTION_ERROR_CODE: 0x1_0000 })], [inject(0x8000_0b0dn, { VM_ENTRY_EXCEPTION_ERROR_CODE: 0xffff }), inject(0x8000_0306n, { VM_ENTRY_EXCEPTION_ERROR_CODE: 0x1_0000 })]],
  ['VM-entry instruction length is at most 15', [inject(0x8000_0480n, { VM_ENTRY_INSTRUCTION_LENGTH: 16 }), inject(0x8000_0603n, { VM_ENTRY_INSTRUCTION_LENGTH: 0xffff_ffffn }), inject(0x8000_0501n, { VM_ENTRY_INSTRUCTION_LENGTH: 17 })], [inject(0x8000_0480n, { VM_ENTRY_INSTRUCTION_LENGTH: 15 }), inject(0x8000_0202n, { VM_ENTRY_INSTRUCTION_LENGTH: 16 })]],
  ['VM-entry instruction length 0 needs IA32_VMX_MISC[30]', [{ ...inject(0x8000_0480n), shape: { misc: 0x0004_01e5n } }], [inject(0x8000_0480n)]],
  ...area('VM-entry MSR-load', 'VM_ENTRY_MSR_LOAD'),
  ['entry to SMM is 0 outside SMM', [{ VM_ENTRY_CONTROLS: 0x17fb }], [{}]],
  ['deactivate dual-monitor treatment is 0 outside SMM', [{ VM_ENTRY_CONTROLS: 0x1bfb }], [{}]],
];

const HOST_PAT = { VM_EXIT_CONTROLS: 0x000b_6ffb };
const HOST_EFER = { VM_EXIT_CONTROLS: 0x0023_6ffb };
const HOST_GLOBAL = { VM_EXIT_CONTROLS: 0x0003_7ffb };
const selectors = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS', 'TR'] as const;

/** A legacy processor: VMLAUNCH outside IA-32e mode, a 32-bit host and guest. */
// biome-ignore format: a table
export const LEGACY: Setting = {
  efer: 0n,  VM_EXIT_CONTROLS: 0x0003_6dfb,  VM_ENTRY_CONTROLS: 0x0000_11fb,
  HOST_CR4: 0x2000n,  GUEST_CR4: 0x2000n,  GUEST_CS_ACCESS_RIGHTS: 0xc09b,
};

// biome-ignore format: a table
export const HOST_ROWS: readonly RuleRow[] = [
  ['host CR0 sets the bits fixed to 1', [{ HOST_CR0: 0x8000_0013n }, { HOST_CR0: 0x33n }, { HOST_CR0: 0x8000_0032n }], [{ HOST_CR0: 0x8000_0021n }]],
  ['host CR0 clears the bits fixed to 0', [{ HOST_CR0: 0x1_8000_0033n }], [{ HOST_CR0: 0xffff_ffffn }]],
  ['host CR4 sets the bits fixed to 1', [{ HOST_CR4: 0x20n }], [{ HOST_CR4: 0x2020n }]],
  ['host CR4 clears the bits fixed to 0', [{ HOST_CR4: 0x80_2020n }, { HOST_CR4: 0xa020n }], [{ HOST_CR4: 0x37_27ffn }]],
  ['host CR3 is within the physical-address width', [{ HOST_CR3: HIGH }, { HOST_CR3: 1n << 63n }], [{ HOST_CR3: HIGH - 1n }]],
  ['host IA32_SYSENTER_ESP is canonical', [{ HOST_IA32_SYSENTER_ESP: HOLE }], [{ HOST_IA32_SYSENTER_ESP: 0xffff_8000_0000_0000n }]],
  ['host IA32_SYSENTER_EIP is canonical', [{ HOST_IA32_SYSENTER_EIP: HOLE }], [{ HOST_IA32_SYSENTER_EIP: 0x7fff_ffff_ffffn }]],
  ['host IA32_PERF_GLOBAL_CTRL has its reserved bits 0', [{ ...HOST_GLOBAL, HOST_IA32_PERF_GLOBAL_CTRL: 0x10n }, { ...HOST_GLOBAL, HOST_IA32_PERF_GLOBAL_CTRL: 1n << 48n }], [{ ...HOST_GLOBAL, HOST_IA32_PERF_GLOBAL_CTRL: 0x7_0000_000fn }, { HOST_IA32_PERF_GLOBAL_CTRL: 0x10n }]],
  ['host IA32_PAT holds memory types', [{ ...HOST_PAT, HOST_IA32_PAT: 0x0007_0406_0007_0402n }, { ...HOST_PAT, HOST_IA32_PAT: 0x0800_0000_0000_0000n }, { ...HOST_PAT, HOST_IA32_PAT: 0x0300n }], [{ ...HOST_PAT, HOST_IA32_PAT: 0x0007_0406_0107_0506n }, { HOST_IA32_PAT: 2n }]],
  ['host IA32_EFER has its reserved bits 0', [{ ...HOST_EFER, HOST_IA32_EFER: 0x502n }, { ...HOST_EFER, HOST_IA32_EFER: 0x1500n }], [{ ...HOST_EFER, HOST_IA32_EFER: 0xd01n }, { HOST_IA32_EFER: 2n }]],
  ['host IA32_EFER.LMA is the host address-space size', [{ ...HOST_EFER, HOST_IA32_EFER: 0x100n }], [{ ...HOST_EFER, HOST_IA32_EFER: 0x500n }]],
  ['host IA32_EFER.LME is the host address-space size', [{ ...HOST_EFER, HOST_IA32_EFER: 0x400n }], [{ ...HOST_EFER, HOST_IA32_EFER: 0x500n }]],
  ...selectors.flatMap((name): RuleRow[] => [
    [`host ${name} selector has RPL 0`, [1, 2, 3].map((rpl) => ({ [`HOST_${name}_SELECTOR`]: 0x10 | rpl })), [{ [`HOST_${name}_SELECTOR`]: 0xfff8 }]],
    [`host ${name} selector has TI 0`, [{ [`HOST_${name}_SELECTOR`]: 0x14 }], [{ [`HOST_${name}_SELECTOR`]: 0x20 }]],
  ]),
  ['host CS selector is not null', [{ HOST_CS_SELECTOR: 0 }], [{ HOST_CS_SELECTOR: 0x20 }]],
  ['host TR selector is not null', [{ HOST_TR_SELECTOR: 0 }], [{ HOST_TR_SELECTOR: 0x20 }]],
  ['host SS selector is not null with a 32-bit host', [{ ...LEGACY, HOST_SS_SELECTOR: 0 }], [LEGACY, { HOST_SS_SELECTOR: 0 }]],
  ...['FS', 'GS', 'TR', 'GDTR', 'IDTR'].map((name): RuleRow => [`host ${name} base is canonical`, [{ [`HOST_${name}_BASE`]: HOLE }, { [`HOST_${name}_BASE`]: 0x8000_0000_0000_0000n }], [{ [`HOST_${name}_BASE`]: 0xffff_ffff_ffff_fff0n }]]),
  ['outside IA-32e mode the guest is no IA-32e mode guest', [{ efer: 0n }, { ...LEGACY, VM_ENTRY_CONTROLS: 0x13fb }], [LEGACY]],
  ['outside IA-32e mode the host address-space size is 0', [{ efer: 0x900n, VM_ENTRY_CONTROLS: 0x11fb }], [LEGACY]],
  ['in IA-32e mode the host address-space size is 1', [{ VM_EXIT_CONTROLS: 0x0003_6dfb }], [{ VM_EXIT_CONTROLS: 0x0003_6ffb }]],
  ['a 32-bit host has CR4.PCIDE 0', [{ ...LEGACY, HOST_CR4: 0x2_2000n }], [{ HOST_CR4: 0x2_2020n }]],
  ['a 32-bit host has RIP bits 63:32 0', [{ ...LEGACY, HOST_RIP: 0x1_0000_0000n }], [{ ...LEGACY, HOST_RIP: 0xffff_ffffn }, { HOST_RIP: 0x1_0000_0000n }]],
  ['a 64-bit host has CR4.PAE 1', [{ HOST_CR4: 0x2000n }], [{ HOST_CR4: 0x2020n }]],
  ['a 64-bit host has a canonical RIP', [{ HOST_RIP: HOLE }], [{ HOST_RIP: 0xffff_8000_0000_0000n }]],
];

/** Rules that earlier ones always outrank: with a 32-bit host in IA-32e mode, "in IA-32e mode …" speaks first. */
export const OUTRANKED: readonly string[] = ['a 32-bit host has no IA-32e mode guest'];

const GUEST_PAT = { VM_ENTRY_CONTROLS: 0x53fb };
const GUEST_EFER = { VM_ENTRY_CONTROLS: 0x93fb };
const GUEST_GLOBAL = { VM_ENTRY_CONTROLS: 0x33fb };
const DEBUG = { VM_ENTRY_CONTROLS: 0x13ff };
/** A processor that loads IA32_LBR_CTL, asked to. */
const LBR = { shape: { entry: 0x20_fe04, exit: 0x4478_f204 }, VM_ENTRY_CONTROLS: 0x20_13fb };
/** A 32-bit guest under a 64-bit host. */
const GUEST_32 = { VM_ENTRY_CONTROLS: 0x11fb, GUEST_CR4: 0x2000n, GUEST_CS_ACCESS_RIGHTS: 0xc09b };
/** A guest in real-address mode. */
// biome-ignore format: a table
const REAL = {
  ...UNRESTRICTED,  VM_ENTRY_CONTROLS: 0x11fb,  GUEST_CR0: 0x20n,  GUEST_CR4: 0x2000n,
  GUEST_CS_ACCESS_RIGHTS: 0x9b,  GUEST_CS_LIMIT: 0xffff,  GUEST_RFLAGS: 2n,
};

const CODE_AND_DATA = ['CS', 'SS', 'DS', 'ES', 'FS', 'GS'] as const;
const DATA = ['DS', 'ES', 'FS', 'GS'] as const;
type Name = (typeof CODE_AND_DATA)[number] | 'TR' | 'LDTR';
const rights = (name: Name, value: number) => ({ [`GUEST_${name}_ACCESS_RIGHTS`]: value });
const selector = (name: Name, value: number) => ({ [`GUEST_${name}_SELECTOR`]: value });
const base = (name: Name, value: bigint) => ({ [`GUEST_${name}_BASE`]: value });
const limit = (name: Name, value: number) => ({ [`GUEST_${name}_LIMIT`]: value });
const UNUSABLE = 0x1_0000;

/** A guest in virtual-8086 mode. */
const VIRTUAL_8086: Setting = {
  ...GUEST_32,
  GUEST_RFLAGS: 0x2_0202n,
  ...Object.assign(
    {},
    ...CODE_AND_DATA.map((name, i) => ({
      ...selector(name, 0x1000 + i),
      ...base(name, BigInt(0x1000 + i) << 4n),
      ...limit(name, 0xffff),
      ...rights(name, 0xf3),
    })),
  ),
};

/** Rights of a valid segment: 64-bit code for CS, a flat data segment for the others. */
const valid = (name: (typeof CODE_AND_DATA)[number]) => (name === 'CS' ? 0xa09b : 0xc093);
const unusable = (name: Name): Setting[] =>
  name === 'CS' || name === 'TR' ? [] : [rights(name, UNUSABLE)];

const each = <N extends Name>(names: readonly N[], row: (name: N) => RuleRow): RuleRow[] =>
  names.map(row);

// biome-ignore format: a table
export const REGISTER_ROWS: readonly RuleRow[] = [
  ['guest CR0 sets the bits fixed to 1', [{ GUEST_CR0: 0x8000_0011n }, { GUEST_CR0: 0x20n }, { ...REAL, GUEST_CR0: 0n }], [{ GUEST_CR0: 0x8000_0021n }, REAL, { ...GUEST_32, ...UNRESTRICTED, GUEST_CR0: 0x21n }]],
  ['guest CR0 clears the bits fixed to 0', [{ GUEST_CR0: 0x1_8000_0031n }], [{ GUEST_CR0: 0xffff_ffffn }]],
  ['guest CR0.PG needs CR0.PE', [{ ...REAL, GUEST_CR0: 0x8000_0020n }], [REAL]],
  ['guest CR4 sets the bits fixed to 1', [{ GUEST_CR4: 0x20n }], [{ GUEST_CR4: 0x2020n }]],
  ['guest CR4 clears the bits fixed to 0', [{ GUEST_CR4: 0xa020n }, { GUEST_CR4: 1n << 40n | 0x2020n }], [{ GUEST_CR4: 0x37_27ffn }]],
  ['guest IA32_DEBUGCTL has its reserved bits 0', [{ ...DEBUG, GUEST_IA32_DEBUGCTL: 4n }, { ...DEBUG, GUEST_IA32_DEBUGCTL: 1n << 32n }], [{ ...DEBUG, GUEST_IA32_DEBUGCTL: 0x1802n }, { GUEST_IA32_DEBUGCTL: 4n }]],
  ['an IA-32e mode guest has CR0.PG 1', [{ ...UNRESTRICTED, GUEST_CR0: 0x21n }], [UNRESTRICTED]],
  ['an IA-32e mode guest has CR4.PAE 1', [{ GUEST_CR4: 0x2000n }], [{}, GUEST_32]],
  ['a guest outside IA-32e mode has CR4.PCIDE 0', [{ ...GUEST_32, GUEST_CR4: 0x2_2000n }], [{ GUEST_CR4: 0x2_2020n }]],
  ['guest CR3 is within the physical-address width', [{ GUEST_CR3: HIGH }], [{ GUEST_CR3: HIGH - 1n }]],
  ['guest DR7 bits 63:32 are 0', [{ ...DEBUG, GUEST_DR7: 0x1_0000_0400n }], [{ ...DEBUG, GUEST_DR7: 0xffff_ffffn }, { GUEST_DR7: 0x1_0000_0400n }]],
  ['guest IA32_SYSENTER_ESP is canonical', [{ GUEST_IA32_SYSENTER_ESP: HOLE }], [{ GUEST_IA32_SYSENTER_ESP: 0xffff_8000_0000_0000n }]],
  ['guest IA32_SYSENTER_EIP is canonical', [{ GUEST_IA32_SYSENTER_EIP: HOLE }], [{ GUEST_IA32_SYSENTER_EIP: 0x7fff_ffff_ffffn }]],
  ['guest IA32_PERF_GLOBAL_CTRL has its reserved bits 0', [{ ...GUEST_GLOBAL, GUEST_IA32_PERF_GLOBAL_CTRL: 1n << 4n }, { ...GUEST_GLOBAL, GUEST_IA32_PERF_GLOBAL_CTRL: 1n << 35n }], [{ ...GUEST_GLOBAL, GUEST_IA32_PERF_GLOBAL_CTRL: 0x7_0000_000fn }, { GUEST_IA32_PERF_GLOBAL_CTRL: 1n << 35n }]],
  ['guest IA32_PAT holds memory types', [{ ...GUEST_PAT, GUEST_IA32_PAT: 2n }, { ...GUEST_PAT, GUEST_IA32_PAT: 3n << 56n }, { ...GUEST_PAT, GUEST_IA32_PAT: 0x10n }], [{ ...GUEST_PAT, GUEST_IA32_PAT: 0x0706_0504_0100_0607n }, { GUEST_IA32_PAT: 2n }]],
  ['guest IA32_EFER has its reserved bits 0', [{ ...GUEST_EFER, GUEST_IA32_EFER: 0x2500n }, { ...GUEST_EFER, GUEST_IA32_EFER: 0x510n }], [{ ...GUEST_EFER, GUEST_IA32_EFER: 0xd01n }, { GUEST_IA32_EFER: 0x10n }]],
  ['guest IA32_EFER.LMA is IA-32e mode guest', [{ ...GUEST_EFER, GUEST_IA32_EFER: 0x100n }, { ...GUEST_32, VM_ENTRY_CONTROLS: 0x91fb, GUEST_IA32_EFER: 0x500n }], [{ ...GUEST_EFER, GUEST_IA32_EFER: 0x500n }, { ...GUEST_32, VM_ENTRY_CONTROLS: 0x91fb, GUEST_IA32_EFER: 0x801n }]],
  ['guest IA32_EFER.LMA is LME with paging', [{ ...GUEST_EFER, GUEST_IA32_EFER: 0x400n }, { ...GUEST_32, VM_ENTRY_CONTROLS: 0x91fb, GUEST_IA32_EFER: 0x100n }], [{ ...GUEST_EFER, GUEST_IA32_EFER: 0x500n }, { ...REAL, VM_ENTRY_CONTROLS: 0x91fb, GUEST_IA32_EFER: 0x100n }]],
  ['guest IA32_LBR_CTL has its reserved bits 0', [{ ...LBR, GUEST_IA32_LBR_CTL: 0x10n }, { ...LBR, GUEST_IA32_LBR_CTL: 1n << 23n }], [{ ...LBR, GUEST_IA32_LBR_CTL: 0x7f_000fn }, { shape: LBR.shape, GUEST_IA32_LBR_CTL: 0x10n }]],
];

// biome-ignore format: a table
export const SEGMENT_ROWS: readonly RuleRow[] = [
  ['guest TR selector has TI 0', [selector('TR', 0x1c)], [selector('TR', 0x1b)]],
  ['guest LDTR selector has TI 0', [selector('LDTR', 4)], [{ ...selector('LDTR', 4), ...rights('LDTR', UNUSABLE) }, selector('LDTR', 0x20)]],
  ['guest SS selector has the RPL of CS', [selector('CS', 0x0b), selector('SS', 0x11)], [{ ...selector('CS', 0x0b), ...UNRESTRICTED }, VIRTUAL_8086]],
  ...each(CODE_AND_DATA, (name) => [`guest ${name} base is its selector times 16 in virtual-8086 mode`, [{ ...VIRTUAL_8086, ...base(name, 0x10n) }], [VIRTUAL_8086, base(name, 0x10n)]]),
  ...each(['TR', 'FS', 'GS'], (name) => [`guest ${name} base is canonical`, [base(name, HOLE)], [base(name, 0xffff_8000_0000_0000n)]]),
  ['guest LDTR base is canonical', [base('LDTR', HOLE)], [{ ...base('LDTR', HOLE), ...rights('LDTR', UNUSABLE) }, base('LDTR', 0x7fff_ffff_ffffn)]],
  ['guest CS base bits 63:32 are 0', [base('CS', 1n << 32n)], [base('CS', 0xffff_ffffn)]],
  ...each(['SS', 'DS', 'ES'], (name) => [`guest ${name} base bits 63:32 are 0`, [base(name, 1n << 32n)], [base(name, 0xffff_ffffn), { ...base(name, 1n << 32n), ...rights(name, UNUSABLE) }]]),
  ...each(CODE_AND_DATA, (name) => [`guest ${name} limit is FFFFH in virtual-8086 mode`, [{ ...VIRTUAL_8086, ...limit(name, 0x1_ffff) }], [VIRTUAL_8086]]),
  ...each(CODE_AND_DATA, (name) => [`guest ${name} access rights are F3H in virtual-8086 mode`, [{ ...VIRTUAL_8086, ...rights(name, 0x93) }, { ...VIRTUAL_8086, ...rights(name, 0x1_00f3) }], [VIRTUAL_8086]]),
  ['guest CS type is accessed code, or 3 of an unrestricted guest', [rights('CS', 0xa09a), rights('CS', 0xa093), rights('CS', 0xa098), { ...REAL, ...rights('CS', 0x91) }], [rights('CS', 0xa099), rights('CS', 0xa09f), { ...REAL, ...rights('CS', 0x93) }]],
  ['guest SS type is 3 or 7', [rights('SS', 0xc092), rights('SS', 0xc091), rights('SS', 0xc09b)], [rights('SS', 0xc097), ...unusable('SS')]],
  ...each(DATA, (name) => [`guest ${name} type is accessed`, [rights(name, 0xc092), rights(name, 0xc09a)], [rights(name, 0xc091), ...unusable(name)]]),
  ...each(DATA, (name) => [`guest ${name} type is readable if it is code`, [rights(name, 0xc099), rights(name, 0xc09d)], [rights(name, 0xc09b), rights(name, 0xc091)]]),
  ...each(CODE_AND_DATA, (name) => [`guest ${name} has S 1`, [rights(name, valid(name) & ~0x10)], unusable(name).concat(rights(name, valid(name)))]),
  ['guest CS DPL fits its type and SS DPL', [rights('CS', 0xa0fb), rights('CS', 0xa0ff), { ...REAL, ...rights('CS', 0xb3) }], [rights('CS', 0xa09f), { ...rights('CS', 0xa09d), ...rights('SS', 0xc0f3), ...selector('SS', 0x13), ...selector('CS', 0x0b) }, { ...rights('CS', 0xa0fb), ...rights('SS', 0xc0f3), ...selector('SS', 0x13), ...selector('CS', 0x0b) }]],
  ['guest SS DPL is its RPL', [{ ...rights('CS', 0xa0fb), ...rights('SS', 0xc0f3) }], [{ ...UNRESTRICTED, ...rights('CS', 0xa0fb), ...rights('SS', 0xc0f3) }]],
  ['guest SS DPL is 0 if CS type is 3 or CR0.PE is 0', [{ ...REAL, ...rights('CS', 0xfb), ...rights('SS', 0xc0f3) }, { ...REAL, GUEST_CR0: 0x21n, ...rights('CS', 0x93), ...rights('SS', 0xc0f3) }], [REAL, { ...REAL, ...rights('CS', 0x93) }]],
  ...each(DATA, (name) => [`guest ${name} DPL is at least its RPL`, [selector(name, 0x13), { ...selector(name, 0x12), ...rights(name, 0xc0b3) }, { ...selector(name, 0x11), ...rights(name, 0xc09b) }], [{ ...selector(name, 0x13), ...rights(name, 0xc0f3) }, { ...selector(name, 0x13), ...UNRESTRICTED }, { ...selector(name, 0x13), ...rights(name, 0xc09f) }, { ...selector(name, 0x13), ...rights(name, UNUSABLE) }]]),
  ...each(CODE_AND_DATA, (name) => [`guest ${name} has P 1`, [rights(name, valid(name) & ~0x80)], unusable(name).concat(rights(name, valid(name)))]),
  ...each(CODE_AND_DATA, (name) => [`guest ${name} access-rights bits 11:8 are 0`, [rights(name, valid(name) | 0x100), rights(name, valid(name) | 0x800)], [rights(name, valid(name) | 0x1000)].concat(name === 'CS' ? [] : rights(name, UNUSABLE | 0xf00))]),
  ['guest CS has D 0 in 64-bit code', [rights('CS', 0xe09b)], [rights('CS', 0xc09b), { ...GUEST_32, ...rights('CS', 0xe09b) }]],
  ...each(CODE_AND_DATA, (name) => [`guest ${name} granularity agrees with its limit`, [limit(name, 0xffff_effe), { ...rights(name, valid(name) & ~0x8000), ...limit(name, 0x10_0000) }, { ...limit(name, 0) }], [{ ...rights(name, valid(name) & ~0x8000), ...limit(name, 0xf_ffff) }, limit(name, 0xfff)].concat(name === 'CS' ? [] : { ...rights(name, UNUSABLE), ...limit(name, 0) })]),
  ...each(CODE_AND_DATA, (name) => [`guest ${name} access-rights bits 31:17 are 0`, [rights(name, valid(name) | 0x2_0000), rights(name, (valid(name) | 0x8000_0000) >>> 0)], [rights(name, valid(name))].concat(name === 'CS' ? [] : rights(name, 0xffff_0000))]),

  ['guest TR type is a busy TSS of the mode', [rights('TR', 0x89), rights('TR', 0x83), { ...GUEST_32, ...rights('TR', 0x89) }], [{ ...GUEST_32, ...rights('TR', 0x83) }, { ...GUEST_32, ...rights('TR', 0x8b) }]],
  ['guest TR has S 0', [rights('TR', 0x9b)], [rights('TR', 0x8b)]],
  ['guest TR has P 1', [rights('TR', 0x0b)], [rights('TR', 0xeb)]],
  ['guest TR access-rights bits 11:8 are 0', [rights('TR', 0x18b)], [rights('TR', 0x108b)]],
  ['guest TR granularity agrees with its limit', [rights('TR', 0x808b), limit('TR', 0x10_0000)], [{ ...rights('TR', 0x808b), ...limit('TR', 0xfff) }, limit('TR', 0xf_ffff)]],
  ['guest TR is usable', [rights('TR', 0x1_008b)], [rights('TR', 0x8b)]],
  ['guest TR access-rights bits 31:17 are 0', [rights('TR', 0x2_008b)], [rights('TR', 0x8b)]],
  ['guest LDTR type is 2', [rights('LDTR', 0x83), rights('LDTR', 0x8b)], unusable('LDTR')],
  ['guest LDTR has S 0', [rights('LDTR', 0x92)], [rights('LDTR', 0x82)]],
  ['guest LDTR has P 1', [rights('LDTR', 0x02)], unusable('LDTR')],
  ['guest LDTR access-rights bits 11:8 are 0', [rights('LDTR', 0x482)], [rights('LDTR', UNUSABLE | 0x482)]],
  ['guest LDTR granularity agrees with its limit', [limit('LDTR', 0x10_0000), rights('LDTR', 0x8082) && { ...rights('LDTR', 0x8082), ...limit('LDTR', 0xf000) }], [{ ...limit('LDTR', 0x10_0000), ...rights('LDTR', UNUSABLE) }]],
  ['guest LDTR access-rights bits 31:17 are 0', [rights('LDTR', 0x4_0082)], [rights('LDTR', 0xffff_0000)]],
];

const STI = { GUEST_INTERRUPTIBILITY_STATE: 1 };
const MOV_SS = { GUEST_INTERRUPTIBILITY_STATE: 2 };
const HLT = { GUEST_ACTIVITY_STATE: 1 };
const SHUTDOWN = { GUEST_ACTIVITY_STATE: 2 };
const WAIT = { GUEST_ACTIVITY_STATE: 3 };
const BS = { GUEST_PENDING_DEBUG_EXCEPTIONS: 0x4000n };
const TF = { GUEST_RFLAGS: 0x302n };
const PAE = { ...GUEST_32, GUEST_CR4: 0x2020n };
const NMI = inject(0x8000_0202n);
const INTERRUPT = inject(0x8000_0020n);

// biome-ignore format: a table
export const STATE_ROWS: readonly RuleRow[] = [
  ['guest GDTR base is canonical', [{ GUEST_GDTR_BASE: HOLE }], [{ GUEST_GDTR_BASE: 0xffff_8000_0000_0000n }]],
  ['guest IDTR base is canonical', [{ GUEST_IDTR_BASE: HOLE }], [{ GUEST_IDTR_BASE: 0xffff_8000_0000_0000n }]],
  ['guest GDTR limit bits 31:16 are 0', [{ GUEST_GDTR_LIMIT: 0x1_0000 }], [{ GUEST_GDTR_LIMIT: 0xffff }]],
  ['guest IDTR limit bits 31:16 are 0', [{ GUEST_IDTR_LIMIT: 0x8000_0000n }], [{ GUEST_IDTR_LIMIT: 0xffff }]],
  ['guest RIP bits 63:32 are 0 outside 64-bit mode', [{ ...GUEST_32, GUEST_RIP: 1n << 32n }, { GUEST_CS_ACCESS_RIGHTS: 0xc09b, GUEST_RIP: 1n << 32n }], [{ ...GUEST_32, GUEST_RIP: 0xffff_ffffn }, { GUEST_RIP: 1n << 32n }]],
  ['guest RIP is canonical in 64-bit mode', [{ GUEST_RIP: HOLE }], [{ GUEST_RIP: 0xffff_8000_0000_0000n }]],
  ['guest RFLAGS has its reserved bits 0', [0x40_0002n, 0x8002n, 0x22n, 0xan, 1n << 63n | 2n].map((GUEST_RFLAGS) => ({ GUEST_RFLAGS })), [{ GUEST_RFLAGS: 0x3d_7fd7n }]],
  ['guest RFLAGS bit 1 is 1', [{ GUEST_RFLAGS: 0x200n }], [{ GUEST_RFLAGS: 2n }]],
  ['guest RFLAGS.VM is 0 in IA-32e mode', [{ ...VIRTUAL_8086, VM_ENTRY_CONTROLS: 0x13fb, GUEST_CR4: 0x2020n }], [VIRTUAL_8086]],
  ['guest RFLAGS.VM is 0 with CR0.PE 0', [{ ...VIRTUAL_8086, ...UNRESTRICTED, GUEST_CR0: 0x20n }], [VIRTUAL_8086]],
  ['guest RFLAGS.IF is 1 when an external interrupt is injected', [{ ...INTERRUPT, GUEST_RFLAGS: 2n }], [INTERRUPT, { ...NMI, GUEST_RFLAGS: 2n }]],
  ['activity state is supported', [{ GUEST_ACTIVITY_STATE: 4 }, { ...HLT, shape: { misc: 0x6004_01a5n } }, { ...SHUTDOWN, shape: { misc: 0x6004_0165n } }, { ...WAIT, shape: { misc: 0x6004_00e5n } }], [HLT, SHUTDOWN, WAIT]],
  ['activity state HLT needs SS DPL 0', [{ ...HLT, ...rights('CS', 0xa0fb), ...rights('SS', 0xc0f3), ...selector('SS', 0x13), ...selector('CS', 0x0b) }], [HLT]],
  ['activity state is active with blocking by STI or by MOV SS', [{ ...HLT, ...STI }, { ...SHUTDOWN, ...MOV_SS }], [STI, MOV_SS]],
  ['the injected event fits the activity state', [{ ...HLT, ...inject(0x8000_030en) }, { ...HLT, ...inject(0x8000_0480n) }, { ...SHUTDOWN, ...INTERRUPT }, { ...SHUTDOWN, ...inject(0x8000_0301n) }, { ...WAIT, ...NMI }], [{ ...HLT, ...INTERRUPT }, { ...HLT, ...NMI }, { ...HLT, ...inject(0x8000_0301n) }, { ...HLT, ...inject(0x8000_0312n) }, { ...HLT, ...inject(0x8000_0700n) }, { ...SHUTDOWN, ...NMI }, { ...SHUTDOWN, ...inject(0x8000_0312n) }]],
  ['interruptibility-state bits 31:5 are 0', [{ GUEST_INTERRUPTIBILITY_STATE: 0x20 }, { GUEST_INTERRUPTIBILITY_STATE: 0x8000_0000n }], [{ GUEST_INTERRUPTIBILITY_STATE: 9 }]],
  ['blocking by STI and by MOV SS exclude each other', [{ GUEST_INTERRUPTIBILITY_STATE: 3 }], [STI, MOV_SS]],
  ['blocking by STI needs RFLAGS.IF', [{ ...STI, GUEST_RFLAGS: 2n }], [STI, { ...MOV_SS, GUEST_RFLAGS: 2n }]],
  ['no blocking by STI when an external interrupt is injected', [{ ...STI, ...INTERRUPT }], [{ ...STI, ...NMI }]],
  ['no blocking by MOV SS when an external interrupt is injected', [{ ...MOV_SS, ...INTERRUPT }], [{ ...MOV_SS, ...inject(0x8000_0306n) }]],
  ['no blocking by MOV SS when an NMI is injected', [{ ...MOV_SS, ...NMI }], [{ ...STI, ...NMI }]],
  ['no blocking by SMI outside SMM', [{ GUEST_INTERRUPTIBILITY_STATE: 4 }], [{ GUEST_INTERRUPTIBILITY_STATE: 8 }]],
  ['no blocking by NMI when an NMI is injected with virtual NMIs', [{ ...NMI, PIN_BASED_CONTROLS: 0x3e, GUEST_INTERRUPTIBILITY_STATE: 8 }], [{ ...NMI, GUEST_INTERRUPTIBILITY_STATE: 8 }, { PIN_BASED_CONTROLS: 0x3e, GUEST_INTERRUPTIBILITY_STATE: 8 }]],
  ['no enclave interruption without SGX', [{ GUEST_INTERRUPTIBILITY_STATE: 16 }], [{ GUEST_INTERRUPTIBILITY_STATE: 8 }]],
  ['pending debug exceptions have their reserved bits 0', [0x10n, 0x800n, 0x2000n, 0x8000n, 0x1_0000n, 1n << 63n].map((GUEST_PENDING_DEBUG_EXCEPTIONS) => ({ GUEST_PENDING_DEBUG_EXCEPTIONS })), [{ GUEST_PENDING_DEBUG_EXCEPTIONS: 0x500fn }]],
  ['pending debug exception BS is 1 while a single step is held back', [{ ...TF, ...STI }, { ...TF, ...MOV_SS }, { ...TF, ...HLT }], [{ ...TF, ...MOV_SS, ...BS }, { ...TF, ...STI, GUEST_IA32_DEBUGCTL: 2n }, TF]],
  ['pending debug exception BS is 0 while no single step is held back', [{ ...STI, ...BS }, { ...HLT, ...BS }, { ...TF, ...MOV_SS, ...BS, GUEST_IA32_DEBUGCTL: 2n }], [{ ...TF, ...HLT, ...BS }, BS]],
  ['VMCS link pointer is 4-KByte aligned', [{ VMCS_LINK_POINTER: 0x1_2008n }], [{ VMCS_LINK_POINTER: 0x1_2000n }]],
  ['VMCS link pointer is within the physical-address width', [{ VMCS_LINK_POINTER: HIGH }, { VMCS_LINK_POINTER: 0xffff_ffff_ffff_f000n }], [{ VMCS_LINK_POINTER: 0x1_2000n }]],
  ['VMCS link pointer refers to a VMCS of this revision', [{ VMCS_LINK_POINTER: 0x4_0000n }, { VMCS_LINK_POINTER: 0x1_2000n, memory: { 73728: 0x8000_0013n } }], [{ VMCS_LINK_POINTER: 0x1_2000n }]],
  ['VMCS link pointer refers to a shadow VMCS exactly with VMCS shadowing', [{ VMCS_LINK_POINTER: 0x1_2000n, ...SHADOW_AT_LINK }, { ...SHADOWING, VMCS_LINK_POINTER: 0x1_2000n }], [{ ...SHADOWING, VMCS_LINK_POINTER: 0x1_2000n, ...SHADOW_AT_LINK }, SHADOWING]],
  ['VMCS link pointer is not the current VMCS', [{ VMCS_LINK_POINTER: 0x1_1000n }], [{ VMCS_LINK_POINTER: 0x1_2000n }]],
  ['guest PDPTEs have their reserved bits 0', [{ ...PAE, memory: { 12296: 3n } }, { ...PAE, memory: { 12312: HIGH | 1n } }, { ...PAE, ...EPT, GUEST_PDPTE2: 0x21n }], [{ ...PAE, memory: { 12288: 0x5019n, 12296: 2n } }, { ...PAE, ...EPT, GUEST_PDPTE3: 0x7001n, memory: { 12288: 3n } }, { memory: { 12288: 3n } }]],
];
