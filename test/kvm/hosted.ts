import { readFileSync } from 'node:fs';
import { Interpreter } from '../../src/cpu/engines/wasm/interpreter.ts';
import { STATE } from '../../src/cpu/state/layout.ts';
import { HostCpu } from '../../src/host/cpu.ts';
import { PageAllocator } from '../../src/host/pages.ts';
import { Kvm } from '../../src/kvm/kvm.ts';
import type { KvmObserver } from '../../src/kvm/observer.ts';
import { Vm } from '../../src/kvm/vm.ts';
import { DESIGNS, perfOptionsOf, type VpmuDesign } from '../../src/kvm/vpmu/designs.ts';
import type { PmuExposure } from '../../src/kvm/vpmu/exposure.ts';
import { Board } from '../../src/machine/board.ts';
import { guestEmulator } from '../../src/machine/emulator.ts';
import { readGuestImage } from '../../src/machine/guest-image.ts';
import { guestState } from '../../src/machine/guest-state.ts';
import { Hardware } from '../../src/machine/hardware.ts';
import { PROFILES } from '../../src/machine/profiles.ts';
import { enterRootMode, rootCpu } from '../../src/machine/root-cpu.ts';
import { Perf } from '../../src/perf/perf.ts';

const MEGABYTE = 0x10_0000;
const GUEST_RAM = 32 * MEGABYTE;

/** One guest image in a VM of the given design on one physical CPU. */
export function hosted({
  guest,
  design = DESIGNS.emulated,
  profile = 'sapphire-rapids',
  exposure = {},
  observer,
  minimumPeriod,
}: {
  guest: string;
  design?: VpmuDesign;
  profile?: 'sapphire-rapids' | 'skylake-server';
  exposure?: PmuExposure;
  observer?: KvmObserver;
  minimumPeriod?: bigint;
}) {
  const board = new Board({
    onExit: () => vm.stop(),
  });
  const hardware = new Hardware({
    profile: PROFILES[profile]!,
    memorySize: GUEST_RAM + 8 * MEGABYTE,
    engine: (core) => new Interpreter(core),
    io: board.ports,
    seed: 'test',
  });
  const processor = hardware.current;
  enterRootMode(processor);
  const host = new HostCpu(rootCpu(processor, hardware));
  const pages = new PageAllocator(host.memory, { base: GUEST_RAM, size: 8 * MEGABYTE });
  const perf = new Perf([host], {
    ...(minimumPeriod !== undefined && { minimumPeriod }),
    ...perfOptionsOf(design),
  });
  const kvm = new Kvm([host], { perf, pages });
  const vm = new Vm(kvm, host, {
    ram: { base: 0, size: GUEST_RAM },
    ports: {
      io: board.ports,
      mmio: { read: (_, size) => (1n << BigInt(size * 8)) - 1n, write: () => {} },
      emulator: (_cpu, memory) => guestEmulator(processor, hardware, memory, board.ports),
    },
    design,
    exposure,
    ...(observer && { observer }),
  });
  const image = readGuestImage(readFileSync(`firmware/${guest}.elf`));
  const entry = image.load(hardware.memory);
  const vcpu = vm.createVcpu(host);
  vcpu.setState(guestState(entry));
  vcpu.schedIn(host);
  /** Runs until the guest ends or `ticks` have passed. */
  const run = (ticks = 1_000_000_000): string => {
    const end = host.now() + BigInt(ticks);
    for (;;) {
      const stop = vcpu.step(end);
      if (stop === 'halted') {
        const deadline = vcpu.nextDeadline();
        if (!Number.isFinite(deadline)) return 'halted';
        host.halt(Math.max(1, deadline - Number(host.now())));
      } else if (stop !== 'preempted') return stop;
      if (host.now() >= end) return 'budget';
    }
  };
  return {
    board,
    hardware,
    processor,
    host,
    perf,
    kvm,
    vm,
    vcpu,
    run,
    state: processor.state,
    STATE,
  };
}
