import fc from 'fast-check';
import { Interpreter } from '../../src/cpu/engines/wasm/interpreter.ts';
import { DESIGNS, type DesignName } from '../../src/kvm/vpmu/designs.ts';
import { GuestCode, MSR } from '../../src/lab/scenarios/guest-code.ts';
import { hostFor } from '../../src/lab/scenarios/scenario.ts';
import { BareMachine } from '../../src/machine/bare.ts';
import { PROGRAM_BASE, REPORT_PORT } from '../../src/machine/host-machine.ts';
import { profileNamed } from '../../src/machine/profiles.ts';
import { enterElf64 } from '../../src/platform/boot/entry-state.ts';
import { SAPPHIRE_RAPIDS } from '../../src/pmu/profiles.ts';

/** What KVM shows a guest on Sapphire Rapids, as a processor of its own: version 2, eight and three counters. */
const GUEST_PMU = {
  ...SAPPHIRE_RAPIDS,
  shape: { ...SAPPHIRE_RAPIDS.shape, version: 2 as const, fixed: 7n },
};

const A_PMC0 = 0x4c1;
const LVTPC = 0x834;
const EOI = 0x80b;
const PMI_VECTOR = 0x40n;

/** Events that a hypervisor can count exactly for what it carries out, and one that nothing of it is. */
const EVENTS = [0xc0n, 0xc4n, 0x81d0n] as const;
const USR_AND_OS = 0x3_0000n;
const OS = 0x2_0000n;
const USR = 0x1_0000n;
const INT = 0x10_0000n;
const EN = 0x40_0000n;

const index = fc.nat(7);
const mask = fc.oneof(
  fc.constant(0x1_0000_00ffn),
  fc.tuple(fc.nat(255), fc.nat(7)).map(([gp, fixed]) => BigInt(gp) | (BigInt(fixed) << 32n)),
);
const selector = fc
  .tuple(
    fc.constantFrom(...EVENTS, ...EVENTS.slice(0, 2), ...EVENTS.slice(0, 2)),
    fc.constantFrom(USR_AND_OS, USR_AND_OS, OS, OS, USR),
    fc.constantFrom(0n, INT, INT),
    fc.constantFrom(EN, EN, EN, 0n),
  )
  .map((parts) => parts.reduce<bigint>((a, b) => a | b, 0n));
/** Fixed counter 1 and 2 count time, which root mode spends: they stay off. */
const fixedControl = fc.constantFrom(0n, 1n, 2n, 3n, 0xbn);
/** How far a counter is from wrapping; 0 is at the other end. */
const distance = fc.oneof(
  fc.constant(0n),
  ...[40, 150, 400].map((max) => fc.integer({ min: 2, max }).map(BigInt)),
);

/** While GLOBAL_CTRL is closed. */
const setting = fc.oneof(
  fc.record({ do: fc.constant('arm' as const), index, selector, distance }),
  fc.record({ do: fc.constant('arm' as const), index, selector, distance }),
  fc.record({ do: fc.constant('select' as const), index, selector }),
  fc.record({ do: fc.constant('counter' as const), index, distance }),
  fc.record({ do: fc.constant('legacy counter' as const), index, distance }),
  fc.record({ do: fc.constant('fixed control' as const), fixedControl }),
  fc.record({ do: fc.constant('fixed counter' as const), distance }),
  fc.record({ do: fc.constant('acknowledge' as const), mask }),
  fc.record({
    do: fc.constant('mask LVTPC' as const),
    masked: fc.constantFrom(false, false, false, true),
  }),
);
/** While it is open. Counters are only stopped: of one that starts KVM knows too late whether it interrupts. */
const working = fc.oneof(
  fc.record({ do: fc.constant('loop' as const), turns: fc.integer({ min: 1, max: 120 }) }),
  fc.record({ do: fc.constant('nop' as const), count: fc.integer({ min: 1, max: 40 }) }),
  fc.record({ do: fc.constant('cpuid' as const) }),
  fc.record({ do: fc.constant('jump' as const) }),
  fc.record({ do: fc.constant('other MSR' as const) }),
  fc.record({ do: fc.constant('read' as const), index }),
  fc.record({ do: fc.constant('read by RDPMC' as const), index }),
  fc.record({ do: fc.constant('read status' as const) }),
  fc.record({
    do: fc.constant('select' as const),
    index,
    selector: selector.map((value) => value & ~EN),
  }),
  fc.record({ do: fc.constant('fixed control' as const), fixedControl: fc.constant<bigint>(0n) }),
  fc.record({ do: fc.constant('open' as const), mask }),
  fc.record({ do: fc.constant('acknowledge' as const), mask }),
);
type Step =
  | (typeof setting extends fc.Arbitrary<infer T> ? T : never)
  | (typeof working extends fc.Arbitrary<infer T> ? T : never);

