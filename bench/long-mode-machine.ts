import { readFileSync } from 'node:fs';
import type { Engine } from '../src/cpu/engines/engine.ts';
import type { CpuPorts } from '../src/cpu/ports.ts';
import { INTERPRETER, STATE } from '../src/cpu/state/layout.ts';
import { State } from '../src/cpu/state/state.ts';
import { Core, type EngineReach } from '../src/cpu/system/core.ts';
import { PhysicalMemory } from '../src/memory/physical-memory.ts';

const MIB = 1 << 20;
const CODE = 0x200000;
const STUB = 0x1ff000n;
const STACK = 0x1f0000n;
const PML4 = 0x1000;
const PDPT = 0x2000;
const DIRECTORY = 0x3000;

/** A core in 64-bit mode at CPL 0, 64 MiB of RAM mapped one to one by 2-MiB pages, about to call a guest. */
export class LongModeMachine {
  readonly memory = new PhysicalMemory({ ramSize: 64 * MIB, reserved: INTERPRETER.SIZE });
  readonly state = new State(this.memory.linear, 0);
  readonly core: Core;
  readonly engine: Engine;

  constructor(makeEngine: (core: Core) => Engine) {
    let engine: Engine | undefined;
    const reach: EngineReach = {
      flush: (stale) => engine?.flush(stale),
      debugChanged: () => engine?.debugChanged(),
      endSlice: () => engine?.endSlice(),
    };
    const ports = { memory: this.memory } as unknown as CpuPorts;
    this.core = new Core(
      this.state,
      ports,
      { physicalWidth: 46, cr4: 0n, xcr0: 7n, xss: 0n },
      reach,
    );
    this.engine = engine = makeEngine(this.core);

    this.memory.write(PML4, 8, BigInt(PDPT | 3));
    this.memory.write(PDPT, 8, BigInt(DIRECTORY | 3));
    for (let i = 0; i < 32; i++) {
      this.memory.write(DIRECTORY + 8 * i, 8, BigInt((i * 2 * MIB) | 0x83));
    }
    const { state } = this;
    state.set(STATE.CR0, 0x8000_0011n);
    state.set(STATE.CR3, BigInt(PML4));
    state.set(STATE.CR4, 0x20n);
    state.set(STATE.EFER, 0x500n);
    state.set(STATE.RFLAGS_SYSTEM, 2n);
    for (const name of ['ES', 'CS', 'SS', 'DS', 'FS', 'GS'] as const) {
      const rights = name === 'CS' ? 0xa09b : 0xc093;
      state.setSegment(name, { selector: 8, base: 0n, limit: 0xffff_ffff, rights });
    }
  }

  /** Loads a guest and points RIP at a call of it, which is followed by HLT. */
  load(name: string): void {
    this.memory.load(CODE, readFileSync(new URL(`guests/${name}.bin`, import.meta.url)));
    const call = Uint8Array.of(0xe8, 0, 0, 0, 0, 0xf4);
    new DataView(call.buffer).setInt32(1, CODE - Number(STUB) - 5, true);
    this.memory.load(Number(STUB), call);
    this.state.rip = STUB;
    this.state.gpr[4] = STACK;
  }
}
