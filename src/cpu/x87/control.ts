import { CR0 } from '../control-registers.ts';
import { Fault } from '../fault.ts';
import { EXTENDED, unpack } from '../float/format.ts';
import type { Insn } from '../insn.ts';
import { STATE } from '../state/layout.ts';
import type { SystemFunction } from '../system/core.ts';
import { isRealLike } from '../system/mode.ts';
import { Area } from './area.ts';
import { EXCEPTIONS, FSW, raisePending } from './registers.ts';
import { computing, controlling, register, type Unit } from './unit.ts';

const MASKS = 0x3f;

/** The full tag word. Vol. 1, "x87 FPU Tag Word": valid, zero, special, empty. */
function fullTags(unit: Unit): number {
  let tags = 0;
  for (let at = 0; at < 8; at++) {
    const kept = ((unit.ftw >> at) & 1) === 1;
    const { kind, denormal } = unpack(EXTENDED, unit.physicalBits(at));
    const tag = !kept ? 3 : kind === 'zero' ? 1 : kind === 'finite' && !denormal ? 0 : 2;
    tags |= tag << (2 * at);
  }
  return tags;
}

function setFullTags(unit: Unit, tags: number): void {
  let kept = 0;
  for (let at = 0; at < 8; at++) if (((tags >> (2 * at)) & 3) !== 3) kept |= 1 << at;
  unit.ftw = kept;
}

/** Bytes of the environment, and of one of its seven fields. */
const environmentSize = ({ size }: Insn): number => (size === 14 || size === 94 ? 14 : 28);

/** Vol. 1, "Saving the x87 FPU's State with FSTENV/FNSTENV and FSAVE/FNSAVE": four layouts. */
function storeEnvironment(area: Area, unit: Unit): void {
  const { state } = unit;
  const wide = environmentSize(unit.insn) === 28;
  const real = isRealLike(state);
  const fip = state.get32(STATE.FIP);
  const fdp = state.get32(STATE.FDP);
  const linear = (segment: number, offset: number) => (segment * 16 + offset) >>> 0;
  const put = (field: number, value: number) =>
    wide ? area.write(4 * field, 4, value >>> 0) : area.write(2 * field, 2, value & 0xffff);
  const ones = wide ? 0xffff_0000 : 0;
  put(0, unit.fcw | ones);
  put(1, unit.fsw | ones);
  put(2, fullTags(unit) | ones);
  if (real) {
    const at = linear(unit.fcs, fip);
    const data = linear(unit.fds, fdp);
    const upper = (address: number) => (wide ? (address >>> 16) << 12 : (address >>> 16) << 12);
    put(3, wide ? (at & 0xffff) | ones : at);
    put(4, upper(at) | (unit.fop & 0x7ff));
    put(5, wide ? (data & 0xffff) | ones : data);
    put(6, upper(data));
  } else {
    put(3, fip);
    put(4, wide ? unit.fcs | (unit.fop << 16) : unit.fcs);
    put(5, fdp);
    put(6, unit.fds | ones);
  }
}

function loadEnvironment(area: Area, unit: Unit): void {
  const { state } = unit;
  const wide = environmentSize(unit.insn) === 28;
  const get = (field: number) => Number(wide ? area.read(4 * field, 4) : area.read(2 * field, 2));
  unit.fsw = get(1) & 0xffff;
  unit.fcw = get(0) & 0xffff;
  setFullTags(unit, get(2));
  if (isRealLike(state)) {
    const address = (low: number, high: number) => (low & 0xffff) | ((high >>> 12) << 16);
    state.set(STATE.FIP, BigInt(address(get(3), get(4)) >>> 0));
    state.set(STATE.FDP, BigInt(address(get(5), get(6)) >>> 0));
    unit.fop = get(4) & 0x7ff;
    unit.fcs = 0;
    unit.fds = 0;
  } else {
    state.set(STATE.FIP, BigInt(get(3)));
    state.set(STATE.FDP, BigInt(get(5)));
    unit.fcs = get(4) & 0xffff;
    unit.fds = get(6) & 0xffff;
    if (wide) unit.fop = (get(4) >>> 16) & 0x7ff;
  }
}

const areaOf = (unit: Unit, access: 'read' | 'write') =>
  new Area(unit.core, unit.insn, unit.insn.size, access, {
    checked: environmentSize(unit.insn) === 28 ? 4 : 2,
  });

/** FNSTENV masks all exceptions afterwards. */
const saveEnvironment = controlling((unit) => {
  storeEnvironment(areaOf(unit, 'write'), unit);
  unit.fcw |= MASKS;
});

const restoreEnvironment = controlling((unit) => {
  loadEnvironment(areaOf(unit, 'read'), unit);
}, true);

const saveAll = controlling((unit) => {
  const area = areaOf(unit, 'write');
  storeEnvironment(area, unit);
  const at = environmentSize(unit.insn);
  for (let i = 0; i < 8; i++) area.write(at + 10 * i, 10, unit.get(i));
  unit.init();
});

const restoreAll = controlling((unit) => {
  const area = areaOf(unit, 'read');
  loadEnvironment(area, unit);
  const at = environmentSize(unit.insn);
  for (let i = 0; i < 8; i++) unit.setPhysicalBits(unit.physical(i), area.read(at + 10 * i, 10));
}, true);

const loadControl = controlling((unit) => {
  unit.fcw = Number(unit.load());
}, true);

const storeControl = controlling((unit) => {
  unit.store(BigInt(unit.fcw));
});

const storeStatus = controlling((unit, insn) => {
  if (insn.operands[0]!.kind === 'mem') unit.store(BigInt(unit.fsw));
  else unit.core.setGpr(0, 2, BigInt(unit.fsw));
});

const clearExceptions = controlling((unit) => {
  unit.fsw &= ~(EXCEPTIONS | FSW.SF | FSW.ES | FSW.B);
});

const rotate = (by: 1 | -1): SystemFunction =>
  computing((unit) => {
    unit.setConditions(0, FSW.C1);
    unit.top += by;
  });

const free = (pops: boolean): SystemFunction =>
  computing((unit, insn) => {
    unit.setConditions(0, FSW.C1);
    unit.free(register(insn, 0));
    if (pops) unit.pop();
  });

/** FWAIT: #NM only with CR0.MP and TS, then what is pending. */
const wait: SystemFunction = ({ state }) => {
  const both = CR0.MP | CR0.TS;
  if ((state.get(STATE.CR0) & both) === both) throw new Fault('#NM');
  raisePending(state);
};

/** x87 control instructions, by mnemonic. */
// biome-ignore format: a table
export const X87_CONTROL = {
  FNINIT: controlling((unit) => unit.init()),  FNCLEX: clearExceptions,
  FLDCW: loadControl,         FNSTCW: storeControl,     FNSTSW: storeStatus,
  FLDENV: restoreEnvironment, FNSTENV: saveEnvironment, FNSAVE: saveAll,  FRSTOR: restoreAll,
  FINCSTP: rotate(1),         FDECSTP: rotate(-1),      FFREE: free(false),  FFREEP: free(true),
  FNOP: computing(() => {}),  FWAIT: wait,
} as const;
