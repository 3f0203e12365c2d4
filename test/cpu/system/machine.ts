import { Cpu } from '../../../src/cpu/cpu.ts';
import type { EngineFactory } from '../../../src/cpu/engines/engine.ts';
import { Oracle } from '../../../src/cpu/engines/oracle/oracle.ts';
import type { CpuPorts, VmxPort } from '../../../src/cpu/ports.ts';
import { coreFeatures, SAPPHIRE_RAPIDS } from '../../../src/cpu/profiles.ts';
import { STATE } from '../../../src/cpu/state/layout.ts';
import { State } from '../../../src/cpu/state/state.ts';
import type { StopReason } from '../../../src/cpu/stop-reason.ts';
import { attachSystemMsrs } from '../../../src/cpu/system/system-msrs.ts';
import { PhysicalMemory } from '../../../src/memory/physical-memory.ts';
import { MsrBus } from '../../../src/msr/bus.ts';
import { longModeEntry, protectedModeEntry } from '../entry-state.ts';

/** Where the test machine keeps its things. */
// biome-ignore format: a table
export const AT = {
  PML4: 0x1000, PDPT: 0x2000, PD: 0x3000, GDT: 0x4000, IDT: 0x5000, TSS: 0x6000, PT: 0x7000, PML5: 0x8000, LDT: 0x9000,
  CODE: 0x1_0000, HANDLER: 0x1_8000, USER: 0x2_0000, DATA: 0x4_0000, STACK: 0x8_0000, STACK0: 0x9_0000, IST1: 0xa_0000,
  USER_STACK: 0xb_0000,
} as const;

/** Selectors of the test machine's GDT. */
// biome-ignore format: a table
export const SELECTOR = {
  CODE64: 0x08, DATA: 0x10, CODE32: 0x18, USER_CODE32: 0x23, USER_DATA: 0x2b, USER_CODE64: 0x33, TSS: 0x38, CODE16: 0x48, DATA16: 0x50, LDT: 0x58,
  FREE: 0x68,
} as const;

const DESCRIPTORS: readonly (readonly [number, bigint])[] = [
  [0x08, 0x00af_9b00_0000_ffffn],
  [0x10, 0x00cf_9300_0000_ffffn],
  [0x18, 0x00cf_9b00_0000_ffffn],
  [0x20, 0x00cf_fb00_0000_ffffn],
  [0x28, 0x00cf_f300_0000_ffffn],
  [0x30, 0x00af_fb00_0000_ffffn],
  [0x38, 0x0000_8900_6000_0067n], // TSS at 6000H, available; upper half at 40H
  [0x48, 0x0000_9b00_0000_ffffn],
  [0x50, 0x0000_9300_0000_ffffn],
  [0x58, 0x0000_8200_9000_00ffn], // LDT at 9000H; upper half at 60H
];

/** Bytes out of a listing: hex in any spacing, `;` starts a comment. */
export const code = (listing: string): Uint8Array =>
  Uint8Array.from(
    listing
      .replace(/;.*$/gm, '')
      .replace(/\s+/g, '')
      .match(/../g)
      ?.map((byte) => Number.parseInt(byte, 16)) ?? [],
  );

/** One CPU with 2 MiB of RAM, tables as `AT` and `SELECTOR` have them, and ports that a test can push and look at. */
export class TestMachine {
  /** The engine of machines that are not told otherwise, and the bytes in front of RAM it wants. */
  static engine: { make: EngineFactory; reserved: number } = {
    make: (core) => new Oracle(core),
    reserved: 0x2_0000,
  };

  readonly memory: PhysicalMemory;
  readonly msr = new MsrBus();
  readonly cpu: Cpu;
  readonly state: State;
  /** What the guest wrote to ports, in order. */
  readonly written: { port: number; size: number; value: number }[] = [];
  /** What ports read as; all ones otherwise. */
  readonly ports = new Map<number, number>();
  readonly modes: string[] = [];
  /** Vectors whose handlers were entered, by delivery or by a far transfer to their first instruction. */
  readonly delivered: number[] = [];
  vectors: number[] = [];
  inService: number[] = [];
  nmi = false;
  signal: 'INIT' | { sipi: number } | undefined;
  tpr = 0;
  horizon: () => number = () => Infinity;
  boundary: () => void = () => undefined;

