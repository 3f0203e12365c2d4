/** Basic exit reasons. Vol. 3, appendix "VMX Basic Exit Reasons"; names as Linux has them. */
// biome-ignore format: a table
export const EXIT_REASON = {
  EXCEPTION_NMI: 0,        EXTERNAL_INTERRUPT: 1,   TRIPLE_FAULT: 2,         INIT_SIGNAL: 3,
  SIPI_SIGNAL: 4,          INTERRUPT_WINDOW: 7,     NMI_WINDOW: 8,           TASK_SWITCH: 9,
  CPUID: 10,               GETSEC: 11,              HLT: 12,                 INVD: 13,
  INVLPG: 14,              RDPMC: 15,               RDTSC: 16,               RSM: 17,
  VMCALL: 18,              VMCLEAR: 19,             VMLAUNCH: 20,            VMPTRLD: 21,
  VMPTRST: 22,             VMREAD: 23,              VMRESUME: 24,            VMWRITE: 25,
  VMOFF: 26,               VMON: 27,                CR_ACCESS: 28,           DR_ACCESS: 29,
  IO_INSTRUCTION: 30,      MSR_READ: 31,            MSR_WRITE: 32,           INVALID_STATE: 33,
  MSR_LOAD_FAIL: 34,       MWAIT_INSTRUCTION: 36,   MONITOR_TRAP_FLAG: 37,   MONITOR_INSTRUCTION: 39,
  PAUSE_INSTRUCTION: 40,   MCE_DURING_VMENTRY: 41,  TPR_BELOW_THRESHOLD: 43, APIC_ACCESS: 44,
  EOI_INDUCED: 45,         GDTR_IDTR: 46,           LDTR_TR: 47,             EPT_VIOLATION: 48,
  EPT_MISCONFIG: 49,       INVEPT: 50,              RDTSCP: 51,              PREEMPTION_TIMER: 52,
  INVVPID: 53,             WBINVD: 54,              XSETBV: 55,              APIC_WRITE: 56,
  RDRAND: 57,              INVPCID: 58,             VMFUNC: 59,              RDSEED: 61,
  PML_FULL: 62,            XSAVES: 63,              XRSTORS: 64,
} as const;
export type ExitReason = (typeof EXIT_REASON)[keyof typeof EXIT_REASON];

const NAMES = new Map(
  Object.entries(EXIT_REASON).map(([name, reason]) => [reason as number, name]),
);

/** Bit 31 of the exit-reason field: the VM entry failed. */
export const ENTRY_FAILURE = 0x8000_0000;

/** The name of a basic exit reason, or its number when this machine never raises it. */
export const exitReasonName = (reason: number): string =>
  NAMES.get(reason & 0xffff) ?? `${reason & 0xffff}`;
