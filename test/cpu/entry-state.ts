import { CR0, CR4, EFER, RFLAGS } from '../../src/cpu/control-registers.ts';
import { writeStatusFlags } from '../../src/cpu/flags.ts';
import { STATE } from '../../src/cpu/state/layout.ts';
import type { State } from '../../src/cpu/state/state.ts';
import { RIGHTS } from '../../src/cpu/system/rights.ts';

/** Where code starts when no firmware runs: page tables, first instruction, stack. */
export interface LongModeEntry {
  readonly cr3: bigint;
  readonly rip: bigint;
  readonly rsp: bigint;
}

const FLAT = 0xffff_ffff;

/** Puts a CPU fresh from RESET into 64-bit mode: paging on, flat segments, interrupts off, CPL 0, SSE enabled. */
export function longModeEntry(state: State, { cr3, rip, rsp }: LongModeEntry): void {
  state.set(STATE.CR0, CR0.PE | CR0.MP | CR0.ET | CR0.NE | CR0.WP | CR0.PG);
  state.set(STATE.CR3, cr3);
  state.set(STATE.CR4, CR4.PAE | CR4.OSFXSR | CR4.OSXMMEXCPT);
  state.set(STATE.EFER, EFER.LME | EFER.LMA | EFER.NXE);
  const present = RIGHTS.S | RIGHTS.P | RIGHTS.G;
  const code = { selector: 0x10, base: 0n, limit: FLAT, rights: 11 | present | RIGHTS.L };
  state.setSegment('CS', code);
  for (const name of ['SS', 'DS', 'ES', 'FS', 'GS'] as const) {
    const data = { selector: 0x18, base: 0n, limit: FLAT, rights: 3 | present | RIGHTS.DB };
    state.setSegment(name, data);
  }
  state.set(STATE.RFLAGS_SYSTEM, RFLAGS.FIXED);
  writeStatusFlags(state, 0n);
  state.set32(STATE.CPL, 0);
  state.rip = rip;
  state.gpr[4] = rsp;
}

/** Puts a CPU fresh from RESET into 32-bit protected mode without paging, as multiboot loaders leave it. */
export function protectedModeEntry(
  state: State,
  { rip, rsp = 0n }: { rip: bigint; rsp?: bigint },
): void {
  state.set(STATE.CR0, CR0.PE | CR0.ET);
  const present = RIGHTS.S | RIGHTS.P | RIGHTS.G | RIGHTS.DB;
  state.setSegment('CS', { selector: 0x10, base: 0n, limit: FLAT, rights: 11 | present });
  for (const name of ['SS', 'DS', 'ES', 'FS', 'GS'] as const) {
    state.setSegment(name, { selector: 0x18, base: 0n, limit: FLAT, rights: 3 | present });
  }
  state.rip = rip;
  state.gpr[4] = rsp;
}
