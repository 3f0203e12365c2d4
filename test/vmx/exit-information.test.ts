import { describe, expect, it } from 'vitest';
import { CODE, type Exit, Guest } from './guest.ts';

/*
 * Every form of every instruction whose VM exit tells of its operands, in 64-bit mode; what the fields must say is put
 * together here from the same choices that the bytes are made of. Vol. 3, "Information for VM Exits Due to
 * Instruction Execution" and "Exit Qualification".
 */

const [RSP, RBP, NONE, RIP] = [4, 5, -1, 16];
const REGISTERS = Array.from({ length: 16 }, (_, number) => number);
const SEGMENT = { DS: 3, SS: 2, FS: 4, GS: 5 } as const;
const OVERRIDE = { FS: 0x64, GS: 0x65 } as const;

/** An operand in memory, as its encoding chooses it. */
interface Address {
  readonly base: number;
  readonly index: number;
  readonly scale: number;
  readonly displacement: number;
  readonly width: 0 | 8 | 32;
  readonly override: keyof typeof OVERRIDE | undefined;
  readonly size: 32 | 64;
}

interface Form {
  readonly name: string;
  readonly reason: number;
  /** 66H, F2H or F3H, then the opcode. */
  readonly prefix?: number;
  readonly opcode: readonly number[];
  /** The reg field where it is part of the opcode. */
  readonly extension?: number;
  /** Bits that do not come from the operands. */
  readonly constant?: number;
}

// biome-ignore format: a table
const MEMORY_FORMS: readonly Form[] = [
  { name: 'VMCLEAR', reason: 19, prefix: 0x66, opcode: [0x0f, 0xc7], extension: 6 },
  { name: 'VMPTRLD', reason: 21, opcode: [0x0f, 0xc7], extension: 6 },
  { name: 'VMPTRST', reason: 22, opcode: [0x0f, 0xc7], extension: 7 },
  { name: 'VMREAD',  reason: 23, opcode: [0x0f, 0x78] },
  { name: 'VMWRITE', reason: 25, opcode: [0x0f, 0x79] },
  { name: 'VMXON',   reason: 27, prefix: 0xf3, opcode: [0x0f, 0xc7], extension: 6 },
  { name: 'SGDT',    reason: 46, opcode: [0x0f, 0x01], extension: 0, constant: 0 << 28 },
  { name: 'SIDT',    reason: 46, opcode: [0x0f, 0x01], extension: 1, constant: 1 << 28 },
  { name: 'LGDT',    reason: 46, opcode: [0x0f, 0x01], extension: 2, constant: 2 << 28 },
  { name: 'LIDT',    reason: 46, opcode: [0x0f, 0x01], extension: 3, constant: 3 << 28 },
  { name: 'SLDT',    reason: 47, opcode: [0x0f, 0x00], extension: 0, constant: 0 << 28 },
  { name: 'STR',     reason: 47, opcode: [0x0f, 0x00], extension: 1, constant: 1 << 28 },
  { name: 'LLDT',    reason: 47, opcode: [0x0f, 0x00], extension: 2, constant: 2 << 28 },
  { name: 'LTR',     reason: 47, opcode: [0x0f, 0x00], extension: 3, constant: 3 << 28 },
  { name: 'INVEPT',  reason: 50, prefix: 0x66, opcode: [0x0f, 0x38, 0x80] },
  { name: 'INVVPID', reason: 53, prefix: 0x66, opcode: [0x0f, 0x38, 0x81] },
  { name: 'INVPCID', reason: 58, prefix: 0x66, opcode: [0x0f, 0x38, 0x82] },
];

/** Everything an exit may come from, allowed: I/O, MSRs, CR3 and CR8, DR, INVLPG, descriptor tables, RDRAND, RDSEED, INVPCID. */
const EXITING = {
  PRIMARY_CONTROLS:
    0x8400_6172 | (1 << 9) | (1 << 15) | (1 << 16) | (1 << 19) | (1 << 20) | (1 << 23) | (1 << 24),
  SECONDARY_CONTROLS: (1 << 2) | (1 << 11) | (1 << 12) | (1 << 16),
};

