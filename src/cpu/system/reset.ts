import { ACTIVITY, CR0, DR6, DR7, RFLAGS, XCR0 } from '../control-registers.ts';
import { writeStatusFlags } from '../flags.ts';
import { SEGMENTS, STATE } from '../state/layout.ts';
import type { State } from '../state/state.ts';
import { RIGHTS } from './rights.ts';

/** PAT after RESET: WB, WT, UC-, UC, twice. */
const PAT = 0x0007_0406_0007_0406n;

/** Family 6: DX holds the signature that CPUID.1:EAX has, as far as software looks at it. */
const SIGNATURE = 0x600n;

/** Fields that RESET clears and INIT keeps: MSRs other than EFER, XCR0, PKRU. */
// biome-ignore format: a table
const KEPT_BY_INIT = [
  STATE.STAR, STATE.LSTAR, STATE.CSTAR, STATE.FMASK, STATE.KERNEL_GS_BASE, STATE.TSC_AUX,
  STATE.SYSENTER_CS, STATE.SYSENTER_ESP, STATE.SYSENTER_EIP, STATE.PAT, STATE.XSS, STATE.TSC_OFFSET, STATE.XCR0, STATE.PKRU,
] as const;

/** Vol. 3, table "IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT". */
export function resetState(state: State, kind: 'reset' | 'init' = 'reset'): void {
  const caching = state.get(STATE.CR0) & (CR0.CD | CR0.NW);
  const kept = KEPT_BY_INIT.map((offset) => state.get(offset));
  for (let at: number = STATE.GPR; at < STATE.MODE_KEY; at += 8) state.set(at, 0n);
  for (let at: number = STATE.CR0; at < STATE.SEGMENT; at += 8) state.set(at, 0n);
  for (const [i, offset] of KEPT_BY_INIT.entries()) {
    state.set(offset, kind === 'init' ? kept[i]! : 0n);
  }
  if (kind === 'reset') {
    state.set(STATE.PAT, PAT);
    state.set(STATE.XCR0, XCR0.X87);
  }

  state.set(STATE.CR0, CR0.ET | (kind === 'init' ? caching : CR0.CD | CR0.NW));
  state.set(STATE.RFLAGS_SYSTEM, RFLAGS.FIXED);
  writeStatusFlags(state, 0n);
  state.set(STATE.DR + 48, DR6.FIXED);
  state.set(STATE.DR + 56, DR7.FIXED);
  state.set32(STATE.GDTR_LIMIT, 0xffff);
  state.set32(STATE.IDTR_LIMIT, 0xffff);
  state.set32(STATE.ACTIVITY, ACTIVITY.ACTIVE);
  const data = 3 | RIGHTS.S | RIGHTS.P;
  for (const name of SEGMENTS) {
    const rights = name === 'LDTR' ? 2 | RIGHTS.P : name === 'TR' ? 11 | RIGHTS.P : data;
    state.setSegment(name, { selector: 0, base: 0n, limit: 0xffff, rights });
  }
  state.setSegment('CS', { selector: 0xf000, base: 0xffff_0000n, limit: 0xffff, rights: data });
  state.rip = 0xfff0n;
  state.gpr[2] = SIGNATURE;
  if (kind === 'reset') {
    state.set32(STATE.MXCSR, 0x1f80);
    state.view.setUint16(state.base + STATE.FCW, 0x0040, true);
    state.view.setUint16(state.base + STATE.FTW, 0x00ff, true);
  }
}
