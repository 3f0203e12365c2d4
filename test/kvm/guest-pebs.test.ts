import { describe, expect, it } from 'vitest';
import { DESIGNS, type DesignName } from '../../src/kvm/vpmu/designs.ts';
import { GuestCode } from '../../src/lab/scenarios/guest-code.ts';
import { HostMachine } from '../../src/machine/host-machine.ts';
import { profileNamed } from '../../src/machine/profiles.ts';
import { type PerfEventAttr, perfEventAttr } from '../../src/perf/attr.ts';

const [PEBS_ENABLE, DATA_CFG, DS_AREA, CAPABILITIES, MISC_ENABLE] = [
  0x3f1, 0x3f2, 0x600, 0x345, 0x1a0,
];
const [GLOBAL_STATUS, GLOBAL_CTRL, OVF_CTRL, PERFEVTSEL, PMC] = [0x38e, 0x38f, 0x390, 0x186, 0x0c1];
const BRANCHES = 0x53_00c4n;
const INSTRUCTIONS = 0x53_00c0n;
const AREA = 0x3_0000;
const BUFFER = 0x3_1000n;
const RECORD = 32n;
const PERIOD = 10n;
const OVF_BUFFER = 1n << 62n;
const NMI_EXIT = 0;
const [LVTPC, EOI, PMI_VECTOR] = [0x834, 0x80b, 0x40n];

/**
 * A guest that samples one counter with a period of 10 while it takes branches, and reports index, first record, status,
 * counter. It asks for samples `late`, when it counts already, and may be `told` of PMIs: then it reports each status.
 */
function sampling({
  index = 0,
  select = BRANCHES,
  threshold = 100n,
  branches = 55,
  late = false,
  told = false,
  period = PERIOD,
  emulated = false,
} = {}) {
  const reset = -period & 0xffff_ffff_ffffn;
  const end = (records: bigint) => BUFFER + records * RECORD;
  const code = new GuestCode();
  if (told) {
    const handler = (guest: GuestCode) =>
      guest.reportMsr(GLOBAL_STATUS).wrmsr(EOI, 0n).wrmsr(LVTPC, PMI_VECTOR);
    code
      .onInterrupts([[Number(PMI_VECTOR), handler]])
      .lvtpc(PMI_VECTOR)
      .allowInterrupts();
  }
  const enable = () => code.wrmsr(PEBS_ENABLE, 1n << BigInt(index));
  code
    .wrmsr(GLOBAL_CTRL, 0n)
    .storeAt(AREA)
    .storeQuadwords(0n, 0n, 0n, 0n, BUFFER, BUFFER, end(10_000n), end(threshold))
    .storeQuadwords(...Array<bigint>(8).fill(reset))
    .wrmsr(DS_AREA, BigInt(AREA))
    .wrmsr(PMC + index, -period & 0xffff_ffffn);
  if (!late) enable();
  code.wrmsr(PERFEVTSEL + index, select).wrmsr(GLOBAL_CTRL, 1n << BigInt(index));
  if (late) enable();
  const loop = code.here;
  if (emulated) code.forcedJump();
  else code.loop(branches);
  code.wrmsr(GLOBAL_CTRL, 0n);
  for (const at of [AREA + 0x28, Number(BUFFER), Number(BUFFER) + 8, Number(BUFFER) + 16]) {
    code.reportMemory(at);
  }
  code.reportMsr(GLOBAL_STATUS).reportMsr(PMC + index);
  // MOV ESI and DEC before the branch.
  return { code: code.end().bytes, branch: BigInt(loop + 7) };
}

function run(
  code: Uint8Array,
  {
    profile = 'sapphire-rapids-whole',
    design = 'emulated' as DesignName,
    pebs = true,
    host = undefined as Partial<PerfEventAttr> | undefined,
  } = {},
) {
  const machine = new HostMachine({ profile: profileNamed(profile) });
  if (host) machine.perf.create(perfEventAttr(host), { cpu: 0 });
  const guest = machine.start({ code, design: DESIGNS[design], exposure: { pebs } });
  machine.finish();
  return { readings: guest.readings, exits: guest.vcpu.statistics.exits, machine };
}

const NO_RECORDS = [BUFFER, 0n, 0n, 0n];

