import { RFLAGS } from '../cpu/control-registers.ts';
import { STATE } from '../cpu/state/layout.ts';
import type { State } from '../cpu/state/state.ts';
import {
  ENTRY_REGISTERS,
  type EntryState,
  type SegmentState,
} from '../platform/boot/entry-state.ts';

/** Puts a processor that was just reset into the state in which a boot protocol hands it over. */
export function enter(state: State, entry: EntryState): void {
  const segment = ({ selector, base, limit, rights }: SegmentState) => ({
    selector,
    base: BigInt(base),
    limit,
    rights,
  });
  state.gpr.fill(0n);
  for (const [number, name] of ENTRY_REGISTERS.entries()) {
    state.gpr[number] = entry.registers[name] ?? 0n;
  }
  state.rip = entry.rip;
  state.set(STATE.RFLAGS_SYSTEM, RFLAGS.FIXED);
  state.set(STATE.CR0, entry.cr0);
  state.set(STATE.CR3, entry.cr3);
  state.set(STATE.CR4, entry.cr4);
  state.set(STATE.EFER, entry.efer);
  state.set(STATE.GDTR_BASE, BigInt(entry.gdt.base));
  state.set32(STATE.GDTR_LIMIT, entry.gdt.limit);
  state.setSegment('CS', segment(entry.code));
  for (const name of ['DS', 'ES', 'SS', 'FS', 'GS'] as const) {
    state.setSegment(name, segment(entry.data));
  }
}
