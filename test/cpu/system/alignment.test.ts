import { describe, expect, it } from 'vitest';
import { STATE } from '../../../src/cpu/state/layout.ts';
import { AT, TestMachine } from './machine.ts';

const AM = 1n << 18n;
const AC = 1n << 18n;

/** User code with alignment checking on, at an operand in RAX. */
function checked(listing: string, address: number): TestMachine {
  const machine = new TestMachine().long().haltingHandlers(6, 13, 14, 17).user().atUser();
  machine.load(AT.USER, `${listing} 0f0b ; ud2`);
  machine.state.set(STATE.CR0, machine.state.get(STATE.CR0) | AM);
  machine.state.set(STATE.RFLAGS_SYSTEM, machine.state.get(STATE.RFLAGS_SYSTEM) | AC);
  machine.state.gpr[0] = BigInt(address);
  return machine;
}

/** The exception that ended it: UD2's where there was no other. */
function vector(machine: TestMachine): number | undefined {
  machine.run();
  return machine.handled;
}

// Vol. 3, "Interrupt 17—Alignment Check Exception (#AC)".
describe('alignment checking at CPL 3', () => {
  // biome-ignore format: a table
  it.each<[name: string, listing: string, alignment: number]>([
    ['a load of a byte',               '8a08',       1],
    ['a load of a word',               '668b08',     2],
    ['a load of a doubleword',         '8b08',       4],
    ['a load of a quadword',           '488b08',     8],
    ['a store of a word',              '668908',     2],
    ['a store of a doubleword',        '8908',       4],
    ['a store of a quadword',          '488908',     8],
    ['a quadword read and written',    '48ff00',     8],
    ['a pop to a quadword',            '8f00',       8],
  ])('%s is #AC(0) off its boundary and nowhere else', (_name, listing, alignment) => {
    for (let off = 0; off < 8; off++) {
      const machine = checked(listing, AT.DATA + off);
      expect([off, vector(machine)]).toEqual([off, off % alignment === 0 ? 6 : 17]);
      if (off % alignment === 0) continue;
      // Error code 0, and RIP of the access.
      expect(machine.stack(2)).toEqual([0n, BigInt(AT.USER)]);
    }
  });

  it('looks at the stack, too', () => {
    const machine = checked('50', AT.DATA);
    machine.state.gpr[4] = BigInt(AT.USER_STACK + 4);
    expect(vector(machine)).toBe(17);
  });

  it('comes before a page fault, which has to be one of an aligned access', () => {
    const machine = checked('8b08', AT.DATA + 2);
    machine.memory.write(AT.PT + (AT.DATA >> 12) * 8, 8, 0n);
    expect(vector(machine)).toBe(17);
  });

  it.each([
    [
      'CR0.AM',
      (machine: TestMachine) => machine.state.set(STATE.CR0, machine.state.get(STATE.CR0) & ~AM),
    ],
    ['RFLAGS.AC', (machine: TestMachine) => machine.state.set(STATE.RFLAGS_SYSTEM, 2n)],
    ['CPL 3', (machine: TestMachine) => machine.long().atUser()],
  ])('wants %s', (_name, without) => {
    const machine = checked('8b08', AT.DATA + 1);
    without(machine);
    expect(vector(machine)).toBe(6);
  });
});
