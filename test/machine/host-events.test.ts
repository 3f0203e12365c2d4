import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { createMachine } from '../../src/machine/create.ts';
import { readEvents } from '../../src/machine/event-list.ts';
import { HostEvents } from '../../src/machine/host-events.ts';
import type { VirtualMachine } from '../../src/machine/virtual.ts';

const image = (name: string) =>
  new Uint8Array(readFileSync(new URL(`../../firmware/${name}.elf`, import.meta.url)));

/** Runs `count` beside host events. */
function beside(machine: string, events: string, maxInstructions = 600_000n) {
  const made = createMachine(image('count'), { machine }) as VirtualMachine;
  const host = new HostEvents(made, readEvents(events, 'sapphire-rapids'));
  const { reason } = made.run({ maxInstructions });
  return { ...host.read(), reason, console: made.board.console };
}

describe('host events beside an emulated vPMU', () => {
  it('see the guest to the last branch, but for what KVM carried out', () => {
    const [event] = beside('emulated', 'branches:G', 10_000_000n).events;
    expect(event).toMatchObject({ name: 'branches:G', refused: undefined, errorAt: undefined });
    expect(event!.count).toBe(event!.truth);
    // `count` makes 506,777 branches, of which KVM carries out none.
    expect(event!.truth).toBe(506_777n);
  });

  it('miss of the host what happens while perf has the PMU closed', () => {
    const [event] = beside('emulated', 'instructions:H').events;
    expect(event!.read!).toBeLessThan(event!.truth!);
    expect(Number(event!.read) / Number(event!.truth)).toBeGreaterThan(0.98);
  });

  it('that are pinned leave the guest’s without a counter, in ERROR', () => {
    const everything = `${'branches:D,'.repeat(8)}instructions:D,cycles:D,ref-cycles:D`;
    const { events, guestErrors } = beside('emulated', everything);
    expect(events.map(({ errorAt }) => errorAt)).toEqual(events.map(() => undefined));
    expect(guestErrors).toBeGreaterThan(0);
  });

  it('know no truth where a level cuts the guest in two', () => {
    const { events } = beside('emulated', 'instructions:u,instructions:uH', 10_000n);
    expect(events.map(({ truth }) => truth)).toEqual([undefined, 0n]);
  });

  it('are read although the budget ended in the middle of guest code', () => {
    const { events, reason } = beside('emulated', 'instructions:G', 400_000n);
    expect(reason).toBe('budget');
    expect(events[0]!.count).toBe(events[0]!.truth);
  });
});

describe('host events beside a PMU that is the guest’s', () => {
  it('are refused unless they exclude guests, and do not age while it has the PMU', () => {
    const [any, excluding] = beside('mediated', 'cycles,cycles:H').events;
    expect(any).toMatchObject({ refused: '-EOPNOTSUPP', read: undefined, truth: undefined });
    expect(excluding!.running).toBe(excluding!.enabled);
    expect(excluding!.read!).toBeLessThan(excluding!.truth!);
  });

  it('go to ERROR when they meet a guest that asked for it, those with :H do not', () => {
    const { events } = beside('guest-owned', 'cycles:D,instructions:H');
    expect(events[0]).toMatchObject({ errorAt: 0n, read: undefined });
    expect(events[1]!.errorAt).toBeUndefined();
    // All but what opening it took.
    expect(events[1]!.enabled - events[1]!.running).toBeLessThan(1_000n);
  });

  it('do not exist on a host that gave its PMU up', () => {
    expect(beside('opt-out', 'cycles:H', 10_000n).events[0]!.refused).toBe('-ENOENT');
  });
});