  constructor({
    vmx,
    features = {},
    engine = TestMachine.engine.make,
    reserved = TestMachine.engine.reserved,
  }: {
    vmx?: VmxPort;
    features?: Partial<ReturnType<typeof coreFeatures>>;
    engine?: EngineFactory;
    /** Bytes in front of RAM, for the state block and what the engine keeps behind it. */
    reserved?: number;
  } = {}) {
    this.memory = new PhysicalMemory({ ramSize: 0x20_0000, reserved });
    this.state = new State(this.memory.linear, 0);
    const ports: CpuPorts = {
      memory: this.memory,
      msr: this.msr,
      io: {
        read: (port) => this.ports.get(port) ?? 0xffff_ffff,
        write: (port, size, value) => {
          this.written.push({ port, size, value });
        },
      },
      interrupts: {
        pendingVector: () => this.vectors[0],
        endOfInterrupt: () => undefined,
        acknowledge: () => {
          const vector = this.vectors.shift() ?? 0;
          this.inService.push(vector);
          return vector;
        },
        nmiPending: () => this.nmi,
        takeNmi: () => {
          this.nmi = false;
        },
        pendingSignal: () => this.signal,
        dismissInit: () => undefined,
        takeSignal: () => {
          this.signal = undefined;
        },
        taskPriority: () => this.tpr,
        setTaskPriority: (priority) => {
          this.tpr = priority;
        },
        bootstrap: () => true,
        enabled: () => true,
      },
      time: {
        horizon: () => this.horizon(),
        boundary: () => this.boundary(),
        modeChanging: () => undefined,
        modeChanged: ({ cpl, halted }) => {
          this.modes.push(halted ? 'halted' : `cpl ${cpl}`);
        },
      },
      rdpmc: (ecx) => (ecx < 4 ? BigInt(ecx) + 0x5_0000_0000n : '#GP'),
      cpuid: () => ({ eax: 1, ebx: 2, ecx: 3, edx: 4 }),
      random: () => 0x0123_4567_89ab_cdefn,
      branched: (_from, to) => {
        const at = Number(to) - AT.HANDLER;
        if (at >= 0 && at < 0x1000 && at % 16 === 0) this.delivered.push(at / 16);
      },
      ...(vmx && { vmx }),
    };
    this.cpu = new Cpu({
      state: this.state,
      ports,
      features: { ...coreFeatures(SAPPHIRE_RAPIDS), ...features },
      engine,
    });
    attachSystemMsrs(this.msr, this.cpu.core);
    for (const [at, descriptor] of DESCRIPTORS) this.memory.write(AT.GDT + at, 8, descriptor);
    this.state.set(STATE.GDTR_BASE, BigInt(AT.GDT));
    this.state.set32(STATE.GDTR_LIMIT, 0xff);
    this.state.set(STATE.IDTR_BASE, BigInt(AT.IDT));
    this.state.set32(STATE.IDTR_LIMIT, 0xfff);
  }

  /** 64-bit mode at CPL 0, identity-mapped by a page table of 4-KiB user pages. */
  long(): this {
    this.memory.write(AT.PML4, 8, BigInt(AT.PDPT | 7));
    this.memory.write(AT.PDPT, 8, BigInt(AT.PD | 7));
    this.memory.write(AT.PD, 8, BigInt(AT.PT | 7));
    for (let i = 0; i < 512; i++) this.memory.write(AT.PT + i * 8, 8, BigInt((i << 12) | 7));
    longModeEntry(this.state, {
      cr3: BigInt(AT.PML4),
      rip: BigInt(AT.CODE),
      rsp: BigInt(AT.STACK),
    });
    this.state.setSegment('CS', { ...this.state.segment('CS'), selector: SELECTOR.CODE64 });
    for (const name of ['SS', 'DS', 'ES'] as const) {
      this.state.setSegment(name, { ...this.state.segment(name), selector: SELECTOR.DATA });
    }
    this.state.setSegment('TR', {
      selector: SELECTOR.TSS,
      base: BigInt(AT.TSS),
      limit: 0x67,
      rights: 0x8b,
    });
    this.state.gpr[2] = 0n;
    this.memory.write(AT.TSS + 0x66, 2, 0x68n);
    this.memory.write(AT.TSS + 4, 8, BigInt(AT.STACK0));
    this.memory.write(AT.TSS + 0x24, 8, BigInt(AT.IST1));
    return this;
  }

