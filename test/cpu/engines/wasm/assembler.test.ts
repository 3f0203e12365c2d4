import { describe, expect, it } from 'vitest';
import { ByteWriter } from '../../../../src/cpu/engines/wasm/assembler/byte-writer.ts';
import { FunctionWriter } from '../../../../src/cpu/engines/wasm/assembler/function-writer.ts';
import {
  IMPORT_MODULE,
  ModuleBuilder,
} from '../../../../src/cpu/engines/wasm/assembler/module-builder.ts';

type Exports = Record<string, (...args: (number | bigint)[]) => number | bigint>;

const instantiate = (module: ModuleBuilder, imports: Record<string, unknown> = {}): Exports =>
  new WebAssembly.Instance(new WebAssembly.Module(module.build()), { [IMPORT_MODULE]: imports })
    .exports as Exports;

const bytesOf = (writer: ByteWriter) => [...writer.written()];

describe('LEB128', () => {
  it('writes the examples of the DWARF standard', () => {
    expect(bytesOf(new ByteWriter().unsigned(127))).toEqual([0x7f]);
    expect(bytesOf(new ByteWriter().unsigned(128))).toEqual([0x80, 0x01]);
    expect(bytesOf(new ByteWriter().unsigned(12857))).toEqual([0xb9, 0x64]);
    expect(bytesOf(new ByteWriter().signed(-2))).toEqual([0x7e]);
    expect(bytesOf(new ByteWriter().signed(127))).toEqual([0xff, 0x00]);
    expect(bytesOf(new ByteWriter().signed(-128))).toEqual([0x80, 0x7f]);
    expect(bytesOf(new ByteWriter().signed64(-129n))).toEqual([0xff, 0x7e]);
  });
});

describe('a built module', () => {
  it('returns any 64-bit constant unchanged', () => {
    const values = [
      0n,
      -1n,
      63n,
      64n,
      -64n,
      -65n,
      0x7fff_ffffn,
      0x8000_0000n,
      -(1n << 63n),
      (1n << 63n) - 1n,
    ];
    const module = new ModuleBuilder();
    values.forEach((value, i) => {
      module.add(new FunctionWriter([], ['i64']).i64(value), `f${i}`);
    });
    const exports = instantiate(module);
    values.forEach((value, i) => {
      expect(exports[`f${i}`]!()).toBe(value);
    });
  });

  it('loops, leaves blocks and keeps locals of both types apart', () => {
    // sum of the squares of 1…n
    const f = new FunctionWriter(['i32'], ['i64']);
    const sum = f.local('i64');
    const square = f.local('i32');
    f.block((done) => {
      f.loop((again) => {
        f.get(0).op('i32.eqz').branchIf(done);
        f.get(0).get(0).op('i32.mul').set(square);
        f.get(sum).get(square).op('i64.extend_i32_u', 'i64.add').set(sum);
        f.get(0).i32(1).op('i32.sub').set(0);
        f.branch(again);
      });
    });
    f.get(sum);
    const module = new ModuleBuilder();
    module.add(f, 'squares');
    expect(instantiate(module)['squares']!(10)).toBe(385n);
  });

  it('branches by table, the last label for what is beyond', () => {
    const f = new FunctionWriter(['i32'], ['i32']);
    f.block((beyond) => {
      f.block((one) => {
        f.block((zero) => {
          f.get(0).branchTable([zero, one], beyond);
        });
        f.i32(100).op('return');
      });
      f.i32(101).op('return');
    });
    f.i32(-1);
    const module = new ModuleBuilder();
    module.add(f, 'pick');
    const { pick } = instantiate(module);
    expect([0, 1, 2, 77].map((n) => pick!(n))).toEqual([100, 101, -1, -1]);
  });

  it('tail-calls through the table without growing the stack', () => {
    const table = new WebAssembly.Table({ element: 'anyfunc', initial: 1 });
    const module = new ModuleBuilder();
    module.importTable('table');
    const type = module.type(['i32'], ['i32']);
    const f = new FunctionWriter(['i32'], ['i32']);
    f.get(0)
      .op('i32.eqz')
      .if(undefined, () => f.i32(42).op('return'));
    f.get(0).i32(1).op('i32.sub').i32(0).returnCallIndirect(type);
    module.fillTable(0, [module.add(f, 'countdown')]);
    expect(instantiate(module, { table })['countdown']!(1_000_000)).toBe(42);
  });

  it('reads and writes imported memory, vectors included', () => {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
    const module = new ModuleBuilder();
    module.importMemory('memory', 1);
    const twice = module.importFunction('twice', ['i32'], ['i32']);
    const f = new FunctionWriter([], ['i64']);
    f.i32(64).i32(64).memory('v128.load', 0).i32(0).memory('v128.load', 64).op('i32x4.add');
    f.memory('v128.store', 16);
    f.i32(3).call(twice).op('i64.extend_i32_u').i32(0).memory('i64.load', 80).op('i64.add');
    module.add(f, 'add');
    const words = new Uint32Array(memory.buffer);
    words.set([1, 0xffff_ffff, 3, 4], 16);
    const exports = instantiate(module, { memory, twice: (n: number) => 2 * n });
    expect(exports['add']!()).toBe(0xffff_fffe_0000_0002n + 6n - (1n << 64n));
    expect([...words.subarray(20, 24)]).toEqual([2, 0xffff_fffe, 6, 8]);
  });
});
