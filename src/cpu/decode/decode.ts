import type { DecodeFault, Insn, Operand, Size } from '../insn.ts';
import { Cursor, SEGMENT_NUMBERS } from './cursor.ts';
import { type Form, type Node, parseMap } from './grammar.ts';
import { ONE_BYTE } from './maps/one-byte.ts';
import { THREE_BYTE_3A, THREE_BYTE_38 } from './maps/three-byte.ts';
import { TWO_BYTE } from './maps/two-byte.ts';
import { VEX_3A, VEX_38 } from './maps/vex.ts';
import type { Mnemonic } from './mnemonics.ts';

const MAP_1 = parseMap(ONE_BYTE);
const MAP_0F = parseMap(TWO_BYTE);
const MAP_0F38 = parseMap(THREE_BYTE_38);
const MAP_0F3A = parseMap(THREE_BYTE_3A);
const NOTHING = parseMap({});
/** By VEX.mmmmm. */
const VEX_MAPS = [NOTHING, NOTHING, parseMap(VEX_38), parseMap(VEX_3A)];

/** Segment override prefixes, in the order of the segments' numbers. */
const OVERRIDES = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];

/** Reads the legacy prefixes and REX; returns the byte after them, the first of the opcode. */
function readPrefixes(c: Cursor): number {
  for (let rex = 0; ; ) {
    const byte = c.byte();
    if (c.codeSize === 8 && byte >> 4 === 4) {
      rex = byte; // counts only right before the opcode
      continue;
    }
    if (!readPrefix(c, byte)) {
      applyRex(c, rex);
      return byte;
    }
    rex = 0;
  }
}

function readPrefix(c: Cursor, byte: number): boolean {
  const segment = OVERRIDES.indexOf(byte);
  if (segment >= 0) {
    // In 64-bit mode ES, CS, SS and DS as prefixes do nothing.
    if (c.codeSize !== 8 || segment >= 4) c.segment = SEGMENT_NUMBERS[segment];
    return true;
  }
  switch (byte) {
    case 0x66:
      c.operandSize = c.codeSize === 2 ? 4 : 2;
      if (c.mandatory === 0) c.mandatory = 1;
      return true;
    case 0x67:
      c.addressSize = c.codeSize === 4 ? 2 : 4;
      return true;
    case 0xf0:
      c.lock = true;
      return true;
    case 0xf2:
      c.rep = 'repne';
      c.mandatory = 3;
      return true;
    case 0xf3:
      c.rep = 'rep';
      c.mandatory = 2;
      return true;
    default:
      return false;
  }
}

function applyRex(c: Cursor, rex: number): void {
  if (rex === 0) return;
  c.rex = true;
  c.w = (rex & 8) !== 0;
  c.r = (rex & 4) << 1;
  c.x = (rex & 2) << 2;
  c.b = (rex & 1) << 3;
  if (c.w) c.operandSize = 8;
}

/** Reads the escape bytes after 0FH and gives the entry of the opcode. */
function escaped(c: Cursor): Node {
  c.opcode = c.byte();
  if (c.opcode !== 0x38 && c.opcode !== 0x3a) return MAP_0F[c.opcode];
  const map = c.opcode === 0x38 ? MAP_0F38 : MAP_0F3A;
  c.opcode = c.byte();
  return map[c.opcode];
}

/** Vol. 2, "The VEX Prefix". C4H and C5H are LES and LDS outside 64-bit mode unless a register follows. */
function isVex(c: Cursor, byte: number): boolean {
  return (byte === 0xc4 || byte === 0xc5) && (c.codeSize === 8 || c.peek() >= 0xc0);
}

function vexEscaped(c: Cursor, lead: number): Node {
  // LOCK, REX and the prefixes that VEX.pp stands for are not allowed before VEX.
  if (c.lock || c.rex || c.mandatory !== 0) c.undefinedOpcode();
  const first = c.byte();
  const last = lead === 0xc5 ? first & 0x7f : c.byte();
  const long = c.codeSize === 8;
  c.vex = true;
  c.r = long && (first & 0x80) === 0 ? 8 : 0;
  if (lead === 0xc4 && long) {
    c.x = (first & 0x40) === 0 ? 8 : 0;
    c.b = (first & 0x20) === 0 ? 8 : 0;
    c.w = (last & 0x80) !== 0;
  }
  c.vvvv = (~last >> 3) & (long ? 15 : 7);
  c.mandatory = last & 3;
  c.opcode = c.byte();
  if ((last & 4) !== 0) c.undefinedOpcode(); // VEX.L: none of ours is 256 bits wide
  return VEX_MAPS[lead === 0xc5 ? 1 : first & 0x1f]?.[c.opcode];
}

