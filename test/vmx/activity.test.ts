import { describe, expect, it } from 'vitest';
import { CODE, Guest } from './guest.ts';
import type { Fields } from './processor.ts';

/** Something that may end a guest: controls and fields, and what is sent to its processor once it is entered. */
interface Ending {
  readonly fields: Fields;
  readonly icr?: bigint;
}

const PIN = (bits: number): Fields => ({ PIN_BASED_CONTROLS: 0x16 | bits });
const PRIMARY = (bits: number): Fields => ({ PRIMARY_CONTROLS: (0x0400_6172 | bits) >>> 0 });
const VIRTUAL_NMIS = PIN((1 << 3) | (1 << 5));

// biome-ignore format: a table
const ENDINGS = {
  'an external interrupt': { fields: PIN(1 << 0), icr: 0x4_0041n },
  'an NMI':                { fields: VIRTUAL_NMIS, icr: 0x4_0400n },
  'an INIT':               { fields: {}, icr: 0x4500n },
  'a SIPI':                { fields: {}, icr: 0x4612n },
  'the preemption timer':  { fields: { ...PIN(1 << 6), VMX_PREEMPTION_TIMER_VALUE: 0 } },
  'the interrupt window':  { fields: PRIMARY(1 << 2) },
  'the NMI window':        { fields: { ...VIRTUAL_NMIS, ...PRIMARY(1 << 22) } },
  'the monitor trap flag': { fields: PRIMARY(1 << 27) },
} as const satisfies Readonly<Record<string, Ending>>;

type Name = keyof typeof ENDINGS;
const NONE = undefined;

/** Reason of the VM exit, and how many NOPs have been executed before; undefined if none comes. */
function ends(name: Name, state: Fields): { reason: number; after: number } | undefined {
  const { fields, icr }: Ending = ENDINGS[name];
  const guest = new Guest({ ...fields, ...state }).code('90 90 90 90 eb fe');
  expect(guest.vmx.vmlaunch()).toBe('VMsucceed');
  if (icr !== undefined) guest.processor.msrs.wrmsr(0x830, icr);
  if (guest.processor.cpu.run(1000).reason !== 'vm-exit') return NONE;
  return {
    reason: Number(guest.get('EXIT_REASON')),
    after: Number(guest.get('GUEST_RIP')) - CODE,
  };
}

/** Vol. 3, "Other Causes of VM Exits" and the events' sections: reasons in each activity state. */
// biome-ignore format: a table
const BY_ACTIVITY: readonly (readonly [Name, active: number | undefined, hlt: number | undefined, shutdown: number | undefined, waitForSipi: number | undefined])[] = [
  ['an external interrupt', 1,    1,    NONE, NONE],
  ['an NMI',                0,    0,    0,    NONE],
  ['an INIT',               3,    3,    3,    NONE],
  ['a SIPI',                NONE, NONE, NONE, 4],
  ['the preemption timer',  52,   52,   52,   NONE],
  ['the interrupt window',  7,    7,    NONE, NONE],
  ['the NMI window',        8,    8,    8,    NONE],
  ['the monitor trap flag', 37,   NONE, NONE, NONE],
];

/** Instructions that an active guest executes before the exit, by what blocks events when it is entered; `undefined`: no exit. */
// biome-ignore format: a table
const BY_BLOCKING: readonly (readonly [Name, none: number, sti: number, movSs: number, nmi: number | undefined])[] = [
  ['an external interrupt', 0, 1, 1, 0],
  ['an NMI',                0, 0, 1, 0], // STI need not block it, and the blocking of virtual NMIs is none of physical ones
  ['an INIT',               0, 0, 0, 0],
  ['the preemption timer',  0, 0, 0, 0],
  ['the interrupt window',  0, 1, 1, 0],
  ['the NMI window',        0, 1, 1, NONE],
  ['the monitor trap flag', 1, 1, 1, 1],
];

describe('what ends a guest in each activity state', () => {
  it.each(BY_ACTIVITY)('%s', (name, ...reasons) => {
    const states = [0, 1, 2, 3].map((GUEST_ACTIVITY_STATE) => ends(name, { GUEST_ACTIVITY_STATE }));
    expect(states.map((end) => end?.reason)).toEqual(reasons);
  });
});

describe('what ends an active guest while events are blocked: by nothing, STI, MOV SS, NMI', () => {
  it.each(BY_BLOCKING)('%s', (name, ...after) => {
    const states = [0, 1, 2, 8].map((GUEST_INTERRUPTIBILITY_STATE) =>
      ends(name, { GUEST_INTERRUPTIBILITY_STATE }),
    );
    expect(states.map((end) => end?.after)).toEqual(after);
  });
});

it('an INIT waits while a guest waits for a SIPI, which comes through', () => {
  const guest = new Guest({ GUEST_ACTIVITY_STATE: 3 });
  guest.vmx.vmlaunch();
  guest.processor.msrs.wrmsr(0x830, 0x4500n);
  guest.processor.msrs.wrmsr(0x830, 0x4612n);
  expect(guest.processor.cpu.run(1000).reason).toBe('vm-exit');
  expect([guest.get('EXIT_REASON'), guest.get('EXIT_QUALIFICATION')]).toEqual([4n, 0x12n]);
  guest.set({ GUEST_ACTIVITY_STATE: 0 });
  expect(guest.exit().reason).toBe(3);
});
