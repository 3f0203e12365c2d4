import seedrandom from 'seedrandom';
import { describe, expect, it } from 'vitest';
import type { FlagKind, IntegerSize } from '../../../../src/cpu/emit.ts';
import { FunctionWriter } from '../../../../src/cpu/engines/wasm/assembler/function-writer.ts';
import { ModuleBuilder } from '../../../../src/cpu/engines/wasm/assembler/module-builder.ts';
import { ConditionWriter } from '../../../../src/cpu/engines/wasm/condition.ts';
import { FLAG_CARRY, FLAG_KINDS, flagKind, holds, statusFlags } from '../../../../src/cpu/flags.ts';

type Evaluate = (kind: number, x: bigint, y: bigint) => number;

const SIZES: readonly IntegerSize[] = [1, 2, 4, 8];
const KINDS = Object.keys(FLAG_KINDS) as FlagKind[];
const CODES = Array.from({ length: 16 }, (_, code) => code);

/** Every condition code, and the flags as `f`, for flags of one kind. */
function build(kind: FlagKind, size: IntegerSize, carry: boolean): Record<string, Evaluate> {
  const module = new ModuleBuilder();
  const add = (name: string, write: (writer: ConditionWriter) => void) => {
    const f = new FunctionWriter(['i32', 'i64', 'i64'], ['i32']);
    write(new ConditionWriter(f, { kind, size, carry, locals: { kind: 0, x: 1, y: 2 } }));
    module.add(f, name);
  };
  for (const code of CODES) add(`c${code}`, (writer) => writer.condition(code));
  add('f', (writer) => writer.statusFlags());
  return new WebAssembly.Instance(new WebAssembly.Module(module.build()), {}).exports as Record<
    string,
    Evaluate
  >;
}

/** Operands where flags change: around zero and around the sign. */
function values(size: IntegerSize, random: () => number): bigint[] {
  const bits = BigInt(8 * size);
  const sign = 1n << (bits - 1n);
  const mask = (1n << bits) - 1n;
  const drawn = BigInt(Math.floor(random() * 2 ** 32)) * BigInt(Math.floor(random() * 2 ** 32));
  return [0n, 1n, 2n, 15n, 16n, sign - 1n, sign, sign + 1n, mask - 1n, mask, drawn & mask];
}

describe('conditions of generated code are those of the lazy flags', () => {
  const cases = KINDS.flatMap((kind) =>
    SIZES.flatMap((size) => [false, true].map((carry) => ({ kind, size, carry }))),
  );
  it.each(cases)('$kind of $size bytes, carry $carry', ({ kind, size, carry }) => {
    const random = seedrandom(`${kind} ${size}`);
    const functions = build(kind, size, carry);
    const number = flagKind(kind, size) | (carry ? FLAG_CARRY : 0);
    const flagBits = kind === 'RAW' || kind === 'RESULT' ? [0n, 1n, 0x10n, 0x800n, 0x811n] : [];
    const ys = kind === 'ADD' || kind === 'SUB' ? values(size, random) : [0n, ...flagBits];
    const xs =
      kind === 'RAW' ? [0n, 1n, 4n, 0x10n, 0x40n, 0x80n, 0x800n, 0x8d5n] : values(size, random);
    for (const x of xs) {
      for (const y of ys) {
        const expected = statusFlags(number, x, y);
        const what = `x ${x.toString(16)} y ${y.toString(16)}`;
        expect(functions['f']!(number, x, y), what).toBe(Number(expected));
        for (const code of CODES) {
          expect(functions[`c${code}`]!(number, x, y) === 1, `${what} code ${code}`).toBe(
            holds(code, expected),
          );
        }
      }
    }
  });
});