const little = (value: number, bytes: number): number[] =>
  Array.from({ length: bytes }, (_, at) => (value >> (8 * at)) & 0xff);

/** ModRM, SIB and displacement of an operand in memory. */
function modrm(reg: number, { base, index, scale, displacement, width }: Address): number[] {
  const middle = (reg & 7) << 3;
  if (base === RIP) return [middle | 5, ...little(displacement, 4)];
  const sib = (scale << 6) | ((index === NONE ? 4 : index & 7) << 3);
  if (base === NONE) return [middle | 4, sib | 5, ...little(displacement, 4)];
  const mod = { 0: 0x00, 8: 0x40, 32: 0x80 }[width];
  const tail = little(displacement, width / 8);
  if (index !== NONE || (base & 7) === RSP) return [mod | middle | 4, sib | (base & 7), ...tail];
  return [mod | middle | (base & 7), ...tail];
}

function bytesOf({ prefix, opcode }: Form, reg: number, address: Address): number[] {
  const { base, index, override, size } = address;
  const above = (number: number, bit: number) => (number > 7 && number < 16 ? bit : 0);
  const rex = 0x40 | above(reg, 4) | above(index, 2) | above(base, 1);
  return [
    ...(override ? [OVERRIDE[override]] : []),
    ...(size === 32 ? [0x67] : []),
    ...(prefix === undefined ? [] : [prefix]),
    ...(rex === 0x40 ? [] : [rex]),
    ...opcode,
    ...modrm(reg, address),
  ];
}

function information(address: Address): number {
  const { base, index, scale, override, size } = address;
  const segment = override ?? (base === RSP || base === RBP ? 'SS' : 'DS');
  return (
    (index === NONE ? 1 << 22 : scale | (index << 18)) |
    (size === 64 ? 2 << 7 : 1 << 7) |
    (SEGMENT[segment] << 15) |
    (base === NONE || base === RIP ? 1 << 27 : base << 23)
  );
}

/** One guest that is brought back to its first byte for each case. */
class Bench {
  readonly #guest = new Guest(EXITING);

  exitOf(bytes: readonly number[]): Exit {
    const text = bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    this.#guest.code(text).set({ GUEST_RIP: CODE, GUEST_RFLAGS: 2 });
    return this.#guest.exit();
  }
}

const NOTHING = { interruption: 0, error: 0, vectoring: 0, vectoringError: 0, physical: 0n };

/** Bases and indices in all pairs; what is left takes turns. */
function addresses(): Address[] {
  const found: Address[] = [];
  for (const base of [...REGISTERS, NONE, RIP]) {
    for (const index of [NONE, ...REGISTERS.filter((number) => number !== RSP)]) {
      if (base === RIP && index !== NONE) continue;
      const turn = found.length;
      const fixed = base === NONE || base === RIP;
      const least = (base & 7) === RBP ? 8 : 0;
      const width = fixed ? 32 : ([least, 8, 32] as const)[turn % 3]!;
      found.push({
        base,
        index,
        scale: index === NONE ? 0 : turn % 4,
        width: width as 0 | 8 | 32,
        displacement: { 0: 0, 8: (turn % 256) - 128, 32: (turn * 0x0123_4567) | 0 }[
          width as 0 | 8 | 32
        ],
        override: ([undefined, 'FS', 'GS', undefined, undefined] as const)[turn % 5],
        size: turn % 7 === 3 ? 32 : 64,
      });
    }
  }
  return found;
}

