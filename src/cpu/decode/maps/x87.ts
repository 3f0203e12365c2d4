import type { Entry } from '../grammar.ts';

const arithmetic = <const P extends 'F' | 'FI', const O extends string>(prefix: P, operand: O) =>
  [
    `${prefix}ADD ${operand}`,
    `${prefix}MUL ${operand}`,
    `${prefix}COM ${operand}`,
    `${prefix}COMP ${operand}`,
    `${prefix}SUB ${operand}`,
    `${prefix}SUBR ${operand}`,
    `${prefix}DIV ${operand}`,
    `${prefix}DIVR ${operand}`,
  ] as const;

/**
 * Opcodes D8H to DFH. Vol. 2, "Escape Opcode Instructions". The aliases (FXCH, FCOM, FCOMP and FSTP under second
 * opcodes, FFREEP) and the 8087 and 287 leftovers that do nothing are as every processor has them.
 */
// biome-ignore format: a table
export const X87 = [
  { mem: { group: arithmetic('F', 'Md') }, register: { group: arithmetic('F', 'ST,STi') } },
  {
    mem: { group: ['FLD Md', '', 'FST Md', 'FSTP Md', 'FLDENV Me', 'FLDCW Mw', 'FNSTENV Me', 'FNSTCW Mw'] },
    register: { group: [
      'FLD STi', 'FXCH ST,STi', { rm: ['FNOP'] }, 'FSTPNCE STi',
      { rm: ['FCHS', 'FABS', '', '', 'FTST', 'FXAM'] },
      { rm: ['FLD1', 'FLDL2T', 'FLDL2E', 'FLDPI', 'FLDLG2', 'FLDLN2', 'FLDZ'] },
      { rm: ['F2XM1', 'FYL2X', 'FPTAN', 'FPATAN', 'FXTRACT', 'FPREM1', 'FDECSTP', 'FINCSTP'] },
      { rm: ['FPREM', 'FYL2XP1', 'FSQRT', 'FSINCOS', 'FRNDINT', 'FSCALE', 'FSIN', 'FCOS'] },
    ] },
  },
  {
    mem: { group: arithmetic('FI', 'Md') },
    register: { group: ['FCMOVB ST,STi', 'FCMOVE ST,STi', 'FCMOVBE ST,STi', 'FCMOVU ST,STi', '', { rm: ['', 'FUCOMPP'] }] },
  },
  {
    mem: { group: ['FILD Md', 'FISTTP Md ^SSE3', 'FIST Md', 'FISTP Md', '', 'FLD Mt', '', 'FSTP Mt'] },
    register: { group: [
      'FCMOVNB ST,STi', 'FCMOVNE ST,STi', 'FCMOVNBE ST,STi', 'FCMOVNU ST,STi',
      { rm: ['FNOP', 'FNOP', 'FNCLEX', 'FNINIT', 'FNOP'] }, // FENI, FDISI and FSETPM of old
      'FUCOMI ST,STi', 'FCOMI ST,STi',
    ] },
  },
  {
    mem: { group: arithmetic('F', 'Mq') },
    register: { group: ['FADD STi,ST', 'FMUL STi,ST', 'FCOM ST,STi', 'FCOMP ST,STi', 'FSUBR STi,ST', 'FSUB STi,ST', 'FDIVR STi,ST', 'FDIV STi,ST'] },
  },
  {
    mem: { group: ['FLD Mq', 'FISTTP Mq ^SSE3', 'FST Mq', 'FSTP Mq', 'FRSTOR Mf', '', 'FNSAVE Mf', 'FNSTSW Mw'] },
    register: { group: ['FFREE STi', 'FXCH ST,STi', 'FST STi', 'FSTP STi', 'FUCOM ST,STi', 'FUCOMP ST,STi'] },
  },
  {
    mem: { group: arithmetic('FI', 'Mw') },
    register: { group: ['FADDP STi,ST', 'FMULP STi,ST', 'FCOMP ST,STi', { rm: ['', 'FCOMPP'] }, 'FSUBRP STi,ST', 'FSUBP STi,ST', 'FDIVRP STi,ST', 'FDIVP STi,ST'] },
  },
  {
    mem: { group: ['FILD Mw', 'FISTTP Mw ^SSE3', 'FIST Mw', 'FISTP Mw', 'FBLD Mt', 'FILD Mq', 'FBSTP Mt', 'FISTP Mq'] },
    register: { group: ['FFREEP STi', 'FXCH ST,STi', 'FSTP STi', 'FSTP STi', { rm: ['FNSTSW AX'] }, 'FUCOMIP ST,STi', 'FCOMIP ST,STi'] },
  },
] as const satisfies readonly Entry[];
