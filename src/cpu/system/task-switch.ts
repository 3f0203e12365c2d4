import { isSet } from '../../bits/bitfield.ts';
import { MASK32 } from '../../bits/u64.ts';
import { CR0, CR4, DR6, RFLAGS } from '../control-registers.ts';
import { type Exception, Fault } from '../fault.ts';
import type { Insn } from '../insn.ts';
import { STATE } from '../state/layout.ts';
import { loadPdptes } from './control-moves.ts';
import type { Core } from './core.ts';
import { errorCode, isNull, markDescriptor, RPL, readDescriptor, TI } from './descriptors.ts';
import { currentStack, pushLegacy, setStack } from './legacy-stack.ts';
import {
  dpl,
  isCode,
  isConforming,
  isReadable,
  NULL_SEGMENT,
  RIGHTS,
  SYSTEM_TYPE,
  systemType,
} from './rights.ts';
import { checkedStack, codeSegment, dataSegment, realSegment } from './segments.ts';
import { isWideTss } from './task-state.ts';

export type TaskSwitchSource = 'CALL' | 'IRET' | 'JMP' | 'gate';

const BUSY = 2;
const SEGMENT_ORDER = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS'] as const;

/** Offsets in a TSS. Vol. 3, "Task-State Segment (TSS)" and "16-Bit Task-State Segment (TSS)". */
// biome-ignore format: a table
const LAYOUT = {
  wide:   { limit: 0x67, size: 4, EIP: 0x20, EFLAGS: 0x24, registers: 0x28, selectors: 0x48, step: 4, count: 6, LDT: 0x60, CR3: 0x1c, T: 0x64 },
  narrow: { limit: 0x2b, size: 2, EIP: 0x0e, EFLAGS: 0x10, registers: 0x12, selectors: 0x22, step: 2, count: 4, LDT: 0x2a, CR3: -1,   T: -1   },
} as const;

/**
 * Switches to the task whose TSS `selector` names. A fault before the switch leaves the old task as it was;
 * one after it is the new task's. Vol. 3, "Task Switching".
 * An event brings its error code, and RFLAGS as the old task is to keep it.
 * @param length bytes from RIP to where the old task goes on
 * @throws Fault #GP, #NP, #TS, #SS, #PF
 */
export function taskSwitch(
  core: Core,
  selector: number,
  source: TaskSwitchSource,
  length: number,
  {
    code,
    rflags = core.rflags,
  }: { readonly code?: number | undefined; readonly rflags?: bigint } = {},
): void {
  const { state } = core;
  const back = source === 'IRET';
  const exception: Exception = back ? '#TS' : '#GP';
  const error = errorCode(selector);
  if (isNull(selector) || (selector & TI) !== 0) throw new Fault(exception, error);
  const tss = readDescriptor(core, selector, exception);
  const type = systemType(tss.rights);
  const suits = back
    ? type === SYSTEM_TYPE.BUSY_TSS || type === SYSTEM_TYPE.BUSY_TSS16
    : type === SYSTEM_TYPE.TSS || type === SYSTEM_TYPE.TSS16;
  if (!suits) throw new Fault(exception, error);
  if ((tss.rights & RIGHTS.P) === 0) throw new Fault('#NP', error);
  const wide = isWideTss(tss.rights);
  const layout = wide ? LAYOUT.wide : LAYOUT.narrow;
  if (tss.limit < layout.limit) throw new Fault('#TS', error);
  core.nonRoot?.taskSwitch(selector, source, length);

  // Both TSSs are touched before anything changes, so that a page fault belongs to the old task.
  const old = state.segment('TR');
  const oldLayout = isWideTss(old.rights) ? LAYOUT.wide : LAYOUT.narrow;
  const at = (base: bigint, offset: number) => (base + BigInt(offset)) & MASK32;
  const read = (offset: number, size: number) =>
    core.memory.read(at(tss.base, offset), size, 'implicit');
  core.memory.probe(at(old.base, 0), oldLayout.limit + 1, 'implicit');
  core.memory.probe(at(tss.base, 0), 2, 'implicit');
  const registers = Array.from({ length: 8 }, (_, i) =>
    read(layout.registers + i * layout.size, layout.size),
  );
  const selectors = Array.from({ length: layout.count }, (_, i) =>
    Number(read(layout.selectors + i * layout.step, 2)),
  );
  const eip = read(layout.EIP, layout.size);
  const image = read(layout.EFLAGS, layout.size);
  const ldt = Number(read(layout.LDT, 2));
  const cr3 = wide ? read(layout.CR3, 4) : 0n;
  const trap = wide && (read(layout.T, 2) & 1n) !== 0n;

  const save = (offset: number, value: bigint, size: number = oldLayout.size) => {
    core.memory.write(
      at(old.base, offset),
      size,
      value & (size === 2 ? 0xffffn : MASK32),
      'implicit',
    );
  };
  save(oldLayout.EIP, state.rip + BigInt(length));
  save(oldLayout.EFLAGS, back ? rflags & ~RFLAGS.NT : rflags);
  for (let i = 0; i < 8; i++) save(oldLayout.registers + i * oldLayout.size, state.gpr[i]!);
  for (let i = 0; i < oldLayout.count; i++) {
    const name = SEGMENT_ORDER[i]!;
    save(oldLayout.selectors + i * oldLayout.step, BigInt(state.segment(name).selector), 2);
  }
  const nested = source === 'CALL' || source === 'gate';
  if (nested) core.memory.write(at(tss.base, 0), 2, BigInt(old.selector), 'implicit');
  if (!nested) markDescriptor(core, old.selector, 0, BUSY);
  if (!back) markDescriptor(core, selector, BUSY);

  // The new task. From here on faults are its own.
  state.setSegment('TR', {
    selector,
    base: tss.base,
    limit: tss.limit,
    rights: tss.rights | BUSY,
  });
  state.set(STATE.CR0, state.get(STATE.CR0) | CR0.TS);
  if (wide && isSet(state.get(STATE.CR0), CR0.PG)) {
    if (isSet(state.get(STATE.CR4), CR4.PAE)) loadPdptes(core, cr3);
    state.set(STATE.CR3, cr3);
    core.forget({ pcid: 0 });
  }
  const flags = (image & (wide ? 0x3f_7fd7n : 0x7fd7n)) | RFLAGS.FIXED;
  for (const [i, value] of registers.entries()) {
    state.gpr[i] = wide ? value : value | 0xffff_0000n;
  }
  state.rip = eip;
  core.nextRip = eip;
  const v86 = isSet(flags, RFLAGS.VM);
  const cs = selectors[1] ?? 0;
  core.cpl = v86 ? 3 : cs & RPL;
  core.rflags = nested ? flags | RFLAGS.NT : flags;
  // Locally enabled breakpoints end with their task.
  state.set(STATE.DR + 56, state.get(STATE.DR + 56) & ~0x55n);
  core.engine.debugChanged();
  if (trap) core.pendDebug(DR6.BT);
  loadTask(core, selectors, ldt, eip, v86);
  if (code !== undefined) {
    const stack = currentStack(core);
    setStack(core, stack.ss, pushLegacy(core, stack, wide ? 4 : 2, [BigInt(code)]));
  }
  core.engine.endSlice();
}

