import { describe, expect, it } from 'vitest';
import { DESIGNS } from '../../src/kvm/vpmu/designs.ts';
import { hostRights } from '../../src/lab/host-rights.ts';
import { findLeaks } from '../../src/lab/leak-probe.ts';

describe('what a guest can read of the host’s PMU', () => {
  it.each([DESIGNS.emulated, DESIGNS.mediated, DESIGNS['rfc-v1'], DESIGNS['opt-out']])(
    'is nothing under $name',
    (design) => {
      expect(findLeaks(design, 'sapphire-rapids')).toEqual({ probed: 94, leaks: [] });
    },
  );

  it('is the hidden fixed counter where RDPMC passes and nobody zeroes it', () => {
    const leaky = { ...DESIGNS['rfc-v1'], zeroesUnexposed: false };
    expect(findLeaks(leaky, 'sapphire-rapids').leaks).toEqual(['RDPMC 0x40000003']);
    // A Skylake server has no fourth fixed counter to hide.
    expect(findLeaks(leaky, 'skylake-server').leaks).toEqual([]);
  });

  it('is the same counter by its MSR where counters beyond the guest’s pass', () => {
    const { interception } = DESIGNS.mediated;
    const leaky = {
      ...DESIGNS.mediated,
      interception: { ...interception, 'counters-beyond': 'pass' as const },
    };
    expect(findLeaks(leaky, 'sapphire-rapids').leaks).toEqual(['RDMSR 0x30c']);
  });
});

describe('what a design leaves the host', () => {
  const [OPEN, ERROR] = ['open', 'ERROR'];
  // biome-ignore format: a table
  const rows = [
    // beside a VM, the same :H, a VM beside an open event, the watchdog
    ['emulated',    OPEN,          OPEN,      'event open',    OPEN],
    ['mediated',    '-EOPNOTSUPP', OPEN,      'no VM: -EBUSY', '-EOPNOTSUPP'],
    ['blend',       '-EOPNOTSUPP', OPEN,      'no VM: -EBUSY', '-EOPNOTSUPP'],
    ['rfc-v1',      '-EBUSY',      OPEN,      'event ERROR',   '-EBUSY'],
    ['guest-owned', ERROR,         OPEN,      'event ERROR',   ERROR],
    ['opt-out',     '-ENOENT',     '-ENOENT', 'event -ENOENT', '-ENOENT'],
  ] as const;

  it.each(rows)('%s', (design, besideVm, besideVmExcludingGuests, vmBesideEvent, watchdog) => {
    expect(hostRights(DESIGNS[design], 'skylake-server')).toEqual({
      besideVm,
      besideVmExcludingGuests,
      vmBesideEvent,
      watchdog,
    });
  });
});
