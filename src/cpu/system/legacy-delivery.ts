import { MASK32 } from '../../bits/u64.ts';
import { RFLAGS } from '../control-registers.ts';
import { Fault } from '../fault.ts';
import { STATE } from '../state/layout.ts';
import type { Core } from './core.ts';
import { codeTarget, type Delivery, idtError, isSoftware } from './delivery.ts';
import { readDescriptor } from './descriptors.ts';
import { currentStack, type LegacyStack, pushLegacy, setStack } from './legacy-stack.ts';
import { isProtected, isVirtual8086 } from './mode.ts';
import { dpl, NULL_SEGMENT, RIGHTS, SYSTEM_TYPE, systemType } from './rights.ts';
import { checkedStack, codeSegment, realSegment } from './segments.ts';
import { legacyStackFromTss } from './task-state.ts';
import { taskSwitch } from './task-switch.ts';

/** Delivery outside IA-32e mode. @throws Fault */
export function deliverLegacy(core: Core, delivery: Delivery): void {
  if (isProtected(core.state)) deliverProtected(core, delivery);
  else deliverReal(core, delivery);
}

/** Vol. 3, "Real-Address Mode", "Interrupt and Exception Handling". */
function deliverReal(core: Core, { event, rip, rflags }: Delivery): void {
  const { state } = core;
  if (event.vector * 4 + 3 > state.get32(STATE.IDTR_LIMIT)) throw new Fault('#GP', 0);
  const entry = core.memory.read(
    (state.get(STATE.IDTR_BASE) + BigInt(event.vector * 4)) & MASK32,
    4,
    'implicit',
  );
  const stack = currentStack(core);
  const sp = pushLegacy(core, stack, 2, [rflags, BigInt(state.segment('CS').selector), rip]);
  setStack(core, stack.ss, sp);
  state.setSegment('CS', realSegment(core, 'CS', Number(entry >> 16n)));
  state.rip = entry & 0xffffn;
  core.rflags &= ~(RFLAGS.IF | RFLAGS.TF | RFLAGS.AC | RFLAGS.RF);
}

/** Gate types that carry 32 bits, and those that clear IF. */
const WIDE: ReadonlySet<number> = new Set([SYSTEM_TYPE.INTERRUPT_GATE, SYSTEM_TYPE.TRAP_GATE]);
const INTERRUPT: ReadonlySet<number> = new Set([
  SYSTEM_TYPE.INTERRUPT_GATE,
  SYSTEM_TYPE.INTERRUPT_GATE16,
]);
const GATES: ReadonlySet<number> = new Set([
  ...WIDE,
  SYSTEM_TYPE.INTERRUPT_GATE16,
  SYSTEM_TYPE.TRAP_GATE16,
]);

/** Vol. 3, "Exception- or Interrupt-Handler Procedures". */
function deliverProtected(core: Core, { event, rip, rflags }: Delivery): void {
  const { state } = core;
  const named = idtError(event.vector);
  if (event.vector * 8 + 7 > state.get32(STATE.IDTR_LIMIT)) throw new Fault('#GP', named);
  const gate = core.memory.read(
    (state.get(STATE.IDTR_BASE) + BigInt(event.vector * 8)) & MASK32,
    8,
    'implicit',
  );
  const rights = Number((gate >> 40n) & 0xffn);
  const type = systemType(rights);
  const isTask = type === SYSTEM_TYPE.TASK_GATE;
  if (type === undefined || !(isTask || GATES.has(type))) throw new Fault('#GP', named);
  if (isSoftware(event.type) && dpl(rights) < core.cpl) throw new Fault('#GP', named);
  if ((rights & RIGHTS.P) === 0) throw new Fault('#NP', named);
  const selector = Number((gate >> 16n) & 0xffffn);
  if (isTask) {
    taskSwitch(core, selector, 'gate', event.length ?? 0, { code: event.code, rflags });
    return;
  }

  if ((selector & ~3) === 0) throw new Fault('#GP', 0);
  const code = readDescriptor(core, selector);
  const wide = WIDE.has(type);
  const offset = wide ? (gate & 0xffffn) | ((gate >> 32n) & 0xffff_0000n) : gate & 0xffffn;
  const v86 = isVirtual8086(state);
  const target = codeTarget(core, selector & ~3, code.rights, false);
  if (v86 && target !== 0) throw new Fault('#GP', selector & ~3);
  const inner = target < core.cpl;
  const stack = inner ? innerStack(core, target) : currentStack(core);
  if (Number(offset) > code.limit) throw new Fault('#GP', 0);
  const frame: bigint[] = [];
  if (v86) {
    for (const name of ['GS', 'FS', 'DS', 'ES'] as const) {
      frame.push(BigInt(state.segment(name).selector));
    }
  }
  if (inner) frame.push(BigInt(state.segment('SS').selector), state.gpr[4]!);
  frame.push(rflags, BigInt(state.segment('CS').selector), rip);
  if (event.code !== undefined) frame.push(BigInt(event.code));
  const sp = pushLegacy(core, stack, wide ? 4 : 2, frame);

  const cs = codeSegment(core, selector, code, target);
  core.cpl = target;
  state.setSegment('CS', cs);
  setStack(core, stack.ss, sp);
  if (v86)
    for (const name of ['GS', 'FS', 'DS', 'ES'] as const) state.setSegment(name, NULL_SEGMENT);
  state.rip = offset;
  const cleared = RFLAGS.TF | RFLAGS.NT | RFLAGS.RF | RFLAGS.VM;
  core.rflags &= ~(INTERRUPT.has(type) ? cleared | RFLAGS.IF : cleared);
}

/** The stack that the TSS has for an inner level, checked. @throws Fault #TS, #SS with its selector */
export function innerStack(core: Core, cpl: number): LegacyStack {
  const { ss, sp } = legacyStackFromTss(core, cpl);
  if ((ss & ~3) === 0) throw new Fault('#TS', 0);
  const descriptor = readDescriptor(core, ss, '#TS');
  const segment = checkedStack(core, ss, descriptor, cpl, '#TS', ss & ~3);
  return { ss: segment, sp, privilege: cpl === 3 ? 'user' : 'supervisor', code: ss & ~3 };
}