  /** 32-bit protected mode at CPL 0, no paging. */
  protected32(): this {
    protectedModeEntry(this.state, { rip: BigInt(AT.CODE), rsp: BigInt(AT.STACK) });
    this.state.setSegment('CS', { ...this.state.segment('CS'), selector: SELECTOR.CODE32 });
    for (const name of ['SS', 'DS', 'ES', 'FS', 'GS'] as const) {
      this.state.setSegment(name, { ...this.state.segment(name), selector: SELECTOR.DATA });
    }
    this.state.setSegment('TR', {
      selector: SELECTOR.TSS,
      base: BigInt(AT.TSS),
      limit: 0x67,
      rights: 0x8b,
    });
    this.memory.write(AT.GDT + SELECTOR.TSS, 8, 0x0000_8b00_6000_0067n);
    this.memory.write(AT.TSS + 4, 4, BigInt(AT.STACK0));
    this.memory.write(AT.TSS + 8, 2, BigInt(SELECTOR.DATA));
    return this;
  }

  /** On to CPL 3, in code of that size; RIP and stack stay where they are. */
  user(size: 32 | 64 = 64): this {
    const { state } = this;
    const flat = { base: 0n, limit: 0xffff_ffff };
    const code =
      size === 64
        ? { selector: SELECTOR.USER_CODE64, rights: 0xa0fb }
        : { selector: SELECTOR.USER_CODE32, rights: 0xc0fb };
    state.setSegment('CS', { ...flat, ...code });
    const data = size === 64 ? (['SS'] as const) : (['SS', 'DS', 'ES', 'FS', 'GS'] as const);
    for (const name of data) {
      state.setSegment(name, { ...flat, selector: SELECTOR.USER_DATA, rights: 0xc0f3 });
    }
    state.set32(STATE.CPL, 3);
    return this;
  }

  /** Goes on at `AT.USER`, with the stack for it. */
  atUser(): this {
    this.state.rip = BigInt(AT.USER);
    this.state.gpr[4] = BigInt(AT.USER_STACK);
    return this;
  }

  /** Descriptors from `SELECTOR.FREE` on. */
  descriptors(...descriptors: readonly bigint[]): this {
    for (const [i, descriptor] of descriptors.entries())
      this.memory.write(AT.GDT + SELECTOR.FREE + i * 8, 8, descriptor);
    return this;
  }

  load(at: number, listing: string): this {
    this.memory.load(at, code(listing));
    return this;
  }

  /** A 64-bit gate; type 14 interrupt, 15 trap. */
  gate(
    vector: number,
    target: number,
    { type = 14, dpl = 0, ist = 0, selector = SELECTOR.CODE64 as number, present = true } = {},
  ): this {
    const offset = BigInt(target);
    const rights = BigInt((present ? 0x80 : 0) | (dpl << 5) | type);
    const low =
      (offset & 0xffffn) |
      (BigInt(selector) << 16n) |
      (BigInt(ist) << 32n) |
      (rights << 40n) |
      ((offset & 0xffff_0000n) << 32n);
    this.memory.write(AT.IDT + vector * 16, 8, low);
    this.memory.write(AT.IDT + vector * 16 + 8, 8, offset >> 32n);
    return this;
  }

  /** A gate outside IA-32e mode. */
  gate32(
    vector: number,
    target: number,
    { type = 14, dpl = 0, selector = SELECTOR.CODE32 as number, present = true } = {},
  ): this {
    const rights = BigInt((present ? 0x80 : 0) | (dpl << 5) | type);
    const low =
      BigInt(target & 0xffff) |
      (BigInt(selector) << 16n) |
      (rights << 40n) |
      (BigInt(target >>> 16) << 48n);
    this.memory.write(AT.IDT + vector * 8, 8, low);
    return this;
  }

  /** A handler at its own place for each vector that halts; reading RIP tells which ran. */
  haltingHandlers(...vectors: number[]): this {
    for (const vector of vectors) {
      const at = AT.HANDLER + vector * 16;
      this.load(at, 'f4');
      this.gate(vector, at);
    }
    return this;
  }

  run(maxTicks = 1000): StopReason {
    return this.cpu.run(maxTicks);
  }

  /** Quadwords from the stack pointer up. */
  stack(count: number, size: 4 | 8 = 8): bigint[] {
    const at = Number(this.state.gpr[4]);
    return Array.from({ length: count }, (_, i) => this.memory.read(at + i * size, size));
  }

  /** The vector whose halting handler the CPU stopped in, if any. */
  get handled(): number | undefined {
    const at = Number(this.state.rip) - 1 - AT.HANDLER;
    return at >= 0 && at < 256 * 16 && at % 16 === 0 ? at / 16 : undefined;
  }
}
