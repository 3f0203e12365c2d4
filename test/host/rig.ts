import { HostCpu } from '../../src/host/cpu.ts';
import type { CpuPorts } from '../../src/host/ports.ts';
import { MsrBus } from '../../src/msr/bus.ts';
import { defineMsrs } from '../../src/msr/definition.ts';
import { perfmonLeaf } from '../../src/msr/pmu-leaves.ts';
import { Pmu } from '../../src/pmu/pmu.ts';
import { type PmuProfile, SAPPHIRE_RAPIDS } from '../../src/pmu/profiles.ts';

const LVT_MASKED = 0x1_0000n;

/** A physical CPU without a core: totals that only root-mode work moves, a real PMU, an LVTPC and a deadline timer. */
export function physicalCpu({
  profile = SAPPHIRE_RAPIDS,
  id = 0,
}: {
  profile?: PmuProfile;
  id?: number;
} = {}) {
  const totals = new Map<string, bigint>();
  const add = (name: string, count: number) =>
    totals.set(name, (totals.get(name) ?? 0n) + BigInt(count));
  const bus = new MsrBus();
  let nmi = false;
  let lvtpc = LVT_MASKED;
  let deadline = 0n;
  const vectors: number[] = [];
  const now = () => totals.get('ticks') ?? 0n;
  const pmu = new Pmu({
    profile,
    totals: { read: (name) => totals.get(name) ?? 0n },
    core: { changed: () => {}, arm: () => {} } as never,
    raisePmi: () => {
      if ((lvtpc & LVT_MASKED) !== 0n) return;
      if ((lvtpc & 0x700n) === 0x400n) nmi = true;
      else vectors.push(Number(lvtpc & 0xffn));
      lvtpc |= LVT_MASKED;
    },
  });
  pmu.attach(bus);
  const row = (address: number) => ({ address, writable: (1n << 64n) - 1n, sdm: 'Local APIC' });
  bus.attach(
    defineMsrs({ LVTPC: row(0x834), EOI: row(0x80b), LVT_TIMER: row(0x832), DEADLINE: row(0x6e0) }),
    {
      LVTPC: {
        read: () => lvtpc,
        write: (value) => {
          lvtpc = value;
        },
      },
      DEADLINE: {
        read: () => deadline,
        write: (value) => {
          deadline = value;
        },
      },
    },
  );
  const unsupported = () => {
    throw new Error('this CPU has no core');
  };
  /** Retires work at a privilege level, as a task or the kernel would. */
  const retire = (ticks: number, instructions: number, branches: number, halted = false) => {
    add('ticks', ticks);
    if (!halted) {
      add('unhaltedTicks', ticks);
      add('cycles', ticks);
    }
    add('instructions', instructions);
    add('branches', branches);
  };
  const ports: CpuPorts = {
    id,
    rdmsr: (address) => bus.rdmsr(address),
    wrmsr: (address, value) => bus.wrmsr(address, value),
    rdpmc: (ecx) => pmu.rdpmc(ecx),
    cpuid: (leaf) =>
      leaf === 0x0a
        ? perfmonLeaf(profile.shape)
        : { eax: 0, ebx: 0, ecx: leaf === 1 ? 1 << 15 : 0, edx: 0 },
    now,
    horizon: () =>
      Math.min(
        pmu.horizon(),
        deadline === 0n ? Number.POSITIVE_INFINITY : Math.max(0, Number(deadline - now())),
      ),
    quiet: () => false,
    retire: (work, halted) => retire(work.ticks, work.instructions, work.branches, halted),
    boundary: () => {
      pmu.settle();
      if (deadline === 0n || now() < deadline) return;
      deadline = 0n;
      vectors.push(0xec);
    },
    takeNmi: () => {
      const taken = nmi;
      nmi = false;
      return taken;
    },
    takeInterrupt: () => vectors.shift(),
    interruptPending: () => nmi || vectors.length > 0,
    run: unsupported,
    vmx: {} as CpuPorts['vmx'],
    registers: {} as CpuPorts['registers'],
    memory: {} as CpuPorts['memory'],
  };
  const host = new HostCpu(ports);
  return { host, pmu, bus, totals, ports, lvtpc: () => lvtpc };
}
