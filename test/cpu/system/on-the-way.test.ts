import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { EngineFactory } from '../../../src/cpu/engines/engine.ts';
import { Oracle } from '../../../src/cpu/engines/oracle/oracle.ts';
import { Interpreter } from '../../../src/cpu/engines/wasm/interpreter.ts';
import { ALWAYS_KEPT, INTERPRETER, STATE } from '../../../src/cpu/state/layout.ts';
import { AT, TestMachine } from './machine.ts';

const IRQ = 0x30;

/** What programs are made of. */
// biome-ignore format: a table
const PARTS = [
  '48 ff c0', '48 01 d8', '50 58', '48 89 04 25 00 04 04 00', '90',
  'f3 90',                                     // pause
  '0f 31', '0f 01 f9', '0f c7 f0', '0f a2',    // rdtsc; rdtscp; rdrand eax; cpuid
  'b9 80 00 00 c0 0f 32',                      // rdmsr of IA32_EFER
  'b9 01 00 00 00 0f 33',                      // rdpmc
  '31 d2 b9 00 01 00 c0 0f 30',                // wrmsr to IA32_FS_BASE
  '31 d2 31 c0 b9 10 00 00 00 0f 30',          // wrmsr to IA32_TIME_STAMP_COUNTER
  'fa', 'fb', 'fb 90', 'fb fa', 'fb 0f 31', 'fb fb',
  '9c 9d', '9c 5b 53 9d',                      // pushfq; popfq
  '9c 81 0c 24 00 02 00 00 9d',                // popfq that sets IF
  '9c 81 0c 24 00 01 00 00 9d 90 0f 31 9c 81 24 24 ff fe ff ff 9d', // single steps
  '0f 01 f8', '0f 01 cb', '0f 01 ca',          // swapgs; stac; clac
  '0f 20 c0', '0f 20 d8 0f 22 d8',             // mov from cr0; mov cr3 there and back
  'b8 00 00 04 00 0f 01 38',                   // invlpg
  'e4 80', 'e6 80',                            // in; out
  'cd 31',                                     // int 31h
  '48 89 e3 6a 10 53 9c 6a 08 48 8d 05 03 00 00 00 50 48 cf', // iretq to the next instruction
  'b8 10 00 00 00 8e d0 90', 'b8 10 00 00 00 8e d0 fb 90', // mov ss
  'fb f4',                                     // sti; hlt
  'db e3 d9 e8 d9 e8 de c1 dd 1c 25 00 04 04 00', // fninit; fld1; fld1; faddp; fstp
  '0f 01 04 25 00 05 04 00',                   // sgdt
  '6a 03 58 48 ff c8 f3 90 75 f9',             // three turns of a loop around PAUSE
] as const;

/** The program in a loop of 20, with an interrupt after each of `gaps` ticks. */
function machine(engine: EngineFactory, parts: readonly string[], gaps: readonly number[]) {
  const it = new TestMachine({ engine, reserved: INTERPRETER.SIZE }).long();
  const body = parts.join(' ');
  const length = body.split(' ').length;
  const back = Buffer.alloc(4);
  back.writeInt32LE(-(length + 9));
  // mov r15d,20; …; dec r15; jnz; cli; hlt
  it.load(AT.CODE, `41 bf 14 00 00 00 ${body} 49 ff cf 0f 85 ${back.toString('hex')} fa f4`);
  for (const vector of [6, 13, 14])
    it.load(AT.HANDLER + vector * 16, 'fa f4').gate(vector, AT.HANDLER + vector * 16);
  it.load(AT.HANDLER + 16, '48 cf').gate(1, AT.HANDLER + 16);
  it.load(AT.HANDLER + 0x31 * 16, '48 cf').gate(0x31, AT.HANDLER + 0x31 * 16);
  // inc qword [DATA]; iretq
  it.load(AT.HANDLER + IRQ * 16, '48 ff 04 25 00 00 04 00 48 cf').gate(IRQ, AT.HANDLER + IRQ * 16);
  const deadlines: number[] = [];
  for (const gap of gaps) deadlines.push((deadlines.at(-1) ?? 0) + gap);
  const now = () => Number(it.state.total('ticks'));
  it.horizon = () => (deadlines[0] === undefined ? Infinity : Math.max(1, deadlines[0] - now()));
  it.boundary = () => {
    while (deadlines[0] !== undefined && deadlines[0] <= now()) {
      deadlines.shift();
      it.vectors.push(IRQ);
    }
  };
  return it;
}

const seen = (it: TestMachine) => ({
  rip: it.state.rip.toString(16),
  gpr: [...it.state.gpr].map((value) => value.toString(16)),
  flags: it.cpu.core.rflags.toString(16),
  blocking: it.state.get32(STATE.INTERRUPTIBILITY),
  activity: it.state.get32(STATE.ACTIVITY),
  totals: Object.fromEntries([...ALWAYS_KEPT].map((name) => [name, it.state.total(name)])),
  data: Buffer.from(it.memory.slice(AT.DATA, 0x600))
    .toString('hex')
    .replace(/(00)+$/, ''),
  delivered: it.delivered.length,
  written: it.written.length,
});

describe('system instructions that the interpreter has executed on the way', () => {
  it('leave what the oracle leaves, whenever the run is cut and whenever an interrupt comes', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(...PARTS), { minLength: 1, maxLength: 12 }),
        fc.array(fc.integer({ min: 1, max: 90 }), { maxLength: 40 }),
        fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 12 }),
        (parts, gaps, budgets) => {
          const oracle = machine((core) => new Oracle(core), parts, gaps);
          const interpreter = machine((core) => new Interpreter(core, undefined, 2), parts, gaps);
          for (const budget of [...budgets, 4000]) {
            const stop = oracle.cpu.run(budget);
            expect(interpreter.cpu.run(budget)).toEqual(stop);
            expect(seen(interpreter)).toEqual(seen(oracle));
            if (stop.reason !== 'budget') return;
          }
        },
      ),
      { numRuns: Number(process.env['ENGINE_PROGRAMS'] ?? 12) },
    );
  });
});
