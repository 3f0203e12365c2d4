import { all8, type OpcodeMap } from '../grammar.ts';
import { X87 } from './x87.ts';

/** Group 1 and, on their own, the first eight rows of the map. */
const arithmetic = <const O extends string>(operands: O) =>
  ({
    group: [
      `ADD ${operands} ^lock`,
      `OR ${operands} ^lock`,
      `ADC ${operands} ^lock`,
      `SBB ${operands} ^lock`,
      `AND ${operands} ^lock`,
      `SUB ${operands} ^lock`,
      `XOR ${operands} ^lock`,
      `CMP ${operands}`,
    ],
  }) as const;

/** Group 2. Number 6 is documented nowhere and shifts left on every processor. */
const shift = <const O extends string>(operands: O) =>
  ({
    group: [
      `ROL ${operands}`,
      `ROR ${operands}`,
      `RCL ${operands}`,
      `RCR ${operands}`,
      `SHL ${operands}`,
      `SHR ${operands}`,
      `SHL ${operands}`,
      `SAR ${operands}`,
    ],
  }) as const;

/** Group 3. */
const unary = <const O extends string>(operand: O, immediate: 'Ib' | 'Iz') =>
  ({
    group: [
      `TEST ${operand},${immediate}`,
      `TEST ${operand},${immediate}`,
      `NOT ${operand} ^lock`,
      `NEG ${operand} ^lock`,
      `MUL ${operand}`,
      `IMUL ${operand}`,
      `DIV ${operand}`,
      `IDIV ${operand}`,
    ],
  }) as const;

/** CS is loaded by far transfers only. */
const MOVE_TO_SEGMENT = {
  group: ['MOVSEG Sw,Ew', '', 'MOVSEG Sw,Ew', 'MOVSEG Sw,Ew', 'MOVSEG Sw,Ew', 'MOVSEG Sw,Ew'],
} as const;

