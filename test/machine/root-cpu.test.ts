import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Interpreter } from '../../src/cpu/engines/wasm/interpreter.ts';
import { HostCpu } from '../../src/host/cpu.ts';
import { Hardware } from '../../src/machine/hardware.ts';
import { profileNamed } from '../../src/machine/profiles.ts';
import { enterRootMode, rootCpu } from '../../src/machine/root-cpu.ts';

const MSR = {
  TSC: 0x10,
  PMC0: 0x4c1,
  SELECT0: 0x186,
  STATUS_RESET: 0x390,
  DEADLINE: 0x6e0,
} as const;
const LVT = { TIMER: 0x832, PMI: 0x834 } as const;
const X2APIC = { EOI: 0x80b, SELF_IPI: 0x83f } as const;
const VECTOR = { TIMER: 0xec, SELF: 0x41 } as const;
const WIDTH = 1n << 48n;

type Step =
  | { readonly do: 'work'; readonly ticks: number }
  | { readonly do: 'arm' | 'deadline' | 'tsc'; readonly by: number }
  | { readonly do: 'ipi' | 'mask' | 'unmask' };

/** What a host does, and at which tick it took which interrupt. */
function happened(steps: readonly Step[], looksEverywhere: boolean): readonly string[] {
  const hardware = new Hardware({
    ...{ profile: profileNamed('sapphire-rapids'), memorySize: 1 << 20, seed: 'root' },
    engine: (core) => new Interpreter(core),
    io: { read: () => 0, write: () => {} },
  });
  const [processor] = hardware.processors;
  enterRootMode(processor!);
  if (looksEverywhere) processor!.quiet = () => false;
  const host = new HostCpu(rootCpu(processor!, hardware));
  const log: string[] = [];
  const note = (what: string) => log.push(`${what} at ${host.now()}`);
  host.onNmi(() => {
    note(`NMI, status ${host.rdmsr(0x38e)}`);
    host.wrmsr(MSR.STATUS_RESET, 1n);
    host.wrmsr(LVT.PMI, 0x400n);
    return 1;
  });
  for (const vector of Object.values(VECTOR)) {
    host.onInterrupt(vector, () => {
      note(`interrupt ${vector}`);
      host.wrmsr(X2APIC.EOI, 0n);
    });
  }
  host.wrmsr(LVT.PMI, 0x400n);
  host.wrmsr(LVT.TIMER, BigInt(VECTOR.TIMER | (2 << 17)));
  // Instructions, at CPL 0, with a PMI.
  host.wrmsr(MSR.SELECT0, 0x5200c0n);
  host.wrmsr(0x38f, 1n);
  let off = 0;
  for (const step of steps) {
    if (step.do === 'work') host.work(step.ticks, Math.floor(step.ticks / 2));
    else if (step.do === 'arm') host.wrmsr(MSR.PMC0, WIDTH - BigInt(step.by));
    else if (step.do === 'deadline')
      host.wrmsr(MSR.DEADLINE, host.rdmsr(MSR.TSC) + BigInt(step.by));
    else if (step.do === 'tsc') host.wrmsr(MSR.TSC, host.rdmsr(MSR.TSC) + BigInt(step.by));
    else if (step.do === 'ipi') host.receiveIpi(VECTOR.SELF);
    else if (step.do === 'mask' && off++ >= 0) host.interruptsOff();
    else if (step.do === 'unmask' && off > 0 && off--) host.interruptsOn();
  }
  note(`end, ${host.rdpmc(0)} counted, ${processor!.state.total('cycles')} cycles`);
  return log;
}

const upTo = (max: number) => fc.integer({ min: 1, max });
const step = fc.oneof<fc.Arbitrary<Step>[]>(
  fc.record({ do: fc.constant('work' as const), ticks: upTo(400) }),
  fc.record({
    do: fc.constantFrom('arm' as const, 'deadline' as const, 'tsc' as const),
    by: upTo(2000),
  }),
  fc.record({ do: fc.constantFrom('ipi' as const, 'mask' as const, 'unmask' as const) }),
);

describe('root-mode work on a processor', () => {
  it('is interrupted at the same ticks whether or not the processor is looked at where nothing falls due', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 40 }), (steps) => {
        expect(happened(steps, false)).toEqual(happened(steps, true));
      }),
      { numRuns: 60 },
    );
  });

  it('takes the PMI of a counter right behind the work in which it overflows', () => {
    const [nmi] = happened(
      [{ do: 'arm', by: 100 }, ...Array(40).fill({ do: 'work', ticks: 10 })],
      false,
    );
    expect(nmi).toMatch(/^NMI, status 1 at/);
  });
});
