import fc from 'fast-check';
import { expect } from 'vitest';
import { LocalApic } from '../../src/apic/local-apic.ts';
import { type PmuProfile, SAPPHIRE_RAPIDS } from '../../src/pmu/profiles.ts';
import { PmuBench } from './bench.ts';
import { type Command, commands, INSTRUCTIONS } from './reference-commands.ts';
import { ReferenceWhole, type WholeShape } from './reference-whole.ts';

const AREA = 0x8000n;
const BUFFER = 0x9000n;
const RECORDS = 8;
const LVTPC = 0x834;

const indices = (bitmap: bigint) =>
  [...bitmap.toString(2)].reverse().flatMap((bit, i) => (bit === '1' ? [i] : []));

function wholeShape({ shape }: PmuProfile): WholeShape {
  const { version, pebs, autoReload } = shape;
  const fixed = version >= 2 ? shape.fixed : 0n;
  const record = pebs?.format === 4 ? 32 : 200;
  const sampling = pebs ? pebs.gp | (pebs.format === 4 ? fixed << 32n : 0n) : 0n;
  return {
    version,
    gp: indices(shape.gp),
    gpWidth: shape.gpWidth,
    fixed: indices(fixed),
    fixedWidth: shape.fixedWidth,
    anyThread: shape.anyThread,
    fullWidth: shape.fullWidthWrites,
    adaptive: pebs?.format === 4,
    metrics: shape.perfMetrics ?? false,
    lbr: shape.lbr?.kind ?? 'none',
    reloaded: autoReload?.reloaded ?? 0n,
    causes: autoReload?.causes ?? 0n,
    sampling,
    precise: pebs?.precise ?? 0n,
    idle: pebs?.format === 3 ? pebs.gp << 32n : 0n,
    record,
    capacity: RECORDS * record + 8,
    threshold: 4 * record,
    reset: (1n << 48n) - 5n,
  };
}

/** What there is to compare, whether it exists in this shape or not. */
function visible({ lbr, metrics, version }: WholeShape) {
  const numbers = (from: number, count: number, stride = 1) =>
    Array.from({ length: count }, (_, i) => from + stride * i);
  const branches =
    lbr === 'legacy'
      ? [0x1c8, 0x1c9, ...numbers(0x680, 32)]
      : lbr === 'architectural'
        ? [0x14ce, 0x14cf, ...numbers(0x1500, 32)]
        : [];
  const extended =
    version >= 6
      ? [
          ...numbers(0x1900, 32),
          ...numbers(0x1980, 32),
          ...numbers(0x14c1, 8),
          ...numbers(0x1309, 7),
        ]
      : [0x1900, 0x1901];
  // biome-ignore format: a table
  const registers = [
    ...numbers(0xc1, 9), ...numbers(0x186, 9), 0x4c1, 0x4c2, 0x4c8, 0x4c9, ...numbers(0x309, 8),
    0x38d, 0x38e, 0x38f, 0x390, 0x391, 0x392, 0x1d9, LVTPC, 0x3f1, ...(metrics ? [0x329] : []), ...branches, ...extended,
  ];
  const counters = [0, 1, 3, 7, 8, 0x4000_0000, 0x4000_0002, 0x4000_0003, 0x4000_0006];
  return { registers, counters: [...counters, 0x2000_0000, 0x2000_0001, 0x8000_0000] };
}

/** The device with a DS area and a real local APIC beside it, and the model, told the same. */
class Pair {
  readonly bench: PmuBench;
  readonly model: ReferenceWhole;
  readonly #apic: LocalApic;
  readonly #visible: ReturnType<typeof visible>;
  #ip = 0x1000n;
  #nmis = 0;
  #vectors = 0;

