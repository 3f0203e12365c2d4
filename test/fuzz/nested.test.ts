import { describe, expect, it } from 'vitest';
import { BareChamber } from '../../src/fuzz/bare-chamber.ts';
import type { FuzzCase, ListedMsr, NestedCase } from '../../src/fuzz/case.ts';
import { type Alteration, Chamber } from '../../src/fuzz/chamber.ts';
import { Examiner } from '../../src/fuzz/examine.ts';
import { generate } from '../../src/fuzz/generate.ts';
import { checkNested, type NestedRun } from '../../src/fuzz/oracles/nested.ts';
import { shrink } from '../../src/fuzz/shrink.ts';

const OPEN: NestedCase = {
  bitmap: { exits: 'none', except: [] },
  rdpmcExiting: false,
  onExit: 'skip',
};
const CASE: FuzzCase = {
  ...{ seed: 'nested', index: 1, design: 'mediated', profile: 'sapphire-rapids' },
  ...{ exposure: 'half', cpl: 0, pce: false, lvtpc: 'masked', registers: [], bitmap: [] },
  host: { secret: 1, events: [] },
  nested: OPEN,
  steps: [],
};
const rdmsr = (register: number) => ({ do: 'rdmsr', register }) as const;
const wrmsr = (register: number, value: string) => ({ do: 'wrmsr', register, value }) as const;

const chamber = new Chamber(CASE);
const bare = new BareChamber(chamber, true);
const run = (nested: Partial<NestedCase>, fuzzed: Partial<FuzzCase>): NestedRun =>
  bare.run({ ...CASE, ...fuzzed, nested: { ...OPEN, ...nested } });
const told = ({ toL1 }: NestedRun) => toL1?.map(({ step, reason }) => `${step}: ${reason}`);
const outcomes = ({ steps }: NestedRun) => steps.map(({ outcome }) => outcome);

describe('a guest’s guest', () => {
  const steps = [rdmsr(0xc1), wrmsr(0xc1, '0x5'), rdmsr(0xc5), rdmsr(0x2000)];

  it('exits to its hypervisor by the bits of the MSR bitmap, and outside of what it covers', () => {
    const bitmap: NestedCase['bitmap'] = { exits: 'none', except: [[0xc1, 'write']] };
    const seen = run({ bitmap }, { steps });
    // WRMSR, RDMSR, then HLT behind the last step.
    expect(told(seen)).toEqual(['1: 32', '3: 31', '4: 12']);
    // Counter 4 is not there; nobody asks L1 about it.
    expect(outcomes(seen)).toEqual(['done', 'done', '#GP', 'done']);
  });

  it('exits at every RDMSR and WRMSR where there is no MSR bitmap', () => {
    const { bitmap: _, ...without } = OPEN;
    const seen = bare.run({ ...CASE, steps, nested: { ...without, onExit: 'inject' } });
    expect(told(seen)).toEqual(['0: 31', '1: 32', '2: 31', '3: 31', '4: 12']);
    expect(outcomes(seen)).toEqual(['#GP', '#GP', '#GP', '#GP']);
  });

  it('meets the checks of privilege before it exits', () => {
    const rdpmc: FuzzCase['steps'] = [{ do: 'rdpmc', register: 0 }, rdmsr(0xc1)];
    const at = (cpl: 0 | 3, pce: boolean) =>
      run({ rdpmcExiting: true }, { cpl, pce, steps: rdpmc });
    expect(told(at(3, false))).toEqual(['2: 12']);
    expect(told(at(3, true))).toEqual(['0: 15', '2: 12']);
    expect(told(at(0, false))).toEqual(['0: 15', '2: 12']);
  });

  it('finds what its hypervisor has carried out for it', () => {
    const bitmap: NestedCase['bitmap'] = { exits: 'all', except: [[0xc1, 'read']] };
    const seen = run({ bitmap, onExit: 'carry-out' }, { steps: [wrmsr(0x4c1, '0x77'), ...steps] });
    expect(seen.steps.map(({ value }) => value)).toEqual([0x77n, 0x77n, 5n, 0n, 0n]);
    expect(outcomes(seen)).toEqual(['done', 'done', 'done', '#GP', '#GP']);
  });

  it('loses its GLOBAL_CTRL to the one that VM exit loads, and has it again where VM exit saves it', () => {
    const fuzzed: Partial<FuzzCase> = {
      steps: [wrmsr(0x38f, '0x3'), { do: 'cpuid', leaf: 0 }, rdmsr(0x38f)],
    };
    const left = (globalCtrl: NestedCase['globalCtrl']) =>
      run({ ...(globalCtrl && { globalCtrl }) }, fuzzed).steps[2]!.value;
    expect(left(undefined)).toBe(3n);
    expect(left({ exit: '0x8' })).toBe(8n);
    expect(left({ entry: '0x1', exit: '0x8' })).toBe(1n);
    expect(left({ entry: '0x1', exit: '0x8', save: true })).toBe(3n);
  });
});

