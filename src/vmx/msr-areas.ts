import { extract } from '../bits/bitfield.ts';
import type { PhysicalWords } from '../memory/physical-memory.ts';
import type { MsrBus } from '../msr/bus.ts';
import { VMX_MISC, type VmxShape } from '../msr/vmx.ts';
import { MSR } from './machine.ts';

const ENTRY_SIZE = 16;
const X2APIC = { FIRST: 0x800, LAST: 0x8ff } as const;

/** MSRs that only code in SMM may reach. */
const SMM_ONLY: readonly number[] = [MSR.IA32_SMM_MONITOR_CTL];

/** What the lists are read from, and the registers they load and store. */
export interface MsrAreaParts {
  readonly memory: PhysicalWords;
  readonly msr: Pick<MsrBus, 'rdmsr' | 'wrmsr'>;
  readonly shape: VmxShape;
}

/** Entries in one list that software should not exceed; more fail at the first one too many, as in KVM. */
const longest = ({ shape }: MsrAreaParts): number =>
  512 * (Number(extract(shape.misc, VMX_MISC.MSR_LIST_MAXIMUM)) + 1);

/**
 * Loads the MSRs of a VM-entry or VM-exit MSR-load area.
 * Returns the number, from 1, of the entry that failed. Vol. 3, "Loading MSRs".
 */
export function loadMsrs(parts: MsrAreaParts, area: number, count: number): number | undefined {
  if (count === 0) return undefined;
  const { memory, msr } = parts;
  const limit = longest(parts);
  for (let i = 0; i < count; i++) {
    const at = area + i * ENTRY_SIZE;
    if (i >= limit) return i + 1;
    const index = Number(memory.read(at, 4));
    if (memory.read(at + 4, 4) !== 0n) return i + 1;
    if (index === MSR.IA32_FS_BASE || index === MSR.IA32_GS_BASE) return i + 1;
    if (index >= X2APIC.FIRST && index <= X2APIC.LAST) return i + 1;
    if (SMM_ONLY.includes(index)) return i + 1;
    if (msr.wrmsr(index, memory.read(at + 8, 8)) !== 'done') return i + 1;
  }
  return undefined;
}

/**
 * Stores MSRs to a VM-exit MSR-store area: the value half of each entry.
 * Returns the number, from 1, of the entry that failed. Vol. 3, "Saving MSRs".
 */
export function storeMsrs(parts: MsrAreaParts, area: number, count: number): number | undefined {
  if (count === 0) return undefined;
  const { memory, msr } = parts;
  const limit = longest(parts);
  for (let i = 0; i < count; i++) {
    const at = area + i * ENTRY_SIZE;
    if (i >= limit) return i + 1;
    const index = Number(memory.read(at, 4));
    if (memory.read(at + 4, 4) !== 0n) return i + 1;
    if (index >= X2APIC.FIRST && index <= X2APIC.LAST) return i + 1;
    if (SMM_ONLY.includes(index)) return i + 1;
    const value = msr.rdmsr(index);
    if (typeof value !== 'bigint') return i + 1;
    memory.write(at + 8, 8, value);
  }
  return undefined;
}
