import { PROGRAM_BASE, REPORT_PORT } from '../../machine/host-machine.ts';

const DEBUG_EXIT = 0xf4;

const le = (value: number, bytes: number): number[] =>
  Array.from({ length: bytes }, (_, at) => (value >>> (8 * at)) & 0xff);

/**
 * A guest program of a few instructions, put together by its calls: 64-bit code without a stack or an IDT.
 * Each call's comment says what it retires.
 */
export class GuestCode {
  readonly #bytes: number[] = [];

  get bytes(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }

  /** MOV ECX, MOV EAX, MOV EDX, WRMSR: four instructions. */
  wrmsr(address: number, value: bigint): this {
    const low = Number(value & 0xffff_ffffn);
    const high = Number((value >> 32n) & 0xffff_ffffn);
    return this.#emit(
      0xb9,
      ...le(address, 4),
      0xb8,
      ...le(low, 4),
      0xba,
      ...le(high, 4),
      0x0f,
      0x30,
    );
  }

  /** MOV ECX, RDMSR, and five to report: seven instructions, two of which leave the guest for the port. */
  reportMsr(address: number): this {
    this.#emit(0xb9, ...le(address, 4), 0x0f, 0x32);
    return this.#report();
  }

  /** The same with RDPMC. */
  reportPmc(ecx: number): this {
    this.#emit(0xb9, ...le(ecx, 4), 0x0f, 0x33);
    return this.#report();
  }

  /** MOV ECX, RDPMC: two instructions. */
  rdpmc(ecx: number): this {
    return this.#emit(0xb9, ...le(ecx, 4), 0x0f, 0x33);
  }

  /** XOR EAX, EAX and CPUID: two instructions. */
  cpuid(): this {
    return this.#emit(0x31, 0xc0, 0x0f, 0xa2);
  }

  nop(count = 1): this {
    return this.#emit(...Array<number>(count).fill(0x90));
  }

  /** MOV ESI, then `turns` times DEC and JNZ: 1 + 2 · turns instructions, `turns` branches. */
  loop(turns: number): this {
    return this.#emit(0xbe, ...le(turns, 4), 0xff, 0xce, 0x75, 0xfc);
  }

  /** MOV EBP, then `turns` times the body, DEC EBP and JNZ: 1 + turns · (body + 2) instructions. */
  repeat(turns: number, body: (code: GuestCode) => void): this {
    const inner = new GuestCode();
    body(inner);
    const back = -(inner.#bytes.length + 2 + 6);
    this.#emit(0xbd, ...le(turns, 4), ...inner.#bytes);
    return this.#emit(0xff, 0xcd, 0x0f, 0x85, ...le(back, 4));
  }

  /** JMP to itself, for ever. */
  forever(): this {
    return this.#emit(0xeb, 0xfe);
  }

  /** HLT with interrupts off: sleeps until somebody ends it. */
  halt(): this {
    return this.#emit(0xf4);
  }

  /** The local APIC in x2APIC mode, software-enabled, LVTPC as told. */
  lvtpc(value: bigint): this {
    return this.wrmsr(0x1b, 0xfee0_0d00n).wrmsr(0x80f, 0x1ffn).wrmsr(0x834, value);
  }

  /** `onInterrupts` with an NMI handler alone. */
  onNmi(body: (code: GuestCode) => void): this {
    return this.onInterrupts([[2, body]]);
  }

  /**
   * First of all: LIDT and a JMP over handlers by vector, each of which saves RAX, RBX, RCX and RDX around its
   * body: two instructions; a handler's own are four pushes, the body, four pops and IRETQ.
   */
  onInterrupts(
    handlers: readonly (readonly [vector: number, body: (code: GuestCode) => void])[],
  ): this {
    const [push, pop] = [
      [0x50, 0x53, 0x51, 0x52],
      [0x5a, 0x59, 0x5b, 0x58],
    ];
    return this.#handlers(
      handlers.map(([vector, body]) => {
        const inner = new GuestCode();
        body(inner);
        return [vector, [...push, ...inner.#bytes, ...pop, 0x48, 0xcf]];
      }),
    );
  }

  /** First of all: a #GP handler that steps over an instruction of two bytes and leaves EDX:EAX all ones. */
  skipFaults(): this {
    const dropErrorCode = [0x48, 0x83, 0xc4, 0x08];
    const step = [0x48, 0x83, 0x04, 0x24, 0x02];
    const allOnes = [0x83, 0xc8, 0xff, 0x83, 0xca, 0xff];
    return this.#handlers([[13, [...dropErrorCode, ...step, ...allOnes, 0x48, 0xcf]]]);
  }

  /** LIDT and a JMP over an IDT and the handlers' code. */
  #handlers(handlers: readonly (readonly [vector: number, code: readonly number[]])[]): this {
    if (this.#bytes.length > 0) throw new RangeError('interrupt handlers come first');
    const vectors = 1 + Math.max(...handlers.map(([vector]) => vector));
    const [LIDT, JMP, POINTER, IDT] = [7, 5, 10, vectors * 16];
    const table = Array<number>(IDT).fill(0);
    const all: number[] = [];
    for (const [vector, code] of handlers) {
      const entry = PROGRAM_BASE + LIDT + JMP + POINTER + IDT + all.length;
      const gate = [...le(entry & 0xffff, 2), ...le(0x08, 2), 0, 0x8e, ...le(entry >>> 16, 2)];
      table.splice(vector * 16, gate.length, ...gate);
      all.push(...code);
    }
    this.#emit(0x0f, 0x01, 0x1d, ...le(JMP, 4));
    this.#emit(0xe9, ...le(POINTER + IDT + all.length, 4));
    this.#emit(...le(IDT - 1, 2), ...le(PROGRAM_BASE + LIDT + JMP + POINTER, 4), ...le(0, 4));
    return this.#emit(...table, ...all);
  }

  /** MOV EBX, then DEC and JNZ: about so many instructions that do nothing else. */
  sampleWork(instructions: number): this {
    return this.#emit(0xbb, ...le(Math.floor(instructions / 2), 4), 0xff, 0xcb, 0x75, 0xfc);
  }

  /** STI. */
  allowInterrupts(): this {
    return this.#emit(0xfb);
  }

  /** The local APIC's timer on `vector`, periodic, `count` of its clock apart: three writes. */
  periodicTimer(vector: number, count: number): this {
    return this.wrmsr(0x83e, 0xbn)
      .wrmsr(0x832, 0x2_0000n | BigInt(vector))
      .wrmsr(0x838, BigInt(count));
  }

  /** INC R15 and JMP back, for ever: a workload whose score is R15. */
  work(): this {
    return this.#emit(0x49, 0xff, 0xc7, 0xeb, 0xfb);
  }

  /** In an NMI handler: MOV EAX, [RSP+32] and MOV EDX, [RSP+36], and five to report where it interrupted. */
  reportInterrupted(): this {
    this.#emit(0x8b, 0x44, 0x24, 0x20, 0x8b, 0x54, 0x24, 0x24);
    return this.#report();
  }

  /** MOV EAX and VMCALL: two instructions. */
  vmcall(): this {
    return this.#emit(0xb8, ...le(1, 4), 0x0f, 0x01, 0xc1);
  }

  /** MOV ECX, RDMSR: two instructions. */
  rdmsr(address: number): this {
    return this.#emit(0xb9, ...le(address, 4), 0x0f, 0x32);
  }

  /** MOV EDI: where `store` writes next. */
  storeAt(address: number): this {
    return this.#emit(0xbf, ...le(address, 4));
  }

  /** MOV [RDI], EAX; MOV [RDI+4], EDX; ADD RDI, 8: three instructions. */
  store(): this {
    return this.#emit(0x89, 0x07, 0x89, 0x57, 0x04, 0x48, 0x83, 0xc7, 0x08);
  }

  /** MOV EAX, MOV EDX, and three to store them: five instructions for each. */
  storeQuadwords(...values: readonly bigint[]): this {
    for (const value of values) {
      const [low, high] = [value & 0xffff_ffffn, value >> 32n].map(Number) as [number, number];
      this.#emit(0xb8, ...le(low, 4), 0xba, ...le(high, 4)).store();
    }
    return this;
  }

  /** MOV EAX and MOV EDX from memory, and five to report them: seven instructions, two of which leave the guest. */
  reportMemory(address: number): this {
    this.#emit(0x8b, 0x04, 0x25, ...le(address, 4), 0x8b, 0x14, 0x25, ...le(address + 4, 4));
    return this.#report();
  }

  /** A NOP behind the forced-emulation prefix: one instruction. */
  forcedNop(): this {
    return this.#emit(0x0f, 0x0b, 0x6b, 0x76, 0x6d, 0x90);
  }

  /** A JMP to the next instruction behind the forced-emulation prefix: one instruction, one branch. */
  forcedJump(): this {
    return this.#emit(0x0f, 0x0b, 0x6b, 0x76, 0x6d, 0xeb, 0x00);
  }

  /** JMP to the next instruction. */
  jump(): this {
    return this.#emit(0xeb, 0x00);
  }

  /** Where the next instruction will be. */
  get here(): number {
    return PROGRAM_BASE + this.#bytes.length;
  }

  /** Ends the VM. */
  end(): this {
    return this.#emit(0xb8, ...le(0, 4), 0x66, 0xba, ...le(DEBUG_EXIT, 2), 0xef);
  }

  /** MOV EBX, EDX; MOV DX, port; OUT; MOV EAX, EBX; OUT. */
  #report(): this {
    const out = [0x66, 0xba, ...le(REPORT_PORT, 2), 0xef];
    return this.#emit(0x89, 0xd3, ...out, 0x89, 0xd8, 0xef);
  }

  #emit(...bytes: number[]): this {
    this.#bytes.push(...bytes);
    return this;
  }
}