describe('a PMI in a guest’s guest', () => {
  /** Counter 0 counts instructions, 40 short of overflow. */
  const soon: Partial<FuzzCase> = {
    ...{ lvtpc: 'nmi', steps: [{ do: 'work', count: 100 }] },
    registers: [
      [0x4c1, '0xffffffffffb0'],
      [0x186, '0x5300c0'],
      [0x38f, '0x1'],
    ],
  };
  const nmis = (nested: Partial<NestedCase>) => {
    const { nmis: taken, ...seen } = bare.run({ ...CASE, ...soon, nested: { ...OPEN, ...nested } });
    return [taken, told(seen)];
  };

  it('goes to its own handler, or exits to its hypervisor, which has one too', () => {
    expect(nmis({})).toEqual([1, ['1: 12']]);
    expect(nmis({ nmiExiting: true })).toEqual([1, ['0: 0', '1: 12']]);
  });

  it('that cycles ask for, and whose exit stops a counter, is held against no value: cycles are not exact', () => {
    const fuzzed: FuzzCase = {
      ...CASE,
      ...{ exposure: 'default', lvtpc: 'nmi', steps: [{ do: 'rdpmc', register: 0x4000_0000 }] },
      registers: [
        [0x4c8, '0xffffffffffd9'],
        [0x18d, '0x53003c'],
        [0x38d, '0x303'],
        [0x38f, '0x700000090'],
      ],
      nested: { ...OPEN, nmiExiting: true, onExit: 'inject', globalCtrl: { exit: '0x6a' } },
    };
    const { trace, violations } = new Examiner().examine(fuzzed);
    expect(trace.nmis).toBe(1);
    expect(violations).toEqual([]);
  });
});

describe('VM entry to a guest’s guest', () => {
  const list = (address: number, value = '0x0'): ListedMsr => ({
    ...{ list: 'entry-load', address, value },
  });

  it.each([
    ['a counter that is not there', list(0xc5)],
    ['IA32_GS_BASE', list(0xc000_0101)],
    ['a reserved bit of GLOBAL_CTRL', list(0x38f, '0x10')],
  ])('fails at the entry of the MSR list that loads %s', (_what, refused) => {
    const { toL1 } = run({ lists: [list(0xc1), refused] }, { steps: [rdmsr(0xc1)] });
    // Bit 31 and MSR_LOAD_FAIL; the number of the entry.
    expect(toL1).toMatchObject([{ reason: 0x8000_0022, qualification: 2n }]);
  });

  it('is refused with a reserved bit in a GLOBAL_CTRL field, as host state or as guest state', () => {
    const reason = (globalCtrl: NestedCase['globalCtrl']) =>
      run({ ...(globalCtrl && { globalCtrl }) }, { steps: [rdmsr(0xc1)] }).toL1?.[0]?.reason;
    expect(reason({ exit: '0x10' })).toBe('VMfail 8');
    expect(reason({ entry: '0x10' })).toBe(0x8000_0021);
  });

  it.each([
    ['unaligned', 'entry-load', 'VMfail 7'],
    ['too-wide', 'exit-store', 'VMfail 7'],
    ['unaligned', 'bitmap', 'VMfail 7'],
    // Reads as all ones: the reserved bits of the first entry.
    ['no-memory', 'entry-load', 0x8000_0022],
    // And every bit of the bitmap.
    ['no-memory', 'bitmap', 31],
  ] as const)('with a pointer that is %s to its %s comes to %s', (to, of, reason) => {
    const lists: ListedMsr[] = of === 'bitmap' ? [] : [{ list: of, address: 0xc1, value: '0x0' }];
    const { toL1 } = run({ lists, stray: { of, to } }, { steps: [rdmsr(0xc1)] });
    expect(toL1?.[0]?.reason).toBe(reason);
  });

  it('has no GLOBAL_CTRL to load where the guest has no PMU: VMWRITE knows no such field', () => {
    const nested: NestedCase = { ...OPEN, globalCtrl: { exit: '0x0' } };
    const fuzzed: FuzzCase = { ...CASE, exposure: 'none', steps: [rdmsr(0xc1)], nested };
    const { trace, violations } = new Examiner().examine(fuzzed);
    expect(violations).toEqual([]);
    expect(trace.toL1).toMatchObject([{ step: 0, reason: 'VMfail 12' }]);
  });

  it('that a VM exit cannot match, for its list names no register, ends in a VMX abort', () => {
    const lists: ListedMsr[] = [{ list: 'exit-store', address: 0xc5, value: '0x0' }];
    expect(run({ lists }, { steps: [rdmsr(0xc1)] }).end).toBe('shutdown');
  });
});

