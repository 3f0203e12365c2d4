import { describe, expect, it } from 'vitest';
import { HostMachine } from '../../src/machine/host-machine.ts';
import { profileNamed } from '../../src/machine/profiles.ts';
import { type PerfEventAttr, perfEventAttr } from '../../src/perf/attr.ts';
import { guestMsrs } from '../../src/perf/guest-msrs.ts';

const INSTRUCTIONS = 0x00c0n;
const BRANCHES = 0x00c4n;
const SLOTS = 0x0400n;
const FIXED = 32;

/** The counter that a precise event gets on an idle host. */
function counterOf(profile: string, told: Partial<PerfEventAttr>): number {
  const { perf } = new HostMachine({ profile: profileNamed(profile) });
  const attr = perfEventAttr({ samplePeriod: 1_000_000n, ...told });
  return perf.create(attr, { cpu: 0 }).hw.index;
}

describe('a precise event of the host', () => {
  // biome-ignore format: a table
  it.each([
    ['sapphire-rapids-whole', INSTRUCTIONS, 1, FIXED],
    ['sapphire-rapids-whole', INSTRUCTIONS, 3, FIXED],
    ['sapphire-rapids-whole', BRANCHES,     3, 0],
    ['ice-lake-server',       INSTRUCTIONS, 3, FIXED],
    ['ice-lake-server',       SLOTS,        1, FIXED + 3],
    ['skylake-server-whole',  INSTRUCTIONS, 1, 0], // Fixed counters do not sample there.
    ['skylake-server-whole',  BRANCHES,     3, 0],
  ] as const)('on %s, of event %x at level %i, lives on counter %i', (profile, config, preciseIp, counter) => {
    expect(counterOf(profile, { config, preciseIp })).toBe(counter);
  });

  it('has the one counter with a precise distribution at the highest level, or fails pinned', () => {
    const { perf } = new HostMachine({ profile: profileNamed('sapphire-rapids-whole') });
    const attr = perfEventAttr({ config: BRANCHES, pinned: true, preciseIp: 3, samplePeriod: 99n });
    const [first, second] = [0, 1].map(() => perf.create(attr, { cpu: 0 }));
    expect([first!.hw.index, second!.hw.index]).toEqual([0, -1]);
    const looser = perf.create({ ...attr, preciseIp: 2 }, { cpu: 0 });
    expect(looser.hw.index).toBe(1);
  });

  it('is refused where there is no PEBS, and if it does not sample', () => {
    const create = (profile: string, told: Partial<PerfEventAttr>) => () =>
      counterOf(profile, { config: BRANCHES, preciseIp: 1, ...told });
    expect(create('sapphire-rapids', {})).toThrow('-EOPNOTSUPP');
    expect(create('sapphire-rapids-whole', { samplePeriod: 0n })).toThrow('-EINVAL');
  });
});

describe('what a VM entry switches', () => {
  const ADAPTIVE = { format: 4, baseline: true, precise: 0n };
  const AREA = 0x1000n;
  const guest = (crossMapped = 0n) => ({ dsArea: AREA, pebsEnable: 0b11n, crossMapped });
  const switched = (
    sides: { excludeHost?: bigint; excludeGuest?: bigint; precise?: bigint },
    ...rest: [typeof ADAPTIVE | undefined, ReturnType<typeof guest> | undefined]
  ) => {
    const all = { enabled: 0xffn, excludeHost: 0n, excludeGuest: 0n, precise: 0n, ...sides };
    return Object.fromEntries(
      guestMsrs(all, ...rest).map(({ address, host, guest }) => [
        address.toString(16),
        [host, guest],
      ]),
    );
  };

  it('takes host counters that sample away from every guest, exclude_guest or not', () => {
    expect(switched({ precise: 0b100n }, ADAPTIVE, undefined)).toEqual({ '38f': [0xffn, 0xfbn] });
  });

  it('gives a guest its area and the counters that sample for it', () => {
    expect(switched({ excludeHost: 1n, precise: 1n }, ADAPTIVE, guest())).toEqual({
      '38f': [0xfen, 0xffn],
      '600': [0n, AREA],
      '3f2': [0n, 0n],
      '3f1': [0n, 1n],
    });
  });

  it('stops every cross-mapped counter of a guest that samples, whether that one samples or not', () => {
    const both = { excludeHost: 0b111n, precise: 0b001n };
    expect(switched(both, ADAPTIVE, guest(0b110n))).toMatchObject({
      '38f': [0xf8n, 0xf9n],
      '3f1': [0n, 1n],
    });
  });

  it('gives a guest no PEBS while the host samples, nor on hosts that cannot write through EPT', () => {
    const hosts = { excludeHost: 1n, precise: 0b101n };
    expect(switched(hosts, ADAPTIVE, guest())).toMatchObject({
      '38f': [0xfen, 0xfan],
      '3f1': [0n, 0n],
    });
    const basic = { ...ADAPTIVE, baseline: false };
    expect(Object.keys(switched({ precise: 1n, excludeHost: 1n }, basic, guest()))).toEqual([
      '38f',
    ]);
  });
});
