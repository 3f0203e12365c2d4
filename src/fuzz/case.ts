import { several } from '../bits/decimal.ts';

/** Ways in which an instruction reaches a register by number. */
export type AccessForm =
  | 'rdmsr'
  | 'wrmsr'
  | 'rdpmc'
  /** Behind KVM's forced-emulation prefix: the hypervisor's instruction emulator carries it out. */
  | 'emulated-rdmsr'
  | 'emulated-wrmsr'
  | 'emulated-rdpmc'
  /** RDMSRLIST, WRMSRLIST, WRMSRNS, URDMSR, UWRMSR, RDMSR and WRMSRNS with immediate: #UD unless CPUID announces them. */
  | 'rdmsrlist'
  | 'wrmsrlist'
  | 'wrmsrns'
  | 'urdmsr'
  | 'uwrmsr'
  | 'rdmsr-imm'
  | 'wrmsrns-imm'
  | 'xsaves';

/** One thing that happens, in order. Values of 64 bits are hex strings. */
export type Step =
  | { readonly do: AccessForm; readonly register: number; readonly value?: string }
  /** An instruction that exits under any hypervisor of ours, and retires in it. */
  | { readonly do: 'cpuid'; readonly leaf: number }
  /** DEC and JNZ, so often. */
  | { readonly do: 'work'; readonly count: number }
  /** OUT to a port at which the host does something with the vCPU. */
  | { readonly do: 'host'; readonly action: HostAction };

export type HostAction =
  /** Another task of the host gets the CPU for a while. */
  | 'preempt'
  /** The event filter denies every event, or there is none. */
  | 'deny-all'
  | 'allow-all'
  /** The virtual PMU goes through RESET, or through INIT, which leaves it as it is. */
  | 'reset'
  | 'init';

export const ACCESS_FORMS: ReadonlySet<string> = new Set<AccessForm>([
  ...(['rdmsr', 'wrmsr', 'rdpmc', 'emulated-rdmsr', 'emulated-wrmsr', 'emulated-rdpmc'] as const),
  ...(['rdmsrlist', 'wrmsrlist', 'wrmsrns', 'urdmsr', 'uwrmsr'] as const),
  ...(['rdmsr-imm', 'wrmsrns-imm', 'xsaves'] as const),
]);

export type AccessStep = Extract<Step, { register: number }>;
export const isAccess = (step: Step): step is AccessStep => ACCESS_FORMS.has(step.do);

/** How much of the host's PMU a guest is told of. */
export type Exposure = 'default' | 'half' | 'all' | 'none';

/** What the host keeps to itself: only the numbers it holds differ between two secrets. */
export interface HostState {
  /** Seed of what the host's registers hold when the guest is entered. */
  readonly secret: number;
  /** Events of the host's perf on this CPU that exclude guests. */
  readonly events: readonly HostEvent[];
}

export interface HostEvent {
  /** Event select and umask. */
  readonly config: string;
  readonly pinned: boolean;
  /** Events between two overflows, 0 for none. */
  readonly period: number;
}

export type MsrList = 'entry-load' | 'exit-store' | 'exit-load';

/** An entry of an MSR list behind the hypervisor's own. */
export interface ListedMsr {
  readonly list: MsrList;
  /** Bits 63:32 of an entry are reserved: `address` may be longer than an MSR's. */
  readonly address: number;
  readonly value: string;
}

/** What a guest hypervisor does about an access of its guest that exits to it. */
export type OnExit =
  /** It steps over the instruction. */
  | 'skip'
  /** It executes the instruction itself, with the registers of its guest. */
  | 'carry-out'
  /** It injects #GP(0). */
  | 'inject';

export interface StrayPointer {
  readonly of: MsrList | 'bitmap';
  /** Beside the alignment it must have, where no memory is, or beyond the physical-address width. */
  readonly to: 'unaligned' | 'no-memory' | 'too-wide';
}

/** A guest that is a hypervisor (L1), and lets the steps be done by a guest of its own (L2). */
export interface NestedCase {
  /** L1's MSR bitmap: what exits to L1 but for these. Without one, RDMSR and WRMSR always exit to it. */
  readonly bitmap?: {
    readonly exits: 'none' | 'all';
    readonly except: readonly (readonly [address: number, access: 'read' | 'write'])[];
  };
  readonly rdpmcExiting: boolean;
  /** An NMI, as which a PMI comes, exits to L1 instead of going to L2's handler. */
  readonly nmiExiting?: boolean;
  /** L1's MSR lists. */
  readonly lists?: readonly ListedMsr[];
  /** A pointer of L1's VMCS that does not point at what L1 has prepared. */
  readonly stray?: StrayPointer;
  /** IA32_PERF_GLOBAL_CTRL as VM entries of L2 load it, and as VM exits to L1 do; and whether those save it. */
  readonly globalCtrl?: {
    readonly entry?: string;
    readonly exit?: string;
    readonly save?: boolean;
  };
  readonly onExit: OnExit;
}

/** A guest hypervisor that lets its guest do whatever it may do itself. */
export const OPEN_HYPERVISOR: NestedCase = {
  bitmap: { exits: 'none', except: [] },
  rdpmcExiting: false,
  onExit: 'inject',
};

/** A state and what is done in it: all that a run depends on. */
export interface FuzzCase {
  readonly seed: string;
  readonly index: number;
  readonly design: string;
  readonly profile: string;
  readonly exposure: Exposure;
  readonly cpl: 0 | 1 | 2 | 3;
  /** CR4.PCE. */
  readonly pce: boolean;
  /** The guest's LVTPC: masked, or delivers an NMI. */
  readonly lvtpc: 'masked' | 'nmi';
  /** Registers of the guest's PMU before its first instruction, in the order they are written. */
  readonly registers: readonly (readonly [address: number, value: string])[];
  /**
   * Accesses that exit whatever the policy says, or do not: bits of the MSR bitmap that are turned over. Empty is the
   * hypervisor's own bitmap.
   */
  readonly bitmap: readonly (readonly [address: number, access: 'read' | 'write'])[];
  /** Overflow bits that stand in the guest's GLOBAL_STATUS at its first instruction. */
  readonly status?: string;
  /** A PMI waits for the guest at its first instruction. */
  readonly pending?: boolean;
  /** Ticks after the first VM entry at which an interrupt of the host takes the guest out. */
  readonly interruptions?: readonly number[];
  readonly lists?: readonly ListedMsr[];
  readonly nested?: NestedCase;
  readonly host: HostState;
  readonly steps: readonly Step[];
}

/** `passthrough/sapphire-rapids/half cpl 3: 7 steps`, for people. */
export const caseTitle = ({ design, profile, exposure, cpl, nested, steps }: FuzzCase): string =>
  `${design} on ${profile}, exposure ${exposure}, ${nested ? 'a guest’s guest, ' : ''}CPL ${cpl}, ${several(steps.length, 'step')}`;

/** What a case is run on: cases of one chamber share a machine. */
export const chamberKey = ({ design, profile, exposure, nested }: FuzzCase): string =>
  `${design}/${profile}/${exposure}${nested ? '/nested' : ''}`;
