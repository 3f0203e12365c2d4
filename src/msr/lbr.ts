import { bit, bits, maskOf, ones } from '../bits/bitfield.ts';
import { defineMsrs } from './definition.ts';
import { deepest, type PmuShape } from './pmu-shape.ts';

/** IA32_LBR_CTL: what is recorded. */
// biome-ignore format: a table
export const LBR_CTL = {
  LBREN: bit(0),          OS: bit(1),             USR: bit(2),            CALL_STACK: bit(3),
  COND: bit(16),          NEAR_REL_JMP: bit(17),  NEAR_IND_JMP: bit(18),  NEAR_REL_CALL: bit(19),
  NEAR_IND_CALL: bit(20), NEAR_RET: bit(21),      OTHER_BRANCH: bit(22),
} as const;

/** MSR_LBR_SELECT: what is *not* recorded, and call-stack mode. */
// biome-ignore format: a table
export const LBR_SELECT = {
  CPL_EQ_0: bit(0),       CPL_NEQ_0: bit(1),      JCC: bit(2),            NEAR_REL_CALL: bit(3),  NEAR_IND_CALL: bit(4),
  NEAR_RET: bit(5),       NEAR_IND_JMP: bit(6),   NEAR_REL_JMP: bit(7),   FAR_BRANCH: bit(8),     EN_CALLSTACK: bit(9),
} as const;

/** IA32_LBR_x_INFO; MSR_LBR_INFO_x has the first two fields. */
// biome-ignore format: a table
export const LBR_INFO = {
  CYC_CNT: bits(15, 0),  MISPRED: bit(63),
  BR_TYPE: bits(59, 56), CYC_CNT_VALID: bit(60),  TSX_ABORT: bit(61),  IN_TSX: bit(62),
} as const;

const LEGACY = 'LBR Stack';
const ARCHITECTURAL = 'Architectural Last Branch Records';

/** The registers of last branch records, of the kind that the shape has. */
export function lbrMsrs({ lbr }: PmuShape) {
  const legacy = lbr?.kind === 'legacy' ? lbr.depth : 0;
  const architectural = lbr?.kind === 'architectural' ? deepest(lbr.depths) : 0;
  const { MISPRED, TSX_ABORT, IN_TSX, CYC_CNT } = LBR_INFO;
  const legacyInfo = MISPRED | TSX_ABORT | IN_TSX | CYC_CNT;
  const onlyIf = (depth: number) => (depth > 0 ? {} : { count: 0 });

  // biome-ignore format: a table
  return defineMsrs({
    MSR_LBR_SELECT:            { address: 0x1c8,  ...onlyIf(legacy),        writable: maskOf(...Object.values(LBR_SELECT)), sdm: LEGACY },
    MSR_LASTBRANCH_TOS:        { address: 0x1c9,  ...onlyIf(legacy),        writable: BigInt(Math.max(legacy, 1) - 1),      sdm: LEGACY },
    MSR_LASTBRANCH_FROM_IP:    { address: 0x680,  count: legacy,            writable: ones(64),    sdm: LEGACY },
    MSR_LASTBRANCH_TO_IP:      { address: 0x6c0,  count: legacy,            writable: ones(64),    sdm: LEGACY },
    MSR_LBR_INFO:              { address: 0xdc0,  count: legacy,            writable: legacyInfo,  sdm: LEGACY },
    IA32_LBR_CTL:              { address: 0x14ce, ...onlyIf(architectural), writable: maskOf(...Object.values(LBR_CTL)),    sdm: ARCHITECTURAL },
    IA32_LBR_DEPTH:            { address: 0x14cf, ...onlyIf(architectural), writable: ones(64), reset: BigInt(architectural), sdm: ARCHITECTURAL },
    IA32_LBR_INFO:             { address: 0x1200, count: architectural,     writable: maskOf(...Object.values(LBR_INFO)),   sdm: ARCHITECTURAL },
    IA32_LBR_FROM_IP:          { address: 0x1500, count: architectural,     writable: ones(64),    sdm: ARCHITECTURAL },
    IA32_LBR_TO_IP:            { address: 0x1600, count: architectural,     writable: ones(64),    sdm: ARCHITECTURAL },
  });
}
