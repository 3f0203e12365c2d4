import type { GuestState } from '../kvm/guest-state.ts';
import { RESET_STATE } from '../kvm/guest-state.ts';
import {
  ENTRY_REGISTERS,
  type EntryState,
  type SegmentState,
} from '../platform/boot/entry-state.ts';

/** What user space sets a new vCPU to, so that it starts as a boot protocol has it. */
export function guestState(entry: EntryState): GuestState {
  const segment = ({ selector, base, limit, rights }: SegmentState) => ({
    selector,
    base: BigInt(base),
    limit,
    rights,
  });
  const data = segment(entry.data);
  return {
    ...RESET_STATE,
    gpr: Array.from({ length: 16 }, (_, i) => {
      const name = ENTRY_REGISTERS[i];
      return name === undefined ? 0n : (entry.registers[name] ?? 0n);
    }),
    rip: entry.rip,
    cr0: entry.cr0,
    cr3: entry.cr3,
    cr4: entry.cr4,
    efer: entry.efer,
    gdtr: { base: BigInt(entry.gdt.base), limit: entry.gdt.limit },
    segments: {
      ...RESET_STATE.segments,
      CS: segment(entry.code),
      SS: data,
      DS: data,
      ES: data,
      FS: data,
      GS: data,
    },
  };
}
