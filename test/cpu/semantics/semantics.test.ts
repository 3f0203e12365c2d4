import { expect, it } from 'vitest';
import { MNEMONICS } from '../../../src/cpu/decode/mnemonics.ts';
import { SEMANTICS } from '../../../src/cpu/semantics/semantics.ts';
import { SYSTEM_INSTRUCTIONS } from '../../../src/cpu/system/instructions.ts';

/** MOV to a segment register is a system instruction, MOV from one is not. */
const SHARED = ['MOVSEG'];

it('no instruction is written twice', () => {
  const twice = MNEMONICS.filter((name) => SEMANTICS[name] && SYSTEM_INSTRUCTIONS[name]);
  expect(twice).toEqual(SHARED);
});

it('what decodes is executed somewhere: by the emitter, in plain TypeScript, or by VMX', () => {
  const nowhere = MNEMONICS.filter((name) => !SEMANTICS[name] && !SYSTEM_INSTRUCTIONS[name]);
  expect(nowhere.filter((name) => !/^(VM|INVEPT|INVVPID)/.test(name))).toEqual([]);
});