/** Loads LDTR and the segment registers of a new task. @throws Fault #TS, #NP, #SS in its context */
function loadTask(
  core: Core,
  selectors: readonly number[],
  ldt: number,
  eip: bigint,
  v86: boolean,
): void {
  const { state } = core;
  // Until its turn each register is unusable, with the new selector already visible.
  for (const [i, name] of SEGMENT_ORDER.entries()) {
    state.setSegment(name, { ...NULL_SEGMENT, selector: selectors[i] ?? 0 });
  }
  state.setSegment('LDTR', { ...NULL_SEGMENT, selector: ldt });
  if (!isNull(ldt)) {
    const error = errorCode(ldt);
    if ((ldt & TI) !== 0) throw new Fault('#TS', error);
    const { rights, base, limit } = readDescriptor(core, ldt, '#TS');
    if (systemType(rights) !== SYSTEM_TYPE.LDT || (rights & RIGHTS.P) === 0) {
      throw new Fault('#TS', error);
    }
    state.setSegment('LDTR', { selector: ldt, base, limit, rights });
  }
  if (v86) {
    for (const [i, name] of SEGMENT_ORDER.entries()) {
      state.setSegment(name, realSegment(core, name, selectors[i] ?? 0));
    }
    return;
  }
  const [, cs = 0, ss = 0] = selectors;
  if (isNull(cs)) throw new Fault('#TS', 0);
  const code = readDescriptor(core, cs, '#TS');
  const level = dpl(code.rights);
  const conforming = isConforming(code.rights);
  if (!isCode(code.rights) || (conforming ? level > (cs & RPL) : level !== (cs & RPL))) {
    throw new Fault('#TS', errorCode(cs));
  }
  if ((code.rights & RIGHTS.P) === 0) throw new Fault('#NP', errorCode(cs));
  state.setSegment('CS', codeSegment(core, cs, code, cs & RPL));
  if (isNull(ss)) throw new Fault('#TS', 0);
  const stack = readDescriptor(core, ss, '#TS');
  state.setSegment('SS', checkedStack(core, ss, stack, cs & RPL, '#TS', errorCode(ss)));
  for (const [i, name] of SEGMENT_ORDER.entries()) {
    if (name === 'CS' || name === 'SS') continue;
    const selector = selectors[i] ?? 0;
    if (isNull(selector)) continue;
    const { rights } = readDescriptor(core, selector, '#TS');
    if (!isReadable(rights)) throw new Fault('#TS', errorCode(selector));
    try {
      state.setSegment(name, dataSegment(core, name, selector));
    } catch (thrown) {
      if (thrown instanceof Fault && thrown.exception === '#GP') {
        throw new Fault('#TS', thrown.code);
      }
      throw thrown;
    }
  }
  if (eip > BigInt(code.limit)) throw new Fault('#GP', 0);
}

/** IRET with NT set: back to the task that the current TSS links to. */
export function returnFromTask(core: Core, insn: Insn): void {
  const link = core.memory.read(core.state.segment('TR').base, 2, 'implicit');
  taskSwitch(core, Number(link), 'IRET', insn.length);
}