/** Vol. 2, "One-byte Opcode Map". Prefixes and escapes are left empty: `decode.ts` reads them. */
// biome-ignore format: a table
export const ONE_BYTE = {
  0: ['ADD Eb,Gb ^lock', 'ADD Ev,Gv ^lock', 'ADD Gb,Eb', 'ADD Gv,Ev', 'ADD AL,Ib', 'ADD rAX,Iz', 'PUSHSEG ES ^i64', 'POPSEG ES ^i64'],
  8: ['OR Eb,Gb ^lock',  'OR Ev,Gv ^lock',  'OR Gb,Eb',  'OR Gv,Ev',  'OR AL,Ib',  'OR rAX,Iz',  'PUSHSEG CS ^i64', ''],
  16: ['ADC Eb,Gb ^lock', 'ADC Ev,Gv ^lock', 'ADC Gb,Eb', 'ADC Gv,Ev', 'ADC AL,Ib', 'ADC rAX,Iz', 'PUSHSEG SS ^i64', 'POPSEG SS ^i64'],
  24: ['SBB Eb,Gb ^lock', 'SBB Ev,Gv ^lock', 'SBB Gb,Eb', 'SBB Gv,Ev', 'SBB AL,Ib', 'SBB rAX,Iz', 'PUSHSEG DS ^i64', 'POPSEG DS ^i64'],
  32: ['AND Eb,Gb ^lock', 'AND Ev,Gv ^lock', 'AND Gb,Eb', 'AND Gv,Ev', 'AND AL,Ib', 'AND rAX,Iz', '',                'DAA ^i64'],
  40: ['SUB Eb,Gb ^lock', 'SUB Ev,Gv ^lock', 'SUB Gb,Eb', 'SUB Gv,Ev', 'SUB AL,Ib', 'SUB rAX,Iz', '',                'DAS ^i64'],
  48: ['XOR Eb,Gb ^lock', 'XOR Ev,Gv ^lock', 'XOR Gb,Eb', 'XOR Gv,Ev', 'XOR AL,Ib', 'XOR rAX,Iz', '',                'AAA ^i64'],
  56: ['CMP Eb,Gb',       'CMP Ev,Gv',       'CMP Gb,Eb', 'CMP Gv,Ev', 'CMP AL,Ib', 'CMP rAX,Iz', '',                'AAS ^i64'],
  64: all8('INC Zv ^i64'), // in 64-bit mode these sixteen are REX
  72: all8('DEC Zv ^i64'),
  80: all8('PUSH Zv ^d64'),
  88: all8('POP Zv ^d64'),
  96: ['PUSHA ^i64', 'POPA ^i64', 'BOUND Gv,Ma ^i64', { mode64: 'MOVSXD Gv,Ez', legacy: 'ARPL Ew,Gw' }, '', '', '', ''],
  104: ['PUSH Iz ^d64', 'IMUL Gv,Ev,Iz', 'PUSH Ibs ^d64', 'IMUL Gv,Ev,Ibs', 'INS Yb,DX ^rep', 'INS Yz,DX ^rep', 'OUTS DX,Xb ^rep', 'OUTS DX,Xz ^rep'],
  112: all8('JCC Jb ^f64'),
  120: all8('JCC Jb ^f64'),
  128: [arithmetic('Eb,Ib'), arithmetic('Ev,Iz'), { mode64: '', legacy: arithmetic('Eb,Ib') }, arithmetic('Ev,Ibs'), 'TEST Eb,Gb', 'TEST Ev,Gv', 'XCHG Eb,Gb ^lock', 'XCHG Ev,Gv ^lock'],
  136: ['MOV Eb,Gb', 'MOV Ev,Gv', 'MOV Gb,Eb', 'MOV Gv,Ev', 'MOVSEG Rv/Mw,Sw', 'LEA Gv,M', MOVE_TO_SEGMENT, { group: ['POP Ev ^d64'] }],
  144: [{ f3: 'PAUSE', otherwise: { b0: 'NOP', b1: 'XCHG Zv,rAX' } }, 'XCHG Zv,rAX', 'XCHG Zv,rAX', 'XCHG Zv,rAX', 'XCHG Zv,rAX', 'XCHG Zv,rAX', 'XCHG Zv,rAX', 'XCHG Zv,rAX'],
  152: ['CBW', 'CWD', 'CALLF Ap ^i64', 'FWAIT', 'PUSHF ^d64', 'POPF ^d64', 'SAHF', 'LAHF'],
  160: ['MOV AL,Ob', 'MOV rAX,Ov', 'MOV Ob,AL', 'MOV Ov,rAX', 'MOVS Yb,Xb ^rep', 'MOVS Yv,Xv ^rep', 'CMPS Xb,Yb ^rep', 'CMPS Xv,Yv ^rep'],
  168: ['TEST AL,Ib', 'TEST rAX,Iz', 'STOS Yb,AL ^rep', 'STOS Yv,rAX ^rep', 'LODS AL,Xb ^rep', 'LODS rAX,Xv ^rep', 'SCAS AL,Yb ^rep', 'SCAS rAX,Yv ^rep'],
  176: all8('MOV Zb,Ib'),
  184: all8('MOV Zv,Iv'),
  192: [shift('Eb,Ib'), shift('Ev,Ib'), 'RET Iw ^f64', 'RET ^f64', 'LES Gv,Mp ^i64', 'LDS Gv,Mp ^i64', { group: ['MOV Eb,Ib'] }, { group: ['MOV Ev,Iz'] }],
  200: ['ENTER Iw,Ib ^d64', 'LEAVE ^d64', 'RETF Iw', 'RETF', 'INT3', 'INT Ib', 'INTO ^i64', 'IRET'],
  208: [shift('Eb,1'), shift('Ev,1'), shift('Eb,CL'), shift('Ev,CL'), 'AAM Ib ^i64', 'AAD Ib ^i64', 'SALC ^i64', 'XLAT [rBX]'],
  216: X87,
  224: ['LOOPNE Jb ^f64', 'LOOPE Jb ^f64', 'LOOP Jb ^f64', 'JCXZ Jb ^f64', 'IN AL,Ib', 'IN eAX,Ib', 'OUT Ib,AL', 'OUT Ib,eAX'],
  232: ['CALL Jz ^f64', 'JMP Jz ^f64', 'JMPF Ap ^i64', 'JMP Jb ^f64', 'IN AL,DX', 'IN eAX,DX', 'OUT DX,AL', 'OUT DX,eAX'],
  240: ['', 'INT1', '', '', 'HLT', 'CMC', unary('Eb', 'Ib'), unary('Ev', 'Iz')],
  248: [
    'CLC', 'STC', 'CLI', 'STI', 'CLD', 'STD',
    { group: ['INC Eb ^lock', 'DEC Eb ^lock'] },
    { group: ['INC Ev ^lock', 'DEC Ev ^lock', 'CALL Ev ^f64', 'CALLF Mp', 'JMP Ev ^f64', 'JMPF Mp', 'PUSH Ev ^d64'] },
  ],
} as const satisfies OpcodeMap;