describe('an operand in memory', () => {
  const all = addresses();

  it.each(MEMORY_FORMS)('of $name is told to its last bit', (form) => {
    const bench = new Bench();
    for (const [turn, address] of all.entries()) {
      const reg = form.extension ?? turn % 16;
      const bytes = bytesOf(form, reg, address);
      const second = form.extension === undefined ? reg << 28 : (form.constant ?? 0);
      const from = address.base === RIP ? CODE + bytes.length : 0;
      const width = address.size === 64 ? 64 : 32;
      expect(bench.exitOf(bytes), JSON.stringify(address)).toEqual({
        ...NOTHING,
        reason: form.reason,
        length: bytes.length,
        qualification: BigInt.asUintN(width, BigInt(address.displacement + from)),
        information: (information(address) | second) >>> 0,
        linear: 0n,
      });
    }
  });
});

describe('an operand in a register', () => {
  const bench = new Bench();
  const rex = (w: number, reg: number, rm: number) => {
    const byte = 0x40 | (w << 3) | (reg > 7 ? 4 : 0) | (rm > 7 ? 1 : 0);
    return byte === 0x40 ? [] : [byte];
  };
  const direct = (reg: number, rm: number) => 0xc0 | ((reg & 7) << 3) | (rm & 7);
  const check = (bytes: readonly number[], expected: Partial<Exit>) =>
    expect(bench.exitOf(bytes), bytes.map((byte) => byte.toString(16)).join(' ')).toEqual({
      ...NOTHING,
      qualification: 0n,
      information: 0,
      linear: 0n,
      length: bytes.length,
      ...expected,
    });

  it.each([
    ['VMREAD', 23, 0x78],
    ['VMWRITE', 25, 0x79],
  ])('of %s: the value in bits 6:3, the field in bits 31:28', (_name, reason, opcode) => {
    for (const field of REGISTERS) {
      for (const value of REGISTERS) {
        const information = ((2 << 7) | (1 << 10) | (value << 3) | (field << 28)) >>> 0;
        const bytes = [...rex(0, field, value), 0x0f, opcode, direct(field, value)];
        check(bytes, { reason, information });
      }
    }
  });

  it.each([
    ['SLDT', 0],
    ['STR', 1],
    ['LLDT', 2],
    ['LTR', 3],
  ])('of %s: bits 6:3, with what it does in bits 29:28', (_name, identity) => {
    for (const register of REGISTERS) {
      const bytes = [...rex(0, 0, register), 0x0f, 0x00, direct(identity, register)];
      const information = (1 << 10) | (register << 3) | (identity << 28);
      check(bytes, { reason: 47, information });
    }
  });

  it.each([
    ['RDRAND', 57, 6],
    ['RDSEED', 61, 7],
  ])('of %s: bits 6:3, its size in bits 12:11', (_name, reason, extension) => {
    for (const register of REGISTERS) {
      for (const [size, prefix, w] of [
        [0, [0x66], 0],
        [1, [], 0],
        [2, [], 1],
      ] as const) {
        const bytes = [...prefix, ...rex(w, 0, register), 0x0f, 0xc7, direct(extension, register)];
        check(bytes, { reason, information: (register << 3) | (size << 11) });
      }
    }
  });

  it('of MOV to and from CR3 and CR8: register, direction and number in the qualification', () => {
    for (const register of REGISTERS) {
      for (const [opcode, type] of [
        [0x22, 0],
        [0x20, 1],
      ] as const) {
        for (const number of [3, 8]) {
          const bytes = [...rex(0, number, register), 0x0f, opcode, direct(number, register)];
          const qualification = BigInt(number | (type << 4) | (register << 8));
          check(bytes, { reason: 28, qualification });
        }
      }
    }
  });

  it('of MOV to and from a debug register: the same', () => {
    for (const register of REGISTERS) {
      for (const [opcode, from] of [
        [0x23, 0],
        [0x21, 1],
      ] as const) {
        for (let number = 0; number < 8; number++) {
          const bytes = [...rex(0, number, register), 0x0f, opcode, direct(number, register)];
          const qualification = BigInt(number | (from << 4) | (register << 8));
          check(bytes, { reason: 29, qualification });
        }
      }
    }
  });
});