describe('the oracle of a guest’s guest', () => {
  const steps: FuzzCase['steps'] = [wrmsr(0xc1, '0x7'), rdmsr(0xc2), { do: 'cpuid', leaf: 0 }];
  const bitmap: NestedCase['bitmap'] = { exits: 'none', except: [[0xc1, 'write']] };
  const fuzzed: FuzzCase = { ...CASE, steps, nested: { ...OPEN, bitmap } };
  const right = bare.run(fuzzed);
  const judged = (wrong: Partial<NestedRun>) =>
    checkNested(fuzzed, { ...right, ...wrong }).map(({ step, channel }) => [step, channel]);

  it('agrees with the manual’s processor', () => {
    expect(judged({})).toEqual([]);
  });

  it.each([
    ['an exit that L1 was not told', 0, { toL1: right.toL1!.slice(1) }],
    [
      'an exit that L1 did not ask for',
      1,
      { toL1: right.toL1!.toSpliced(1, 0, { ...right.toL1![0]!, step: 1 }) },
    ],
    ['a wrong reason', 0, { toL1: right.toL1!.with(0, { ...right.toL1![0]!, reason: 31 }) }],
    [
      'a qualification',
      0,
      { toL1: right.toL1!.with(0, { ...right.toL1![0]!, qualification: 1n }) },
    ],
    ['a wrong length', 2, { toL1: right.toL1!.with(1, { ...right.toL1![1]!, length: 3 }) }],
    [
      'a register that was written though L1 stepped over',
      0,
      { steps: right.steps.with(0, { ...right.steps[0]!, value: 8n }) },
    ],
    [
      'a shutdown',
      0,
      {
        end: 'shutdown',
        steps: right.steps.map((step) => ({ ...step, outcome: 'unreached' as const })),
      },
    ],
    [
      'an L1 that is at a loss',
      0,
      {
        toL1: undefined,
        steps: right.steps.map((step) => ({ ...step, outcome: 'unreached' as const })),
      },
    ],
  ])('notices %s', (_what, step, wrong) => {
    expect(judged(wrong)).toEqual([[step, 19]]);
  });

  it('has nothing to say of random cases', () => {
    const examiner = new Examiner();
    let nested = 0;
    for (let index = 0; nested < 12; index++) {
      const drawn = generate(
        { seed: 'nested', designs: ['mediated'], profiles: ['sapphire-rapids'] },
        index,
      );
      if (!drawn.nested) continue;
      nested += 1;
      expect(examiner.examine(drawn).violations, `nested/${index}`).toEqual([]);
    }
  });

  it('shrinks a case to what L1 needs for it', () => {
    const examiner = new Examiner();
    const seen: NestedCase[] = [];
    // What is wrong here is that L1 has a list.
    examiner.examine = (each) => {
      const wrong = each.nested?.lists?.some(({ address }) => address === 0xc2);
      if (wrong) seen.push(each.nested!);
      const { violations } = { violations: wrong ? [violation] : [] };
      return { trace: undefined as never, violations };
    };
    const violation = { ...checkNested(fuzzed, { ...right, end: 'shutdown' })[0]! };
    const lists: ListedMsr[] = [0xc1, 0xc2, 0xc3].map((address) => ({
      list: 'exit-store',
      address,
      value: '0x0',
    }));
    const nested: NestedCase = {
      ...OPEN,
      bitmap,
      lists,
      rdpmcExiting: true,
      globalCtrl: { entry: '0x1' },
    };
    const small = shrink(examiner, { ...violation, case: { ...fuzzed, nested } }).case;
    expect(small.nested).toEqual({ ...OPEN, lists: [lists[1]] });
  });
});

describe('last branch records that the host takes back', () => {
  const preempt = { do: 'host', action: 'preempt' } as const;
  const lbrs: Partial<FuzzCase> = {
    ...{ design: 'emulated', profile: 'ice-lake-server', exposure: 'all' },
    // Claimed, passed by the bitmap that the next entry of L2 has, given back at the end of the slice.
    steps: [rdmsr(0x680), { do: 'cpuid', leaf: 0 }, rdmsr(0x680), preempt, rdmsr(0x680)],
  };

  it('exit from the guest’s guest too, though its hypervisor has not entered it anew', () => {
    const { trace, violations } = new Examiner().examine({ ...CASE, ...lbrs });
    expect(violations).toEqual([]);
    expect([0, 2, 4].map((at) => trace.steps[at]!.path)).toEqual(['exit', 'direct', 'exit']);
  });

  it('are found to pass where the bitmap of the guest’s guest is left as it was', () => {
    const { violations } = new Examiner(({ guest: { vcpu } }) => {
      vcpu.nested!.msrBitmap.close = () => {};
    }).examine({ ...CASE, ...lbrs });
    expect(violations[0]).toMatchObject({ oracle: 'provenance', channel: 19, step: 3 });
    expect(violations[0]!.register).toBe('MSR_LBR_SELECT (0x1c8)');
  });
});

