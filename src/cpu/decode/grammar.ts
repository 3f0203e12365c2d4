import type { Size } from '../insn.ts';
import type { Cursor } from './cursor.ts';
import { type OperandReader, operandReader } from './operands.ts';

/**
 * How an opcode map is written down, after the SDM's Vol. 2, "Opcode Map":
 *
 *     'ADD Eb,Gb ^lock'      mnemonic, operands, attributes; '' is no instruction: #UD
 *
 * An operand is one of `operands.ts`. The attributes:
 *
 *     ^i64 ^o64   invalid in 64-bit mode; valid only there
 *     ^d64 ^f64   in 64-bit mode the operand size is 64 bits by default; always
 *     ^y          no operand tells the size, and it is 4, or 8 with REX.W
 *     ^lock       LOCK is allowed when the destination is memory
 *     ^rep        the REP prefixes repeat it
 *     ^AVX, …     anything else: the CPUID feature it comes with
 *
 * Where more than the opcode selects, the entry is a choice; every branch is again an entry.
 */
export type Entry =
  | string
  /** ModRM.reg. */
  | { readonly group: readonly Entry[] }
  /** ModRM.rm. */
  | { readonly rm: readonly Entry[] }
  /** ModRM.mod: below 11B, 11B. */
  | { readonly mem: Entry; readonly register: Entry }
  /** The mandatory prefix: none, 66H, F3H, F2H. What is left out is #UD. */
  | { readonly np?: Entry; readonly p66?: Entry; readonly f3?: Entry; readonly f2?: Entry }
  /** F3H makes it another instruction if the CPU has that; else the prefix is ignored. */
  | { readonly f3: Entry; readonly otherwise: Entry }
  /** REX.W. */
  | { readonly w0: Entry; readonly w1: Entry }
  /** REX.B. */
  | { readonly b0: Entry; readonly b1: Entry }
  /** Code size: 64-bit mode, any other. */
  | { readonly mode64: Entry; readonly legacy: Entry };

/** An opcode map as the SDM prints it: rows of eight opcodes under the number of their first. */
export type OpcodeMap = Readonly<Record<number, Entry | readonly Entry[]>>;

type Leaf<T> = T extends string
  ? T
  : T extends readonly (infer Item)[]
    ? Leaf<Item>
    : { [K in keyof T]: Leaf<T[K]> }[keyof T];

/** The mnemonics that the rows of a map hold. */
export type MnemonicOf<Map> =
  Leaf<Map> extends infer Row
    ? Row extends '' | undefined
      ? never
      : Row extends `${infer Mnemonic} ${string}`
        ? Mnemonic
        : Row
    : never;

/** One row, parsed. */
export interface Form {
  readonly op: string;
  readonly operands: readonly OperandReader[];
  readonly modrm: boolean;
  /** Whether ModRM may stand for memory; else its mod bits do not matter. */
  readonly memory: boolean;
  /** Whether an operand is in VEX.vvvv; else that must name none. */
  readonly vvvv: boolean;
  readonly size: ((cursor: Cursor) => Size) | undefined;
  readonly only64: boolean;
  readonly not64: boolean;
  readonly default64: boolean;
  readonly forced64: boolean;
  readonly lock: boolean;
  readonly rep: boolean;
  readonly condition: boolean;
  readonly feature: string | undefined;
}

/** A choice, parsed: which of its branches these bytes take. */
export interface Choice {
  readonly modrm: boolean;
  readonly select: (cursor: Cursor) => number;
  readonly branches: readonly Node[];
  /** Taken where the selected form's feature is not there. */
  readonly otherwise?: Node;
}
export type Node = Form | Choice | undefined;

const CONDITIONAL = new Set(['JCC', 'SETCC', 'CMOVCC']);
const ATTRIBUTES = new Set(['i64', 'o64', 'd64', 'f64', 'y', 'lock', 'rep']);

function parseRow(row: string): Node {
  if (row === '') return undefined;
  const [op = '', ...rest] = row.split(' ');
  const attributes = rest.filter((word) => word.startsWith('^')).map((word) => word.slice(1));
  const tokens = rest.filter((word) => !word.startsWith('^')).flatMap((word) => word.split(','));
  const operands = tokens.map(operandReader);
  const has = (attribute: string) => attributes.includes(attribute);
  return {
    op,
    operands,
    modrm: operands.some((operand) => operand.modrm),
    memory: operands.some((operand) => operand.memory),
    vvvv: tokens.includes('By'),
    size: has('y') ? (cursor) => (cursor.w ? 8 : 4) : undefined,
    only64: has('o64'),
    not64: has('i64'),
    default64: has('d64'),
    forced64: has('f64'),
    lock: has('lock'),
    rep: has('rep'),
    condition: CONDITIONAL.has(op),
    feature: attributes.find((attribute) => !ATTRIBUTES.has(attribute)),
  };
}

const MANDATORY = { none: 0, p66: 1, f3: 2, f2: 3 } as const;

function parseEntry(entry: Entry | undefined): Node {
  if (entry === undefined) return undefined;
  if (typeof entry === 'string') return parseRow(entry);
  const choice = (
    select: (cursor: Cursor) => number,
    entries: readonly (Entry | undefined)[],
    modrm = false,
  ): Choice => ({ modrm, select, branches: entries.map(parseEntry) });

  if ('group' in entry) return choice((c) => (c.modrm >> 3) & 7, entry.group, true);
  if ('rm' in entry) return choice((c) => c.modrm & 7, entry.rm, true);
  if ('mem' in entry) {
    return choice((c) => (c.modrm >= 0xc0 ? 1 : 0), [entry.mem, entry.register], true);
  }
  if ('w0' in entry) return choice((c) => (c.w ? 1 : 0), [entry.w0, entry.w1]);
  if ('b0' in entry) return choice((c) => c.b >> 3, [entry.b0, entry.b1]);
  if ('mode64' in entry) {
    return choice((c) => (c.codeSize === 8 ? 1 : 0), [entry.legacy, entry.mode64]);
  }
  if ('otherwise' in entry) {
    const branches = [entry.otherwise, entry.f3];
    const parsed = choice((c) => (c.mandatory === MANDATORY.f3 ? 1 : 0), branches);
    return { ...parsed, otherwise: parsed.branches[0] };
  }
  return choice((c) => c.mandatory, [entry.np, entry.p66, entry.f3, entry.f2]);
}

/** The 256 entries of a map. */
export function parseMap(map: OpcodeMap): readonly Node[] {
  const nodes = new Array<Node>(256).fill(undefined);
  for (const [opcode, cell] of Object.entries(map)) {
    const cells: readonly Entry[] = Array.isArray(cell) ? cell : [cell as Entry];
    for (const [i, entry] of cells.entries()) nodes[Number(opcode) + i] = parseEntry(entry);
  }
  return nodes;
}

/** The same entry eight times. */
export const all8 = <const E>(e: E) => [e, e, e, e, e, e, e, e] as const;
