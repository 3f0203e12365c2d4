import { isSet } from '../bits/bitfield.ts';
import { EFER } from '../cpu/control-registers.ts';
import { STATE } from '../cpu/state/layout.ts';
import type { Core } from '../cpu/system/core.ts';
import type { PhysicalMemory } from '../memory/physical-memory.ts';
import type { MsrBus } from '../msr/bus.ts';
import type { VmxShape } from '../msr/vmx.ts';
import type { EntryProcessor } from './entry-checks/entry.ts';

/** What VM entry and VM exit work on: one CPU and its registers. */
export interface VmxMachine {
  readonly core: Core;
  readonly memory: PhysicalMemory;
  readonly msr: Pick<MsrBus, 'rdmsr' | 'wrmsr' | 'accepts'>;
  readonly shape: VmxShape;
}

/** The processor as the checks of VM entry see it. */
export function entryProcessor({ core, memory, msr, shape }: VmxMachine): EntryProcessor {
  const inLongMode = () => isSet(core.state.get(STATE.EFER), EFER.LMA);
  return { shape, memory, msr, features: core.features, inLongMode };
}

/** Addresses of the MSRs that VM entries and VM exits load and save themselves. */
// biome-ignore format: a table
export const MSR = {
  IA32_TIME_STAMP_COUNTER: 0x10, IA32_FEATURE_CONTROL: 0x3a, IA32_SMM_MONITOR_CTL: 0x9b, IA32_DEBUGCTL: 0x1d9,
  IA32_PERF_GLOBAL_CTRL: 0x38f, IA32_LBR_CTL: 0x14ce, IA32_EFER: 0xc000_0080, IA32_FS_BASE: 0xc000_0100, IA32_GS_BASE: 0xc000_0101,
} as const;
