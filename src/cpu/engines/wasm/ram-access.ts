import { INTERPRETER } from '../../state/layout.ts';
import type { FunctionWriter } from './assembler/function-writer.ts';
import type { MemoryOpcode } from './assembler/opcodes.ts';
import { ACCESS } from './runtime-functions.ts';

/** Parameters of the slow paths of memory, behind those of a handler. */
const LINEAR = 5;
const KIND = 6;
const VALUE = 7;

// biome-ignore format: a table
const LOAD: Readonly<Record<number, MemoryOpcode>> = { 8: 'i64.load', 4: 'i64.load32_u', 2: 'i64.load16_u', 1: 'i64.load8_u' };
// biome-ignore format: a table
const STORE: Readonly<Record<number, MemoryOpcode>> = { 8: 'i64.store', 4: 'i64.store32', 2: 'i64.store16', 1: 'i64.store8' };

/**
 * The part of a slow path of memory that asks TypeScript only for the page: if it is RAM, the access is done here
 * and the function returns; else the code behind goes on.
 */
export function accessRam(
  f: FunctionWriter,
  base: number,
  name: 'load' | 'store' | 'update',
  refill: number,
): void {
  const host = f.local('i32');
  f.get(LINEAR).op('i32.wrap_i64');
  f.get(LINEAR).i64(32).op('i64.shr_u', 'i32.wrap_i64');
  f.get(KIND).i32(name === 'load' ? 0 : 1);
  f.call(refill).tee(host);
  f.if(undefined, () => {
    if (name === 'update') {
      f.get(host).op('return');
      return;
    }
    for (const size of [8, 4, 2, 1]) {
      f.get(KIND).i32(ACCESS.SIZE).op('i32.and').i32(size).op('i32.eq');
      f.if(undefined, () => {
        f.get(host);
        if (name === 'load') f.memory(LOAD[size]!, 0);
        else f.get(VALUE).memory(STORE[size]!, 0);
        f.op('return');
      });
    }
    const operand = base + INTERPRETER.OPERAND;
    if (name === 'load') f.i32(0).get(host).memory('v128.load', 0).memory('v128.store', operand);
    else f.get(host).i32(0).memory('v128.load', operand).memory('v128.store', 0);
    if (name === 'load') f.i64(0);
    f.op('return');
  });
}