  constructor(profile: PmuProfile) {
    const shape = wholeShape(profile);
    this.#visible = visible(shape);
    this.bench = new PmuBench({ ...profile, events: SAPPHIRE_RAPIDS.events });
    this.model = new ReferenceWhole(shape);
    const nothing = () => {};
    this.#apic = new LocalApic(
      { id: 0, bootstrap: true, physicalAddressBits: 46, ticksPerTimerCount: 120 },
      { now: () => 0, tsc: () => 0n, send: nothing, attention: nothing },
    );
    this.#apic.attach(this.bench.bus);
    this.bench.write(0x1b, 0xfee0_0d00n);
    this.bench.write(0x80f, 0x1ffn);
    this.bench.onPmi = () => this.#apic.raisePmi();
    this.#prepareArea();
  }

  #prepareArea(): void {
    if (this.model.shape.sampling === 0n) return;
    this.bench.write(0x600, AREA);
    this.#store(0);
  }

  #store(index: number): void {
    const { capacity, threshold, reset } = this.model.shape;
    const end = (bytes: number) => BUFFER + BigInt(bytes);
    const buffer = [BUFFER, end(index), end(capacity), end(threshold)];
    this.bench.store(AREA, 0n, 0n, 0n, 0n, ...buffer, ...Array<bigint>(16).fill(reset));
  }

  /** Slices no longer than the device's horizon; an overflow is found at the end of one. */
  run(kinds: readonly number[]): void {
    const { bench, model } = this;
    for (let done = 0; done < kinds.length; ) {
      bench.pmu.settle();
      const slice = Math.min(bench.pmu.horizon(), kinds.length - done);
      if (slice <= 0) throw new Error(`a horizon of ${slice}`);
      for (let i = 0; i < slice; i++) {
        const what = INSTRUCTIONS[kinds[done + i]!]!;
        const from = this.#ip++;
        if (what.branches > 0 && bench.tracing) {
          const { cpl } = model;
          bench.pmu.branch({ kind: 0, from, to: from + 64n, cplFrom: cpl, cplTo: cpl });
        }
        const before = model.pmis;
        model.retire(what, from);
        if (model.pmis > before && i < slice - 1) throw new Error('an overflow inside a slice');
        const { instructions, branches, loads, cycles } = what;
        const time = { ticks: 1, unhaltedTicks: 1, cycles, slots: cycles };
        const slots = { slotsRetiring: instructions, slotsBackEnd: cycles - instructions };
        bench.happen({ instructions, branches, loads, ...time, ...slots });
      }
      bench.pmu.settle();
      this.#take();
      done += slice;
    }
  }

  /** The processor takes what its local APIC has for it. */
  #take(): void {
    if (this.#apic.nmiPending()) {
      this.#apic.takeNmi();
      this.#nmis += 1;
    }
    if (this.#apic.pendingVector() !== undefined) {
      this.#apic.acknowledge();
      this.#apic.endOfInterrupt();
      this.#vectors += 1;
    }
  }

  wrmsr(address: number, value: bigint): void {
    const outcome = this.bench.bus.wrmsr(address, value);
    const wanted = this.model.wrmsr(address, value);
    if ((outcome === 'unclaimed' ? '#GP' : outcome) !== wanted) {
      expect(outcome, `WRMSR ${address.toString(16)}`).toBe(wanted);
    }
  }

  obey(command: Command): void {
    const { bench, model } = this;
    if (command.do === 'wrmsr') this.wrmsr(command.address, command.value);
    else if (command.do === 'run') {
      this.run(Array.from({ length: command.times }, () => command.kinds).flat());
    } else if (command.do === 'arm') {
      this.wrmsr(0xc1 + command.index, -command.short & 0xffff_ffffn);
      this.wrmsr(0x186 + command.index, command.select);
      this.wrmsr(0x38f, model.ctrl | (1n << BigInt(command.index)));
    } else if (command.do === 'guest') {
      // VM entry loads GLOBAL_CTRL; VM exit saves what the guest has left and loads the host's.
      const host = model.ctrl;
      this.wrmsr(0x38f, command.control);
      this.run(command.kinds);
      const saved = bench.bus.rdmsr(0x38f);
      if (saved !== model.rdmsr(0x38f) && saved !== 'unclaimed') {
        expect(saved, 'saved GLOBAL_CTRL').toBe(model.rdmsr(0x38f));
      }
      this.wrmsr(0x38f, host);
    } else if (command.do === 'cpl') {
      bench.enter(command.cpl);
      model.cpl = command.cpl;
    } else if (command.do === 'drain') {
      this.#store(0);
      model.index = 0;
    } else if (command.do === 'reset') {
      bench.pmu.reset(command.kind);
      if (command.kind === 'init') model.init();
      else {
        model.powerUp();
        if (model.shape.sampling !== 0n) bench.write(0x600, AREA);
      }
    } else {
      const saved = structuredClone(bench.pmu.save());
      bench.write(0x186, 0x0043_00c0n);
      if (model.shape.sampling !== 0n) bench.write(0x3f1, 0n);
      bench.pmu.restore(saved);
    }
  }

  /** Every register, every form of RDPMC, and all that was delivered. */
  agree(): void {
    const { bench, model } = this;
    for (const address of this.#visible.registers) {
      const read = bench.bus.rdmsr(address);
      const wanted = model.rdmsr(address);
      if (read === wanted || (read === 'unclaimed' && wanted === '#GP')) continue;
      expect(read, `RDMSR ${address.toString(16)}`).toBe(wanted);
    }
    for (const ecx of this.#visible.counters) {
      const read = bench.pmu.rdpmc(ecx);
      const wanted = model.rdpmc(ecx);
      if (read !== wanted) expect(read, `RDPMC ${ecx.toString(16)}`).toBe(wanted);
    }
    const index = model.shape.sampling === 0n ? 0n : bench.quadword(AREA + 0x28n) - BUFFER;
    const delivered = [index, bench.interrupts, this.#nmis, this.#vectors];
    const wanted = [BigInt(model.index), model.pmis, model.nmis, model.vectors];
    if (delivered.some((n, i) => n !== wanted[i])) {
      expect(delivered, 'PEBS index, PMIs, NMIs, vectors').toEqual(wanted);
    }
  }
}

/** Lets `runs` random sequences of commands happen to the device and to the model; a difference shrinks, and names its seed. */
export function judgeAgainstReference(profile: PmuProfile, runs: number): void {
  fc.assert(
    fc.property(commands(wholeShape(profile)), (sequence) => {
      const pair = new Pair(profile);
      for (const command of sequence) {
        pair.obey(command);
        pair.agree();
      }
    }),
    { numRuns: runs },
  );
}
