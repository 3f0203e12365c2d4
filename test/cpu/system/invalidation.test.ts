import { describe, expect, it } from 'vitest';
import { STATE } from '../../../src/cpu/state/layout.ts';
import { AT, TestMachine } from './machine.ts';

const PRESENT_USER_LARGE = 0x87n;
const READ_2M = '488b0425 00502400 ; mov rax, [245000H]';
const CALL_2M = 'b8 00002200 ffd0 ; mov eax, 220000H; call rax';
const READ_1G = '488b0425 00500440 ; mov rax, [40045000H]';
const UNMAP_2M = '48c70425 08300000 00000000 ; mov qword [3008H], 0';
const UNMAP_1G = '48c70425 08200000 00000000 ; mov qword [2008H], 0';

/** 64-bit mode with 2 MiB at 200000H and 1 GiB at 40000000H, each one large page, on the same memory. */
function withLargePages(listing: string): TestMachine {
  const machine = new TestMachine().long().load(AT.CODE, `${listing} f4`).haltingHandlers(14);
  machine.memory.write(AT.PD + 8, 8, PRESENT_USER_LARGE);
  machine.memory.write(AT.PDPT + 8, 8, PRESENT_USER_LARGE);
  return machine.load(AT.USER, 'c3');
}

describe('INVLPG of any address of a large page', () => {
  // biome-ignore format: a table
  it.each<[string, string, bigint]>([
    ['makes data of another part of 2 MiB be walked for', `${READ_2M}\n ${UNMAP_2M}\n 0f013c25 00002000\n ${READ_2M}`, 0x24_5000n],
    ['makes code of another part of 2 MiB be walked for', `${CALL_2M}\n ${UNMAP_2M}\n 0f013c25 00002000\n ${CALL_2M}`, 0x22_0000n],
    ['makes another part of 1 GiB be walked for',         `${READ_1G}\n ${UNMAP_1G}\n 0f013c25 0000e07f\n ${READ_1G}`, 0x4004_5000n],
  ])('%s', (_what, listing, address) => {
    const machine = withLargePages(listing);
    machine.run();
    expect(machine.handled).toBe(14);
    expect(machine.state.get(STATE.CR2)).toBe(address);
  });
});