describe('a guest that samples by PEBS under the emulated vPMU', () => {
  it('finds its records in its own memory: each says which branch, of which counter', () => {
    const { code, branch } = sampling();
    const { readings, exits } = run(code);
    // 55 branches are five periods and a half. The first quadword is the size of a record.
    expect(readings.slice(0, 4)).toEqual([BUFFER + 5n * RECORD, RECORD << 48n, branch, 1n]);
    expect(readings.slice(4)).toEqual([0n, -5n & 0xffff_ffff_ffffn]);
    expect(exits.get(NMI_EXIT)).toBeUndefined();
  });

  it('is told once that the buffer has reached its threshold, at the price of a host NMI a record from there on', () => {
    const { readings, exits } = run(sampling({ threshold: 3n }).code);
    expect([readings[0], readings[4]]).toEqual([BUFFER + 5n * RECORD, OVF_BUFFER]);
    expect(exits.get(NMI_EXIT)).toBe(3);
  });

  it('is interrupted once, however many records follow before it has acknowledged', () => {
    const { readings } = run(sampling({ threshold: 3n, told: true }).code);
    expect(readings).toHaveLength(7);
    expect(readings[0]).toBe(OVF_BUFFER);
  });

  it('gets no record and no status for an emulated branch that makes the counter wrap', () => {
    const { readings } = run(sampling({ period: 1n, emulated: true }).code);
    expect(readings).toEqual([...NO_RECORDS, 0n, 0n]);
  });

  it('may ask for records of a counter that counts already', () => {
    const { readings } = run(sampling({ late: true }).code);
    expect(readings[0]).toBe(BUFFER + 5n * RECORD);
  });

  it('gets none from a counter that lives on a host counter of another index, which does not even count', () => {
    const { readings } = run(sampling({ index: 1 }).code);
    expect(readings.slice(0, 4)).toEqual(NO_RECORDS);
    expect(readings[5]).toBe(-PERIOD & 0xffff_ffff_ffffn);
  });

  it('gets none of instructions on a general counter: host perf prefers its fixed one', () => {
    const { readings } = run(sampling({ select: INSTRUCTIONS }).code);
    expect(readings.slice(0, 4)).toEqual(NO_RECORDS);
  });

  it('gets none while the host samples precisely, whatever it samples', () => {
    const host = { config: 0x81d0n, preciseIp: 1, samplePeriod: 1_000_000n } as const;
    const { readings } = run(sampling().code, { host });
    expect(readings.slice(0, 4)).toEqual(NO_RECORDS);
  });

  describe('beside a host event that samples by interrupts on a general counter', () => {
    const host = { config: 0x81d0n, samplePeriod: 1_000_000n, pinned: true } as const;

    it('keeps counter 0 on Sapphire Rapids, where no other does for it', () => {
      const { readings } = run(sampling().code, { host });
      expect(readings[0]).toBe(BUFFER + 5n * RECORD);
    });

    it('finds counter 0 taken on Ice Lake, lives on 1, and gets no records', () => {
      const profile = 'ice-lake-server';
      const alone = run(sampling().code, { profile });
      // Without a precise distribution the branch after an overflow is recorded: 11, 22, … 55.
      expect(alone.readings[0]).toBe(BUFFER + 5n * RECORD);
      const { readings } = run(sampling().code, { profile, host });
      expect(readings.slice(0, 4)).toEqual(NO_RECORDS);
    });
  });

  it('leaves nothing of its area or its enables to the host', () => {
    const { machine } = run(sampling().code);
    const host = machine.hosts[0]!;
    expect([DS_AREA, PEBS_ENABLE, DATA_CFG].map((address) => host.rdmsr(address))).toEqual([
      0n,
      0n,
      0n,
    ]);
  });
});

describe('a guest that samples for longer', () => {
  // 50000 branches are 5000 periods.
  const { code } = sampling({ threshold: 10_000n, branches: 50_000 });
  const make = (processors = 1) => {
    const profile = profileNamed('sapphire-rapids-whole');
    const machine = new HostMachine({ profile, processors });
    const guest = machine.start({ code, design: DESIGNS.emulated, exposure: { pebs: true } });
    return { machine, guest };
  };
  const ALL = BUFFER + 5000n * RECORD;

  it('goes on when saved and restored', () => {
    const { machine, guest } = make();
    machine.run(60_000);
    const saved = machine.save();
    const other = make();
    other.machine.restore(saved);
    other.machine.finish();
    machine.finish();
    expect([guest.readings[0], other.guest.readings[0]]).toEqual([ALL, ALL]);
    expect(other.machine.hosts[0]!.now()).toBe(machine.hosts[0]!.now());
  });

  it('takes its area and its enables along to another processor', () => {
    const { machine, guest } = make(2);
    machine.run(60_000);
    machine.kernel.migrate(guest.task, 1);
    machine.run(30_000);
    expect(machine.hosts[0]!.rdmsr(PEBS_ENABLE)).toBe(0n);
    machine.finish();
    expect(guest.readings[0]).toBe(ALL);
  });
});

describe('PEBS as a guest is shown it', () => {
  const shown = (options: Parameters<typeof run>[1]) => {
    const code = new GuestCode().reportMsr(CAPABILITIES).reportMsr(MISC_ENABLE).end();
    const [capabilities = 0n, misc = 0n] = run(code.bytes, options).readings;
    return {
      format: (capabilities >> 8n) & 0xfn,
      baseline: (capabilities >> 14n) & 1n,
      unavailable: (misc >> 12n) & 1n,
    };
  };
  const HIDDEN = { format: 0n, baseline: 0n, unavailable: 1n };

  it.each(['sapphire-rapids-whole', 'ice-lake-server'])(
    'is the format of %s without adaptive records, where the VM asks',
    (profile) => {
      expect(shown({ profile })).toEqual({ format: 4n, baseline: 0n, unavailable: 0n });
      expect(shown({ profile, pebs: false })).toEqual(HIDDEN);
    },
  );

  it('is nothing on hosts whose PEBS cannot go through EPT, and under mediated designs', () => {
    expect(shown({ profile: 'skylake-server-whole' })).toEqual(HIDDEN);
    expect(shown({ design: 'mediated' })).toEqual(HIDDEN);
  });

  it('has general-purpose counters only, no groups, and an area at a canonical address', () => {
    const faults = (address: number, value: bigint) => {
      const code = new GuestCode().onInterrupts([[13, (handler) => handler.reportMsr(0x1b).end()]]);
      return run(code.wrmsr(address, value).end().bytes).readings.length === 1;
    };
    expect([0xffn, 0x100n, 1n << 32n].map((value) => faults(PEBS_ENABLE, value))).toEqual([
      false,
      true,
      true,
    ]);
    expect([0xffff_8000_0000_0000n, 1n << 47n].map((value) => faults(DS_AREA, value))).toEqual([
      false,
      true,
    ]);
    expect(faults(DATA_CFG, 0n)).toBe(true);
    expect(faults(PERFEVTSEL, 1n << 34n)).toBe(true);
    expect(faults(OVF_CTRL, OVF_BUFFER)).toBe(false);
  });
});