describe('port I/O', () => {
  const bench = new Bench();
  const dx = (port: number) => [0x66, 0xba, ...little(port, 2)];

  it('tells port, size, direction, and that DX or a byte of the instruction named the port', () => {
    for (const port of [0, 0x60, 0x71, 0xff]) {
      for (const [bytes, size, isIn] of [
        [[0xe4, port], 1, true],
        [[0xe5, port], 4, true],
        [[0x66, 0xe5, port], 2, true],
        [[0xe6, port], 1, false],
        [[0xe7, port], 4, false],
        [[0x66, 0xe7, port], 2, false],
      ] as const) {
        const qualification = (size - 1) | (isIn ? 8 : 0) | 0x40 | (port << 16);
        const exit = bench.exitOf(bytes);
        expect(exit).toMatchObject({ ...NOTHING, reason: 30, length: bytes.length, linear: 0n });
        expect(exit.qualification).toBe(BigInt(qualification));
      }
    }
    for (const port of [0, 0x3f8, 0x8000, 0xffff]) {
      for (const [bytes, size, isIn] of [
        [[0xec], 1, true],
        [[0xed], 4, true],
        [[0x66, 0xed], 2, true],
        [[0xee], 1, false],
        [[0xef], 4, false],
        [[0x66, 0xef], 2, false],
      ] as const) {
        const qualification = ((size - 1) | (isIn ? 8 : 0) | (port << 16)) >>> 0;
        const exit = bench.exitOf([...dx(port), ...bytes]);
        expect(exit).toMatchObject({ ...NOTHING, reason: 30, length: bytes.length, linear: 0n });
        expect(exit.qualification).toBe(BigInt(qualification));
      }
    }
  });

  it('of strings tells REP, the linear address, the address size, and of OUTS the segment', () => {
    const [RSI, RDI] = [0x48_be, 0x48_bf];
    const address = 0x1_2345_6000;
    const load = (register: number) => [
      register >> 8,
      register & 0xff,
      ...little(address, 4),
      1,
      0,
      0,
      0,
    ];
    const [MOV_ECX_2] = [[0xb9, 2, 0, 0, 0]];
    for (const rep of [false, true]) {
      for (const wide of [8, 4] as const) {
        for (const [size, prefix, odd] of [
          [1, [], 0],
          [2, [0x66], 1],
          [4, [], 1],
        ] as const) {
          for (const segment of ['DS', 'FS', 'GS'] as const) {
            for (const isIn of [true, false]) {
              if (isIn && segment !== 'DS') continue;
              const bytes = [
                ...(segment === 'DS' ? [] : [OVERRIDE[segment]]),
                ...(wide === 4 ? [0x67] : []),
                ...prefix,
                ...(rep ? [0xf3] : []),
                (isIn ? 0x6c : 0x6e) | odd,
              ];
              const exit = bench.exitOf([
                ...MOV_ECX_2!,
                ...load(isIn ? RDI : RSI),
                ...dx(0x70),
                ...bytes,
              ]);
              const qualification =
                (size - 1) | (isIn ? 8 : 0) | 0x10 | (rep ? 0x20 : 0) | (0x70 << 16);
              expect(exit).toMatchObject({ ...NOTHING, reason: 30, length: bytes.length });
              expect(exit.qualification).toBe(BigInt(qualification));
              expect(exit.linear).toBe(BigInt(wide === 8 ? address : address % 2 ** 32));
              const defined = isIn ? 7 << 7 : (7 << 7) | (7 << 15);
              const expected = ((wide === 8 ? 2 : 1) << 7) | (isIn ? 0 : SEGMENT[segment] << 15);
              expect(exit.information & defined).toBe(expected);
            }
          }
        }
      }
    }
  });
});
