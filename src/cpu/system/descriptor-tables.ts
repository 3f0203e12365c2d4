import { MASK64 } from '../../bits/u64.ts';
import { RFLAGS } from '../control-registers.ts';
import { Fault } from '../fault.ts';
import type { Insn } from '../insn.ts';
import { STATE } from '../state/layout.ts';
import { requireUmip } from './control-moves.ts';
import type { Core, SystemFunction } from './core.ts';
import {
  errorCode,
  isNull,
  markDescriptor,
  RPL,
  readDescriptor,
  readSystemDescriptor,
  TI,
} from './descriptors.ts';
import { is64Bit, isLongMode, isProtected, isVirtual8086 } from './mode.ts';
import {
  dpl,
  isConforming,
  isReadable,
  isWritableData,
  NULL_SEGMENT,
  RIGHTS,
  SYSTEM_TYPE,
  systemType,
} from './rights.ts';

/** Protected mode outside virtual-8086 mode; #UD elsewhere. */
function requireProtected({ state }: Core): void {
  if (!isProtected(state) || isVirtual8086(state)) throw new Fault('#UD');
}

type TableRegister = { readonly base: number; readonly limit: number };
const GDTR: TableRegister = { base: STATE.GDTR_BASE, limit: STATE.GDTR_LIMIT };
const IDTR: TableRegister = { base: STATE.IDTR_BASE, limit: STATE.IDTR_LIMIT };

/** Bytes of the base in a pseudo-descriptor. */
const baseSize = (core: Core) => (is64Bit(core.state) ? 8 : 4);

function pseudoDescriptor(core: Core, insn: Insn) {
  const memory = core.memoryOperand(insn);
  if (!memory) throw new Fault('#UD');
  return { segment: memory.segment, offset: core.offset(memory, insn) };
}

/** LGDT and LIDT. */
const loadTable =
  (register: TableRegister): SystemFunction =>
  (core, insn) => {
    core.requireCpl0();
    core.nonRoot?.descriptorTable(insn);
    const { segment, offset } = pseudoDescriptor(core, insn);
    const size = baseSize(core);
    core.linear(segment, offset, 2 + size, 'read');
    const limit = core.load(segment, offset, 2);
    let base = core.load(segment, (offset + 2n) & MASK64, size);
    if (insn.size === 2 && size === 4) base &= 0xff_ffffn;
    if (!core.isCanonical(base)) throw new Fault('#GP', 0);
    core.state.set(register.base, base);
    core.state.set32(register.limit, Number(limit));
  };
export const lgdt = loadTable(GDTR);
export const lidt = loadTable(IDTR);

/** SGDT and SIDT. */
const storeTable =
  (register: TableRegister): SystemFunction =>
  (core, insn) => {
    requireUmip(core);
    core.nonRoot?.descriptorTable(insn);
    const { segment, offset } = pseudoDescriptor(core, insn);
    const size = baseSize(core);
    const linear = core.linear(segment, offset, 2 + size, 'write');
    const limit = BigInt(core.state.get32(register.limit));
    const value = limit | (core.state.get(register.base) << 16n);
    core.memory.probe(linear, 2 + size, core.privilege);
    core.memory.write(
      linear,
      2 + size,
      value & ((1n << BigInt(16 + size * 8)) - 1n),
      core.privilege,
    );
  };
export const sgdt = storeTable(GDTR);
export const sidt = storeTable(IDTR);

/** LLDT. */
export const lldt: SystemFunction = (core, insn) => {
  requireProtected(core);
  core.requireCpl0();
  core.nonRoot?.descriptorTable(insn);
  const selector = Number(core.operand(insn, 0, 2));
  if (isNull(selector)) {
    core.state.setSegment('LDTR', { ...NULL_SEGMENT, selector });
    return;
  }
  const code = errorCode(selector);
  if ((selector & TI) !== 0) throw new Fault('#GP', code);
  const { rights, base, limit } = readSystemDescriptor(core, selector);
  if (systemType(rights) !== SYSTEM_TYPE.LDT) throw new Fault('#GP', code);
  if ((rights & RIGHTS.P) === 0) throw new Fault('#NP', code);
  if (!core.isCanonical(base)) throw new Fault('#GP', code);
  core.state.setSegment('LDTR', { selector, base, limit, rights });
};