/** Addresses of the PMU's registers as guest programs use them. */
// biome-ignore format: a table
export const MSR = {
  PMC0: 0x0c1, PERFEVTSEL0: 0x186, FIXED_CTR0: 0x309, FIXED_CTR_CTRL: 0x38d, GLOBAL_STATUS: 0x38e, GLOBAL_CTRL: 0x38f,
  GLOBAL_OVF_CTRL: 0x390,
} as const;

/** Selectors, enabled at all privilege levels; with INT where they are to interrupt. */
export const SELECT = {
  INSTRUCTIONS: 0x43_00c0n,
  BRANCHES: 0x43_00c4n,
  CYCLES: 0x43_003cn,
  SAMPLING: 0x53_00c0n,
} as const;

/** Counts a loop of so many turns on GP 0, without an exit on the way, and reports the counter. */
export const countingLoop = (turns: number): Uint8Array =>
  new GuestCode()
    .wrmsr(MSR.GLOBAL_CTRL, 0n)
    .wrmsr(MSR.PERFEVTSEL0, SELECT.INSTRUCTIONS)
    .wrmsr(MSR.GLOBAL_CTRL, 1n)
    .loop(turns)
    .wrmsr(MSR.GLOBAL_CTRL, 0n)
    .reportMsr(MSR.PMC0)
    .end().bytes;

/** What it counts: the enabling WRMSR, MOV and the loop, and the three MOVs in front of the disabling WRMSR. */
export const countedBy = (turns: number): bigint => BigInt(1 + 1 + 2 * turns + 3);