/** Follows the choices of an entry to its form. */
function formOf(c: Cursor, entry: Node, features: ReadonlySet<string> | undefined): Form {
  const missing = (node: Node) =>
    node !== undefined &&
    'op' in node &&
    node.feature !== undefined &&
    features?.has(node.feature) === false;

  let node = entry;
  let modrm = false;
  for (;;) {
    if (node === undefined) return c.undefinedOpcode();
    if (node.modrm && !modrm) {
      c.readModrm();
      modrm = true;
    }
    if ('op' in node) break;
    const branch: Node = node.branches[node.select(c)];
    node = missing(branch) ? (node.otherwise ?? branch) : branch;
  }
  if (missing(node) || (c.codeSize === 8 ? node.not64 : node.only64)) c.undefinedOpcode();
  return node;
}

/** The widths of the first two operands that tell one; the second only if it differs. */
function sizesOf(c: Cursor, form: Form): { size: Size; sourceSize?: Size } {
  let size: Size | undefined = form.size?.(c);
  for (const operand of form.operands) {
    const own = operand.size?.(c);
    if (own === undefined) continue;
    if (size === undefined) size = own;
    else return own === size ? { size } : { size, sourceSize: own };
  }
  return { size: size ?? c.operandSize };
}

/** Vol. 2, "LOCK—Assert LOCK# Signal Prefix": on some instructions, and only with a destination in memory. */
const mayLock = (form: Form, operands: readonly Operand[]) =>
  form.lock && operands[0]?.kind === 'mem';

const COMPARING = new Set(['CMPS', 'SCAS']);

/** Vol. 2, "REP/REPE/REPZ/REPNE/REPNZ": only CMPS and SCAS look at ZF. */
const repOf = (form: Form, rep: 'rep' | 'repne') => (COMPARING.has(form.op) ? rep : 'rep');

function read(c: Cursor, features: ReadonlySet<string> | undefined): Insn {
  const first = readPrefixes(c);
  let entry: Node;
  if (first === 0x0f) entry = escaped(c);
  else if (isVex(c, first)) entry = vexEscaped(c, first);
  else {
    c.opcode = first;
    entry = MAP_1[first];
  }
  const form = formOf(c, entry, features);
  if (c.codeSize === 8) {
    if (form.forced64 || (form.default64 && c.operandSize === 4)) c.operandSize = 8;
  }
  if (form.memory && c.modrm < 0xc0) c.readMemory();
  if (c.vex && c.vvvv !== 0 && !form.vvvv) c.undefinedOpcode();
  const operands = form.operands.map((operand) => operand.read(c));
  if (c.lock && !mayLock(form, operands)) c.undefinedOpcode();

  return {
    op: form.op as Mnemonic,
    ...sizesOf(c, form),
    addressSize: c.addressSize,
    codeSize: c.codeSize,
    operands,
    ...(form.condition && { condition: c.opcode & 15 }),
    ...(c.lock && { lock: true }),
    ...(form.rep && c.rep && { rep: repOf(form, c.rep) }),
    ...(c.vex && { vex: true }),
    ...(first >> 3 === 0x1b && { fop: ((first & 7) << 8) | c.modrm }),
    length: c.length,
  };
}

/**
 * The instruction at `offset`, of which `available` bytes may be read, in code of `codeSize` bytes (CS.D, CS.L).
 * With `features`, what needs any other CPUID feature is #UD, as on a CPU without it.
 */
export function decode(
  bytes: Uint8Array,
  offset: number,
  codeSize: 2 | 4 | 8,
  available = bytes.length - offset,
  features?: ReadonlySet<string>,
): Insn | DecodeFault {
  try {
    return read(new Cursor(bytes, offset, available, codeSize), features);
  } catch (stop) {
    if (typeof stop === 'string') return stop as DecodeFault;
    throw stop;
  }
}
