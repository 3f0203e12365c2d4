import type { Engine } from '../../src/cpu/engines/engine.ts';
import { Oracle } from '../../src/cpu/engines/oracle/oracle.ts';
import type { CpuPorts } from '../../src/cpu/ports.ts';
import { STATE } from '../../src/cpu/state/layout.ts';
import { State } from '../../src/cpu/state/state.ts';
import { Core, type EngineReach } from '../../src/cpu/system/core.ts';
import { PhysicalMemory } from '../../src/memory/physical-memory.ts';

const LONG_MODE = 0x500n; // EFER.LME | LMA
const RIGHTS = { 2: 0x009b, 4: 0xc09b, 8: 0xa09b };
const DATA_RIGHTS = { 2: 0x0093, 4: 0xc093, 8: 0xc093 };

/** A core with RAM at linear address 0, no paging and flat segments, in code of `codeSize` bytes at CPL 0. */
export class FlatMachine {
  readonly memory: PhysicalMemory;
  readonly state: State;
  readonly core: Core;
  readonly oracle: Oracle;

  constructor(codeSize: 2 | 4 | 8 = 8, ramSize = 1 << 20) {
    this.memory = new PhysicalMemory({ ramSize, reserved: 65536 });
    this.state = new State(this.memory.linear, 0);
    let engine: Engine | undefined;
    const reach: EngineReach = {
      flush: (stale) => engine?.flush(stale),
      retagged: () => engine?.retagged(),
      debugChanged: () => engine?.debugChanged(),
      endSlice: () => engine?.endSlice(),
    };
    const ports = { memory: this.memory } as unknown as CpuPorts;
    const features = { physicalWidth: 46, cr4: 0n, xcr0: 7n, xss: 0n };
    this.core = new Core(this.state, ports, features, reach);
    this.oracle = engine = new Oracle(this.core);
    this.state.set(STATE.CR0, 0x11n);
    this.state.set(STATE.EFER, codeSize === 8 ? LONG_MODE : 0n);
    this.state.set(STATE.RFLAGS_SYSTEM, 2n);
    const limit = codeSize === 2 ? 0xffff : 0xffff_ffff;
    for (const name of ['ES', 'CS', 'SS', 'DS', 'FS', 'GS'] as const) {
      const rights = (name === 'CS' ? RIGHTS : DATA_RIGHTS)[codeSize];
      this.state.setSegment(name, { selector: name === 'CS' ? 8 : 16, base: 0n, limit, rights });
    }
    this.state.gpr[4] = 0x8000n;
    this.state.rip = 0x1000n;
  }

  /** Puts code, written in hexadecimal, at RIP. */
  code(hex: string): this {
    const bytes = hex.split(/\s+/).filter((byte) => byte !== '');
    this.memory.load(
      Number(this.state.rip),
      Uint8Array.from(bytes, (byte) => Number.parseInt(byte, 16)),
    );
    return this;
  }
}
