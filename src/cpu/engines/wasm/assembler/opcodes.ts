/**
 * WebAssembly instructions by their names in the text format.
 * A code above FFH is the SIMD prefix FDH followed by its low byte as LEB128.
 */
// biome-ignore format: a table
export const OPCODES = {
  unreachable: 0x00, nop: 0x01, return: 0x0f, drop: 0x1a, select: 0x1b,
  'i32.eqz': 0x45, 'i32.eq': 0x46, 'i32.ne': 0x47, 'i32.lt_s': 0x48, 'i32.lt_u': 0x49, 'i32.gt_s': 0x4a,
  'i32.gt_u': 0x4b, 'i32.le_s': 0x4c, 'i32.le_u': 0x4d, 'i32.ge_s': 0x4e, 'i32.ge_u': 0x4f,
  'i64.eqz': 0x50, 'i64.eq': 0x51, 'i64.ne': 0x52, 'i64.lt_s': 0x53, 'i64.lt_u': 0x54, 'i64.gt_s': 0x55,
  'i64.gt_u': 0x56, 'i64.le_s': 0x57, 'i64.le_u': 0x58, 'i64.ge_s': 0x59, 'i64.ge_u': 0x5a,
  'i32.clz': 0x67, 'i32.ctz': 0x68, 'i32.popcnt': 0x69, 'i32.add': 0x6a, 'i32.sub': 0x6b, 'i32.mul': 0x6c,
  'i32.div_s': 0x6d, 'i32.div_u': 0x6e, 'i32.rem_s': 0x6f, 'i32.rem_u': 0x70, 'i32.and': 0x71, 'i32.or': 0x72,
  'i32.xor': 0x73, 'i32.shl': 0x74, 'i32.shr_s': 0x75, 'i32.shr_u': 0x76, 'i32.rotl': 0x77, 'i32.rotr': 0x78,
  'i64.clz': 0x79, 'i64.ctz': 0x7a, 'i64.popcnt': 0x7b, 'i64.add': 0x7c, 'i64.sub': 0x7d, 'i64.mul': 0x7e,
  'i64.div_s': 0x7f, 'i64.div_u': 0x80, 'i64.rem_s': 0x81, 'i64.rem_u': 0x82, 'i64.and': 0x83, 'i64.or': 0x84,
  'i64.xor': 0x85, 'i64.shl': 0x86, 'i64.shr_s': 0x87, 'i64.shr_u': 0x88, 'i64.rotl': 0x89, 'i64.rotr': 0x8a,
  'i32.wrap_i64': 0xa7, 'i64.extend_i32_s': 0xac, 'i64.extend_i32_u': 0xad,
  'i32.extend8_s': 0xc0, 'i32.extend16_s': 0xc1, 'i64.extend8_s': 0xc2, 'i64.extend16_s': 0xc3, 'i64.extend32_s': 0xc4,
  'i8x16.splat': 0xfd0f, 'i16x8.splat': 0xfd10, 'i32x4.splat': 0xfd11, 'i64x2.splat': 0xfd12,
  'i8x16.swizzle': 0xfd0e,
  'i8x16.eq': 0xfd23, 'i8x16.gt_s': 0xfd27, 'i16x8.eq': 0xfd2d, 'i16x8.gt_s': 0xfd31, 'i32x4.eq': 0xfd37,
  'i32x4.gt_s': 0xfd3b, 'i64x2.eq': 0xfdd6, 'i64x2.gt_s': 0xfdd9,
  'v128.not': 0xfd4d, 'v128.and': 0xfd4e, 'v128.andnot': 0xfd4f, 'v128.or': 0xfd50, 'v128.xor': 0xfd51,
  'v128.bitselect': 0xfd52, 'v128.any_true': 0xfd53,
  'i8x16.abs': 0xfd60, 'i8x16.bitmask': 0xfd64, 'i8x16.narrow_i16x8_s': 0xfd65, 'i8x16.narrow_i16x8_u': 0xfd66,
  'i8x16.shl': 0xfd6b, 'i8x16.add': 0xfd6e, 'i8x16.add_sat_s': 0xfd6f, 'i8x16.add_sat_u': 0xfd70, 'i8x16.sub': 0xfd71,
  'i8x16.sub_sat_s': 0xfd72, 'i8x16.sub_sat_u': 0xfd73, 'i8x16.min_s': 0xfd76, 'i8x16.min_u': 0xfd77,
  'i8x16.max_s': 0xfd78, 'i8x16.max_u': 0xfd79, 'i8x16.avgr_u': 0xfd7b,
  'i16x8.abs': 0xfd80, 'i16x8.bitmask': 0xfd84, 'i16x8.narrow_i32x4_s': 0xfd85, 'i16x8.narrow_i32x4_u': 0xfd86,
  'i16x8.extend_low_i8x16_s': 0xfd87, 'i16x8.extend_low_i8x16_u': 0xfd89, 'i16x8.shl': 0xfd8b, 'i16x8.shr_s': 0xfd8c,
  'i16x8.shr_u': 0xfd8d, 'i16x8.add': 0xfd8e, 'i16x8.add_sat_s': 0xfd8f, 'i16x8.add_sat_u': 0xfd90, 'i16x8.sub': 0xfd91,
  'i16x8.sub_sat_s': 0xfd92, 'i16x8.sub_sat_u': 0xfd93, 'i16x8.mul': 0xfd95, 'i16x8.min_s': 0xfd96, 'i16x8.min_u': 0xfd97,
  'i16x8.max_s': 0xfd98, 'i16x8.max_u': 0xfd99, 'i16x8.avgr_u': 0xfd9b,
  'i32x4.abs': 0xfda0, 'i32x4.bitmask': 0xfda4, 'i32x4.extend_low_i16x8_s': 0xfda7, 'i32x4.extend_low_i16x8_u': 0xfda9,
  'i32x4.shl': 0xfdab, 'i32x4.shr_s': 0xfdac, 'i32x4.shr_u': 0xfdad, 'i32x4.add': 0xfdae, 'i32x4.sub': 0xfdb1,
  'i32x4.mul': 0xfdb5, 'i32x4.min_s': 0xfdb6, 'i32x4.min_u': 0xfdb7, 'i32x4.max_s': 0xfdb8, 'i32x4.max_u': 0xfdb9,
  'i32x4.dot_i16x8_s': 0xfdba,
  'i64x2.bitmask': 0xfdc4, 'i64x2.extend_low_i32x4_s': 0xfdc7, 'i64x2.extend_low_i32x4_u': 0xfdc9, 'i64x2.shl': 0xfdcb,
  'i64x2.shr_s': 0xfdcc, 'i64x2.shr_u': 0xfdcd, 'i64x2.add': 0xfdce, 'i64x2.sub': 0xfdd1,
  'i64x2.extmul_low_i32x4_s': 0xfddc, 'i64x2.extmul_low_i32x4_u': 0xfdde,
} as const;
export type Opcode = keyof typeof OPCODES;

/** Loads and stores: each takes an alignment hint and an offset. */
// biome-ignore format: a table
export const MEMORY_OPCODES = {
  'i32.load': 0x28, 'i64.load': 0x29, 'i32.load8_s': 0x2c, 'i32.load8_u': 0x2d, 'i32.load16_s': 0x2e, 'i32.load16_u': 0x2f,
  'i64.load8_s': 0x30, 'i64.load8_u': 0x31, 'i64.load16_s': 0x32, 'i64.load16_u': 0x33, 'i64.load32_s': 0x34,
  'i64.load32_u': 0x35, 'i32.store': 0x36, 'i64.store': 0x37, 'i32.store8': 0x3a, 'i32.store16': 0x3b,
  'i64.store8': 0x3c, 'i64.store16': 0x3d, 'i64.store32': 0x3e,
  'v128.load': 0xfd00, 'v128.store': 0xfd0b, 'v128.load32_zero': 0xfd5c, 'v128.load64_zero': 0xfd5d,
} as const;
export type MemoryOpcode = keyof typeof MEMORY_OPCODES;

/** Value types as the binary format writes them. */
export const TYPES = { i32: 0x7f, i64: 0x7e, v128: 0x7b } as const;
export type Type = keyof typeof TYPES;
