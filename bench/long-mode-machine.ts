import { readFileSync } from 'node:fs';
import { Cpu } from '../src/cpu/cpu.ts';
import type { EngineFactory } from '../src/cpu/engines/engine.ts';
import type { CpuPorts } from '../src/cpu/ports.ts';
import { coreFeatures, SAPPHIRE_RAPIDS } from '../src/cpu/profiles.ts';
import { INTERPRETER } from '../src/cpu/state/layout.ts';
import { State } from '../src/cpu/state/state.ts';
import { attachSystemMsrs } from '../src/cpu/system/system-msrs.ts';
import { PhysicalMemory } from '../src/memory/physical-memory.ts';
import { MsrBus } from '../src/msr/bus.ts';
import { longModeEntry } from '../test/cpu/entry-state.ts';

const MIB = 1 << 20;
const CODE = 0x200000;
/** Where the call of the guest stands. */
const CALLER = 0x1ff000;
const STACK = 0x1f0000n;
const PML4 = 0x1000;
const PDPT = 0x2000;
const DIRECTORY = 0x3000;
const GUESTS = new URL('guests/', import.meta.url);

/** A processor without devices, in 64-bit mode at CPL 0: 64 MiB of RAM mapped one to one by 2-MiB pages. */
export class LongModeMachine {
  readonly memory = new PhysicalMemory({ ramSize: 64 * MIB, reserved: INTERPRETER.SIZE });
  readonly state = new State(this.memory.linear, 0);
  readonly cpu: Cpu;

  constructor(engine: EngineFactory) {
    const msr = new MsrBus();
    const ports: CpuPorts = {
      memory: this.memory,
      msr,
      io: { read: () => 0xffff_ffff, write: () => {} },
      interrupts: {
        pendingVector: () => undefined,
        acknowledge: () => 0,
        endOfInterrupt: () => undefined,
        nmiPending: () => false,
        takeNmi: () => {},
        pendingSignal: () => undefined,
        dismissInit: () => {},
        takeSignal: () => {},
        taskPriority: () => 0,
        setTaskPriority: () => {},
        bootstrap: () => true,
        enabled: () => true,
      },
      time: {
        horizon: () => Number.POSITIVE_INFINITY,
        boundary: () => {},
        modeChanging: () => {},
        modeChanged: () => {},
      },
      rdpmc: () => '#GP',
      cpuid: () => ({ eax: 0, ebx: 0, ecx: 0, edx: 0 }),
      random: () => 4n,
    };
    this.cpu = new Cpu({
      state: this.state,
      ports,
      features: coreFeatures(SAPPHIRE_RAPIDS),
      engine,
    });
    attachSystemMsrs(msr, this.cpu.core);
    this.memory.write(PML4, 8, BigInt(PDPT | 3));
    this.memory.write(PDPT, 8, BigInt(DIRECTORY | 3));
    for (let i = 0; i < 32; i++) {
      this.memory.write(DIRECTORY + 8 * i, 8, BigInt((i * 2 * MIB) | 0x83));
    }
  }

  /** Loads a guest and points RIP at a call of it, which is followed by HLT. */
  load(name: string): void {
    this.cpu.reset();
    this.memory.load(CODE, readFileSync(new URL(`${name}.bin`, GUESTS)));
    const call = Uint8Array.of(0xe8, 0, 0, 0, 0, 0xf4);
    new DataView(call.buffer).setInt32(1, CODE - CALLER - 5, true);
    this.memory.load(CALLER, call);
    longModeEntry(this.state, { cr3: BigInt(PML4), rip: BigInt(CALLER), rsp: STACK });
  }

  /** Runs the guest to its end; instructions retired. @throws Error if anything but HLT ended it */
  run(): number {
    const stop = this.cpu.run(Number.MAX_SAFE_INTEGER);
    if (stop.reason !== 'halted') throw new Error(`the guest stopped: ${JSON.stringify(stop)}`);
    return Number(this.state.total('instructions'));
  }
}
