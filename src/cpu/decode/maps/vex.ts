import type { OpcodeMap } from '../grammar.ts';

/** The VEX-encoded instructions on general registers, VEX.128, map 0FH 38H. There is no AVX: no others exist. */
// biome-ignore format: a table
export const VEX_38 = {
  240: [
    '', '',
    { np: 'ANDN Gy,By,Ey ^BMI1' },
    { np: { group: ['', 'BLSR By,Ey ^BMI1', 'BLSMSK By,Ey ^BMI1', 'BLSI By,Ey ^BMI1'] } },
    '',
    { np: 'BZHI Gy,Ey,By ^BMI2', f3: 'PEXT Gy,By,Ey ^BMI2', f2: 'PDEP Gy,By,Ey ^BMI2' },
    { f2: 'MULX Gy,By,Ey ^BMI2' },
    { np: 'BEXTR Gy,Ey,By ^BMI1', p66: 'SHLX Gy,Ey,By ^BMI2', f3: 'SARX Gy,Ey,By ^BMI2', f2: 'SHRX Gy,Ey,By ^BMI2' },
  ],
} as const satisfies OpcodeMap;

/** Map 0FH 3AH. */
export const VEX_3A = {
  240: { f2: 'RORX Gy,Ey,Ib ^BMI2' },
} as const satisfies OpcodeMap;
