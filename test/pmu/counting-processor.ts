import type { EngineFactory } from '../../src/cpu/engines/engine.ts';
import { STATE } from '../../src/cpu/state/layout.ts';
import { Hardware } from '../../src/machine/hardware.ts';
import type { Processor } from '../../src/machine/processor.ts';
import type { Profile } from '../../src/machine/profiles.ts';
import { longModeEntry } from '../cpu/entry-state.ts';

const PAGE_TABLES = 0x1000;
export const CODE = 0x1_0000;
export const DATA = 0x8_0000;
const STACK = 0x7_0000;

/** Bytes out of a listing: hex in any spacing, `;` starts a comment. */
export const bytes = (listing: string): number[] =>
  listing
    .replace(/;.*$/gm, '')
    .split(/\s+/)
    .filter((byte) => byte !== '')
    .map((byte) => Number.parseInt(byte, 16));

/** A whole processor in 64-bit mode, whose PMU a test programs from outside before it runs a few bytes of code. */
export class CountingProcessor {
  readonly hardware: Hardware;
  readonly processor: Processor;

  constructor(profile: Profile, engine: EngineFactory) {
    this.hardware = new Hardware({
      profile,
      memorySize: 32 << 20,
      engine,
      io: { read: () => 0xff, write: () => undefined },
      seed: 'counted',
    });
    this.processor = this.hardware.current;
    const { memory } = this.hardware;
    memory.write(PAGE_TABLES, 8, BigInt(PAGE_TABLES + 0x1000) | 7n);
    memory.write(PAGE_TABLES + 0x1000, 8, BigInt(PAGE_TABLES + 0x2000) | 7n);
    for (let i = 0; i < 16; i++) {
      memory.write(PAGE_TABLES + 0x2000 + 8 * i, 8, BigInt(i << 21) | 0x87n);
    }
    this.restart();
  }

  /** Back to the first instruction, with a PMU that counts nothing; memory stays. */
  restart(): this {
    const { state, pmu } = this.processor;
    longModeEntry(state, { cr3: BigInt(PAGE_TABLES), rip: BigInt(CODE), rsp: BigInt(STACK) });
    state.gpr.fill(0n);
    state.gpr[4] = BigInt(STACK);
    state.gpr[6] = BigInt(DATA);
    state.gpr[7] = BigInt(DATA + 0x1000);
    state.set32(STATE.ACTIVITY, 0);
    pmu.reset('power-up');
    return this;
  }

  load(code: readonly number[], at = CODE): this {
    this.hardware.memory.load(at, Uint8Array.from(code));
    return this;
  }

  write(address: number, value: bigint): this {
    const outcome = this.processor.wrmsr(address, value);
    if (outcome !== 'done') throw new Error(`WRMSR ${address.toString(16)}: ${outcome}`);
    return this;
  }

  read(address: number): bigint {
    const value = this.processor.rdmsr(address);
    if (typeof value !== 'bigint') throw new Error(`RDMSR ${address.toString(16)}: ${value}`);
    return value;
  }

  /** Counts these encodings on the general counters, at every privilege level, from here on. */
  count(...encodings: readonly number[]): this {
    encodings.forEach((encoding, i) => {
      this.write(0x186 + i, 0x43_0000n | BigInt(encoding));
    });
    return this;
  }

  counts(howMany: number): number[] {
    return Array.from({ length: howMany }, (_, i) => Number(this.read(0xc1 + i)));
  }

  /** Runs until the CPU halts for good. */
  runToHalt(maxTicks = 10_000_000): this {
    const stop = this.processor.cpu.run(maxTicks);
    if (stop.reason !== 'halted') {
      const rip = this.processor.state.get(STATE.RIP).toString(16);
      throw new Error(
        `stopped at ${rip}: ${JSON.stringify(stop, (_, v) => (typeof v === 'bigint' ? `${v}` : v))}`,
      );
    }
    return this;
  }
}
