import type { EngineFactory } from '../../src/cpu/engines/engine.ts';
import { Oracle } from '../../src/cpu/engines/oracle/oracle.ts';
import { STATE } from '../../src/cpu/state/layout.ts';
import { Hardware } from '../../src/machine/hardware.ts';
import type { Processor } from '../../src/machine/processor.ts';
import { type Profile, profileNamed } from '../../src/machine/profiles.ts';
import { enterRootMode } from '../../src/machine/root-cpu.ts';
import { FIELDS, type FieldName } from '../../src/vmx/fields.ts';
import { type Fields, VALID } from './processor.ts';

export const CODE = 0xe000;
export const HANDLERS = 0xf000;
/** Paging structures with EPT: each maps 2 MiB guest-physical to itself by 4-KByte pages, read, write, execute. */
export const EPT = { PML4: 0x2_0000, PDPT: 0x2_1000, PD: 0x2_2000, PT: 0x2_3000 } as const;
export const EPTP = 0x2_001en;

/** What the fields say of a VM exit. */
export interface Exit {
  readonly reason: number;
  readonly qualification: bigint;
  readonly length: number;
  readonly information: number;
  readonly interruption: number;
  readonly error: number;
  readonly vectoring: number;
  readonly vectoringError: number;
  readonly linear: bigint;
  readonly physical: bigint;
}

const bytesOf = (hex: string): Uint8Array =>
  Uint8Array.from(hex.split(/\s+/).filter(Boolean), (byte) => Number.parseInt(byte, 16));

/** A processor in root operation under TypeScript, and a guest of a few bytes for it to run. */
export class Guest {
  readonly hardware: Hardware;
  readonly processor: Processor;
  /** Port writes of the guest that did not exit. */
  readonly output: [port: number, value: number][] = [];

  constructor(
    changes: Fields = {},
    profile: Profile = profileNamed('sapphire-rapids'),
    engine: EngineFactory = (core) => new Oracle(core),
  ) {
    this.hardware = new Hardware({
      profile,
      memorySize: 2 << 20,
      engine,
      io: { read: () => 0x5a, write: (port, _size, value) => void this.output.push([port, value]) },
      seed: 'vmx',
    });
    this.processor = this.hardware.current;
    const { vmx, state } = this.processor;
    enterRootMode(this.processor);
    state.set(STATE.CR3, 0x2000n);
    this.#pageTables(0x2000);
    this.#pageTables(0x3000);
    this.#ept();
    this.#tables();
    const revision = BigInt(profile.vmx.revision);
    for (const region of [0x1_0000, 0x1_1000]) this.memory.write(region, 4, revision);
    vmx.vmxon(0x1_0000n);
    vmx.vmclear(0x1_1000n);
    vmx.vmptrld(0x1_1000n);
    this.set({ ...VALID, GUEST_GDTR_BASE: 0xb000n, GUEST_IDTR_BASE: 0xc000n, ...changes });
  }

  get memory() {
    return this.hardware.memory;
  }

  get state() {
    return this.processor.state;
  }

  get vmx() {
    return this.processor.vmx;
  }

  /** Identity mapping of the first gigabyte, user, writable, accessed and dirty, below a PML4 table at `root`. */
  #pageTables(root: number): void {
    const directory = root + 0x2_7000;
    this.memory.write(root, 8, BigInt(directory | 0x27));
    this.memory.write(directory, 8, 0xe7n);
  }

  #ept(): void {
    this.memory.write(EPT.PML4, 8, BigInt(EPT.PDPT | 7));
    this.memory.write(EPT.PDPT, 8, BigInt(EPT.PD | 7));
    this.memory.write(EPT.PD, 8, BigInt(EPT.PT | 7));
    for (let page = 0; page < 512; page++) {
      this.memory.write(EPT.PT + page * 8, 8, BigInt((page << 12) | 0x37));
    }
  }

  /** GDT with 64-bit code at 8, data at 10H, TSS at 18H; an IDT whose handler of vector v is HLT at HANDLERS + 16 v. */
  #tables(): void {
    for (const at of [0xb000, 0x6000]) {
      this.memory.write(at + 8, 8, 0x00af_9b00_0000_ffffn);
      this.memory.write(at + 16, 8, 0x00cf_9300_0000_ffffn);
      this.memory.write(at + 24, 8, 0x0000_8b00_0000_0067n);
    }
    for (let vector = 0; vector < 256; vector++) {
      const handler = BigInt(HANDLERS + vector * 16);
      this.memory.write(
        0xc000 + vector * 16,
        8,
        (handler & 0xffffn) | 0x8e00_0008_0000n | ((handler >> 16n) << 48n),
      );
      this.memory.write(0xc008 + vector * 16, 8, 0n);
      this.memory.write(Number(handler), 1, 0xf4n);
    }
  }

  set(fields: Fields): this {
    for (const [name, value] of Object.entries(fields)) {
      this.vmx.vmwrite(FIELDS[name as FieldName].encoding, BigInt(value));
    }
    return this;
  }

  get(name: FieldName): bigint {
    const value = this.vmx.vmread(FIELDS[name].encoding);
    if (value === undefined) throw new RangeError(`VMREAD of ${name} failed`);
    return value;
  }

  /** Puts bytes, in hexadecimal, where the guest starts. */
  code(hex: string, at = CODE): this {
    this.memory.load(at, bytesOf(hex));
    return this;
  }

  /** Enters, runs until an exit and reads its fields. @throws if nothing exits within `ticks`. */
  exit(ticks = 1000): Exit {
    const launched = this.vmx.vmlaunch();
    const outcome = launched === 'VMsucceed' ? launched : this.vmx.vmresume();
    if (outcome !== 'VMsucceed') throw new Error(JSON.stringify(outcome));
    if (this.vmx.nonRoot) {
      const stop = this.processor.cpu.run(ticks);
      if (stop.reason !== 'vm-exit') throw new Error(`no VM exit: ${stop.reason}`);
    }
    return this.#read();
  }

  #read(): Exit {
    const word = (name: FieldName) => Number(this.get(name));
    return {
      reason: word('EXIT_REASON'),
      qualification: this.get('EXIT_QUALIFICATION'),
      length: word('VM_EXIT_INSTRUCTION_LENGTH'),
      information: word('VM_EXIT_INSTRUCTION_INFORMATION'),
      interruption: word('VM_EXIT_INTERRUPTION_INFORMATION'),
      error: word('VM_EXIT_INTERRUPTION_ERROR_CODE'),
      vectoring: word('IDT_VECTORING_INFORMATION'),
      vectoringError: word('IDT_VECTORING_ERROR_CODE'),
      linear: this.get('GUEST_LINEAR_ADDRESS'),
      physical: this.get('GUEST_PHYSICAL_ADDRESS'),
    };
  }
}