/** Some rounds of setting up, opening, working, closing and reading everything. */
export const rounds = fc.array(
  fc.record({
    settings: fc.array(setting, { minLength: 4, maxLength: 16 }),
    open: mask,
    work: fc.array(working, { minLength: 1, maxLength: 12 }),
  }),
  { minLength: 1, maxLength: 4, size: 'max' },
);
export type Rounds = typeof rounds extends fc.Arbitrary<infer T> ? T : never;

const WIDTH = (1n << 48n) - 1n;

function emit(code: GuestCode, step: Step): void {
  switch (step.do) {
    case 'arm':
      code.wrmsr(A_PMC0 + step.index, -step.distance & WIDTH);
      code.wrmsr(MSR.PERFEVTSEL0 + step.index, step.selector);
      break;
    case 'select':
      code.wrmsr(MSR.PERFEVTSEL0 + step.index, step.selector);
      break;
    case 'counter':
      code.wrmsr(A_PMC0 + step.index, -step.distance & WIDTH);
      break;
    case 'legacy counter':
      code.wrmsr(MSR.PMC0 + step.index, -step.distance & 0xffff_ffffn);
      break;
    case 'fixed control':
      code.wrmsr(MSR.FIXED_CTR_CTRL, step.fixedControl);
      break;
    case 'fixed counter':
      code.wrmsr(MSR.FIXED_CTR0, -step.distance & WIDTH);
      break;
    case 'acknowledge':
      code.wrmsr(MSR.GLOBAL_OVF_CTRL, step.mask);
      break;
    case 'mask LVTPC':
      code.wrmsr(LVTPC, PMI_VECTOR | (step.masked ? 0x1_0000n : 0n));
      break;
    case 'loop':
      code.loop(step.turns);
      break;
    case 'nop':
      code.nop(step.count);
      break;
    case 'cpuid':
      code.cpuid();
      break;
    case 'jump':
      code.jump();
      break;
    case 'other MSR':
      code.wrmsr(0xc000_0103, 7n);
      break;
    case 'read':
      code.reportMsr(MSR.PMC0 + step.index);
      break;
    case 'read by RDPMC':
      code.reportPmc(step.index);
      break;
    case 'read status':
      code.reportMsr(MSR.GLOBAL_STATUS);
      break;
    case 'open':
      code.wrmsr(MSR.GLOBAL_CTRL, step.mask);
      break;
  }
}

/** The program: interrupts are taken anywhere, the handler reports what has overflowed and lets the next one come. */
export function programOf(all: Rounds): Uint8Array {
  const code = new GuestCode().onInterrupts([
    [
      Number(PMI_VECTOR),
      (handler) =>
        handler
          .reportMsr(MSR.GLOBAL_STATUS)
          .reportInterrupted()
          .wrmsr(EOI, 0n)
          .wrmsr(LVTPC, PMI_VECTOR),
    ],
  ]);
  code.wrmsr(MSR.GLOBAL_CTRL, 0n).lvtpc(PMI_VECTOR).allowInterrupts();
  for (const { settings, open, work } of all) {
    for (const step of settings) emit(code, step);
    code.wrmsr(MSR.GLOBAL_CTRL, open);
    for (const step of work) emit(code, step);
    code.wrmsr(MSR.GLOBAL_CTRL, 0n);
    for (let i = 0; i < 8; i++) code.reportMsr(MSR.PMC0 + i);
    code.reportMsr(MSR.FIXED_CTR0).reportMsr(MSR.GLOBAL_STATUS).reportMsr(MSR.FIXED_CTR_CTRL);
  }
  return code.end().bytes;
}

/** What the program reports on a processor that has the guest's PMU itself. */
export function bareReadings(code: Uint8Array): bigint[] {
  const machine = new BareMachine({
    image: {
      format: 'elf64',
      regions: [],
      boot: {},
      load: (memory) => {
        memory.load(PROGRAM_BASE, code);
        return enterElf64(memory, PROGRAM_BASE);
      },
    },
    profile: { ...profileNamed('sapphire-rapids'), pmu: GUEST_PMU },
    memorySize: 4 << 20,
    engine: (core) => new Interpreter(core),
    seed: 'bare',
  });
  const words: bigint[] = [];
  machine.board.ports.attach(REPORT_PORT, 4, {
    read: () => 0,
    write: (_offset, _size, value) => words.push(BigInt(value >>> 0)),
  });
  machine.run({ maxInstructions: 1_000_000n });
  return Array.from(
    { length: words.length / 2 },
    (_, i) => words[2 * i]! | (words[2 * i + 1]! << 32n),
  );
}

/** What it reports in a VM. The host may program a period of 1, as no Linux does. */
export function hostedReadings(code: Uint8Array, design: DesignName): bigint[] {
  const machine = hostFor(design, { perf: { minimumPeriod: 1n } });
  const guest = machine.start({ code, design: DESIGNS[design] });
  machine.finish(4_000_000_000);
  return guest.readings;
}