describe('a fault planted in nested virtualization', () => {
  const cpuid = { do: 'cpuid', leaf: 0 } as const;
  const vmcs02 = (chamber: Chamber, then: (vcpu: Chamber['guest']['vcpu']) => void) => {
    const { vcpu } = chamber.guest;
    const sync = vcpu.vpmu.sync.bind(vcpu.vpmu);
    vcpu.vpmu.sync = () => {
      sync();
      if (vcpu.nested?.guestMode) then(vcpu);
    };
  };
  const withoutControl =
    (word: 'primary' | 'exit' | 'entry', control: number) => (chamber: Chamber) => {
      const nested = chamber.guest.vcpu.nested!;
      const real = nested[word].bind(nested);
      nested[word] = (asked) => asked !== control && real(asked);
    };
  const RDPMC_EXITING = 1 << 11;
  const LOAD_GLOBAL_CTRL = 1 << 12;
  const counting: Partial<FuzzCase> = {
    registers: [
      [0x186, '0x4300c0'],
      [0x38f, '0x1'],
    ],
  };

  const PLANTED: readonly (readonly [
    what: string,
    oracle: string,
    Partial<FuzzCase>,
    Alteration,
  ])[] = [
    [
      'L1’s RDPMC exiting is forgotten',
      'nested',
      { nested: { ...OPEN, rdpmcExiting: true }, steps: [{ do: 'rdpmc', register: 0 }] },
      withoutControl('primary', RDPMC_EXITING),
    ],
    [
      'the host’s RDPMC exiting is not added',
      'policy',
      { steps: [{ do: 'rdpmc', register: 4 }] },
      (chamber) =>
        vmcs02(chamber, (vcpu) => {
          const controls = vcpu.read('PRIMARY_CONTROLS');
          vcpu.write('PRIMARY_CONTROLS', controls & ~BigInt(RDPMC_EXITING));
        }),
    ],
    [
      'L1’s MSR bitmap is not looked at',
      'nested',
      { nested: { ...OPEN, bitmap: { exits: 'all', except: [] } }, steps: [rdmsr(0x186)] },
      ({ guest: { vcpu } }) => {
        const { memory } = vcpu.nested!;
        const read = memory.read.bind(memory);
        memory.read = (address, size) => (address >> 12 === 0x117 ? 0n : read(address, size));
      },
    ],
    [
      'the MSR-store list of L1 goes to the processor',
      'provenance',
      {
        nested: { ...OPEN, lists: [{ list: 'exit-store', address: 0xc1, value: '0x0' }] },
        steps: [cpuid],
      },
      (chamber) =>
        vmcs02(chamber, (vcpu) => {
          const { ram } = chamber.guest;
          const address = ram.offset(0x11_6400) - chamber.machine.hardware.memory.offset(0);
          vcpu.write('VM_EXIT_MSR_STORE_ADDRESS', BigInt(address));
          vcpu.write('VM_EXIT_MSR_STORE_COUNT', 1n);
        }),
    ],
    [
      'the exit to L1 does not load its GLOBAL_CTRL',
      'bare-machine',
      { nested: { ...OPEN, globalCtrl: { exit: '0x2' } }, steps: [cpuid, rdmsr(0x38f)] },
      withoutControl('exit', LOAD_GLOBAL_CTRL),
    ],
    [
      'instructions of VMX that the hypervisor completes are not counted',
      'bare-machine',
      { ...counting, steps: [cpuid, rdmsr(0xc1)] },
      ({ guest: { vcpu } }) => {
        vcpu.countRetired = () => {};
      },
    ],
    [
      'an entry of the VM-entry list is loaded that the guest’s PMU does not have',
      'nested',
      {
        nested: { ...OPEN, lists: [{ list: 'entry-load', address: 0x391, value: '0x0' }] },
        steps: [rdmsr(0xc1)],
      },
      ({ guest: { vcpu } }) => {
        const wrmsr = vcpu.vpmu.wrmsr.bind(vcpu.vpmu);
        vcpu.vpmu.wrmsr = (address, value) => (address === 0x391 ? 'done' : wrmsr(address, value));
      },
    ],
  ];

  it.each(PLANTED)('is noticed: %s', (_what, oracle, fuzzed, alter) => {
    const { violations } = new Examiner(alter).examine({ ...CASE, ...fuzzed });
    expect(violations).toContainEqual(expect.objectContaining({ oracle, channel: 19 }));
  });
});
