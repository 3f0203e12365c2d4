import { describe, expect, it } from 'vitest';
import { DESIGNS, type DesignName } from '../../src/kvm/vpmu/designs.ts';
import { GuestCode, MSR } from '../../src/lab/scenarios/guest-code.ts';
import { hostFor } from '../../src/lab/scenarios/scenario.ts';

const LONG = 60_000;
const SAMPLING = 0x53_00c4n;
const IO_INSTRUCTION = 30;

/**
 * VM exits of one guest PMI whose handler is Linux's: GLOBAL_CTRL off, read status, acknowledge, per event RDPMC and
 * a new counter value, read status again, GLOBAL_CTRL on, LVTPC; k counters overflow together.
 */
function exitsOfPmi(design: DesignName, profile: string, k: number): number {
  const mask = (1n << BigInt(k)) - 1n;
  const run = (left: number) => {
    const code = new GuestCode()
      .onNmi((handler) => {
        handler
          .wrmsr(MSR.GLOBAL_CTRL, 0n)
          .rdmsr(MSR.GLOBAL_STATUS)
          .wrmsr(MSR.GLOBAL_OVF_CTRL, mask);
        for (let i = 0; i < k; i++) handler.rdpmc(i).wrmsr(MSR.PMC0 + i, 0xffff_0000n);
        handler.rdmsr(MSR.GLOBAL_STATUS).wrmsr(MSR.GLOBAL_CTRL, mask).wrmsr(0x834, 0x400n);
      })
      .lvtpc(0x400n)
      .wrmsr(MSR.GLOBAL_CTRL, 0n);
    for (let i = 0; i < k; i++) {
      code.wrmsr(MSR.PERFEVTSEL0 + i, SAMPLING).wrmsr(MSR.PMC0 + i, BigInt(2 ** 32 - left));
    }
    code.wrmsr(MSR.GLOBAL_CTRL, mask).loop(1000).wrmsr(MSR.GLOBAL_CTRL, 0n);
    const machine = hostFor(design, { profile });
    const guest = machine.start({ code: code.end().bytes, design: DESIGNS[design] });
    machine.finish();
    const { exits, pmis } = guest.vcpu.statistics;
    const all = [...exits].reduce(
      (sum, [reason, n]) => sum + (reason === IO_INSTRUCTION ? 0 : n),
      0,
    );
    return { all, pmis };
  };
  const [none, one] = [run(100_000), run(500)];
  expect([none.pmis, one.pmis]).toEqual([0, 1]);
  return one.all - none.all;
}

describe('a guest PMI with Linux’s handler, k events overflowing together', () => {
  // biome-ignore format: a table
  it.each([
    ['emulated',      'skylake-server',  1,  9, '5 + 2k, the NMI, LVTPC'],
    ['emulated',      'skylake-server',  6, 19, '5 + 2k, the NMI, LVTPC'],
    ['mediated',      'skylake-server',  1,  2, 'the interrupt, LVTPC'],
    ['mediated',      'skylake-server',  6,  2, 'the interrupt, LVTPC'],
    ['rfc-v1',        'sapphire-rapids', 6,  2, 'the interrupt, LVTPC'],
    ['rfc-v1-filter', 'sapphire-rapids', 6,  2, 'the interrupt, LVTPC: the handler writes no selector'],
    ['mediated',      'sapphire-rapids', 6, 13, '5 + k, the interrupt, LVTPC: one fixed counter is hidden, so globals and RDPMC trap'],
    ['emulated-identity', 'skylake-server', 6, 17, 'two less than emulated: GLOBAL_CTRL passes'],
  ] as const)('%s on %s, k = %i: %i exits (%s)', (design, profile, k, exits, _why) => {
    expect(exitsOfPmi(design, profile, k)).toBe(exits);
  }, LONG);
});