/** LTR: marks the TSS busy. */
export const ltr: SystemFunction = (core, insn) => {
  requireProtected(core);
  core.requireCpl0();
  core.nonRoot?.descriptorTable(insn);
  const selector = Number(core.operand(insn, 0, 2));
  const code = errorCode(selector);
  if (isNull(selector) || (selector & TI) !== 0) throw new Fault('#GP', code);
  const { rights, base, limit } = readSystemDescriptor(core, selector);
  const type = systemType(rights);
  const narrow = type === SYSTEM_TYPE.TSS16 && !isLongMode(core.state);
  if (type !== SYSTEM_TYPE.TSS && !narrow) throw new Fault('#GP', code);
  if ((rights & RIGHTS.P) === 0) throw new Fault('#NP', code);
  if (!core.isCanonical(base)) throw new Fault('#GP', code);
  const BUSY = 2;
  markDescriptor(core, selector, BUSY);
  core.state.setSegment('TR', { selector, base, limit, rights: rights | BUSY });
};

/** SLDT and STR: into memory always 16 bits. */
const storeSelector =
  (name: 'LDTR' | 'TR'): SystemFunction =>
  (core, insn) => {
    requireProtected(core);
    requireUmip(core);
    core.nonRoot?.descriptorTable(insn);
    const selector = BigInt(core.state.segment(name).selector);
    core.setOperand(insn, 0, selector, core.memoryOperand(insn) ? 2 : insn.size);
  };
export const sldt = storeSelector('LDTR');
export const str = storeSelector('TR');

const setZf = (core: Core, zf: boolean): void => {
  core.rflags = zf ? core.rflags | RFLAGS.ZF : core.rflags & ~RFLAGS.ZF;
};

/** The rights of the segment that a selector names, or undefined where a check would fail; memory may still fault. */
function inspect(core: Core, selector: number) {
  if (isNull(selector)) return undefined;
  try {
    return readDescriptor(core, selector);
  } catch (thrown) {
    if (thrown instanceof Fault && thrown.exception === '#GP') return undefined;
    throw thrown;
  }
}

const visible = (core: Core, selector: number, rights: number): boolean =>
  isConforming(rights) || (core.cpl <= dpl(rights) && (selector & RPL) <= dpl(rights));

/** VERR and VERW: whether the segment may be read (written) from here. */
const verify =
  (suits: (rights: number) => boolean): SystemFunction =>
  (core, insn) => {
    requireProtected(core);
    const selector = Number(core.operand(insn, 0, 2));
    const descriptor = inspect(core, selector);
    setZf(
      core,
      descriptor !== undefined &&
        suits(descriptor.rights) &&
        visible(core, selector, descriptor.rights),
    );
  };
export const verr = verify(isReadable);
export const verw = verify((rights) => isWritableData(rights));

const SEGMENTS_WITH_LIMIT: ReadonlySet<number> = new Set([
  SYSTEM_TYPE.TSS16,
  SYSTEM_TYPE.LDT,
  SYSTEM_TYPE.BUSY_TSS16,
  SYSTEM_TYPE.TSS,
  SYSTEM_TYPE.BUSY_TSS,
]);
const LSL_LONG: ReadonlySet<number> = new Set([
  SYSTEM_TYPE.LDT,
  SYSTEM_TYPE.TSS,
  SYSTEM_TYPE.BUSY_TSS,
]);
const LAR_GATES: ReadonlySet<number> = new Set([
  SYSTEM_TYPE.CALL_GATE16,
  SYSTEM_TYPE.TASK_GATE,
  SYSTEM_TYPE.CALL_GATE,
]);

/** LAR and LSL: load the access rights or the limit, where the descriptor is of a kind that has them. */
const load =
  (
    kinds: (type: number, long: boolean) => boolean,
    value: (raw: bigint, limit: number) => bigint,
  ): SystemFunction =>
  (core, insn) => {
    requireProtected(core);
    const selector = Number(core.operand(insn, 1, 2));
    const descriptor = inspect(core, selector);
    const type = descriptor && systemType(descriptor.rights);
    const long = isLongMode(core.state);
    const found =
      descriptor !== undefined &&
      (type === undefined || kinds(type, long)) &&
      visible(core, selector, descriptor.rights);
    if (found) core.setOperand(insn, 0, value(descriptor.raw, descriptor.limit));
    setZf(core, found);
  };
export const lar = load(
  (type, long) =>
    (long ? LSL_LONG : SEGMENTS_WITH_LIMIT).has(type) ||
    (long ? type === SYSTEM_TYPE.CALL_GATE : LAR_GATES.has(type)),
  (raw) => (raw >> 32n) & 0x00f0_ff00n,
);
export const lsl = load(
  (type, long) => (long ? LSL_LONG : SEGMENTS_WITH_LIMIT).has(type),
  (_raw, limit) => BigInt(limit),
);

/** ARPL: raises the RPL of the destination to that of the source. */
export const arpl: SystemFunction = (core, insn) => {
  requireProtected(core);
  const destination = core.operand(insn, 0, 2);
  const rpl = core.operand(insn, 1, 2) & 3n;
  const raise = (destination & 3n) < rpl;
  if (raise) core.setOperand(insn, 0, (destination & ~3n) | rpl, 2);
  setZf(core, raise);
};
