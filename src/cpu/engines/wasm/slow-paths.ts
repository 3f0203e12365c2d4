import { MASK64, SIZE_MASK } from '../../../bits/u64.ts';
import { PAGE_SIZE } from '../../../memory/physical-memory.ts';
import { ASSISTS } from '../../assists/assists.ts';
import { type Exception, Fault, VECTORS } from '../../fault.ts';
import { INTERPRETER } from '../../state/layout.ts';
import { SEGMENT_INDEX } from '../../state/state.ts';
import type { Core } from '../../system/core.ts';
import { isWidth } from '../../system/linear-memory.ts';
import { is64Bit } from '../../system/mode.ts';
import type { CodeLines } from '../code-lines.ts';
import type { DataTlb } from './data-tlb.ts';
import type { SlowPaths } from './runtime.ts';
import { ACCESS, LEAVE } from './runtime-functions.ts';

const ASSIST_FUNCTIONS = Object.values(ASSISTS);
const EXCEPTIONS: ReadonlyMap<number, Exception> = new Map(
  Object.entries(VECTORS).map(([name, vector]) => [vector, name as Exception]),
);

/** What generated code does not do itself: TLB misses, devices, page ends, pages of code, traps, assists. */
export class InterpreterSlowPaths implements SlowPaths {
  readonly #core: Core;
  readonly #tlb: DataTlb;
  readonly #lines: CodeLines;
  readonly #view: DataView;
  readonly #operand: number;
  /** Physical address that `refill` found to be no RAM, for the access it was asked for; -1 if it was not that. */
  #device = -1;
  /** Where `storeBack` stores. */
  #place = { linear: 0n, size: 0 };
  /** TLB bank of the code that runs. */
  bank = 0;
  /** Brings the totals up to date, for devices that look; set when the runtime exists. */
  settle: () => void = () => {};
  /** Executes the system instruction of the record; set by the interpreter. */
  execute: () => number = () => LEAVE.SYSTEM;

  constructor(core: Core, tlb: DataTlb, lines: CodeLines) {
    this.#core = core;
    this.#tlb = tlb;
    this.#lines = lines;
    this.#view = core.ports.memory.view;
    this.#operand = core.state.base + INTERPRETER.OPERAND;
  }

  /**
   * Where an access that missed the TLB is in linear memory, with its page in the TLB from now on; 0 where it takes
   * more than that: a device, a page's end, a page of code. The address comes in halves, because a 64-bit number
   * costs more to hand over than to look up. @throws Fault, VmExit
   */
  readonly refill = (low: number, high: number, access: number, write: number): number => {
    const size = access & ACCESS.SIZE;
    const offset = low & (PAGE_SIZE - 1);
    if (offset + size > PAGE_SIZE) return 0;
    if ((access & ACCESS.ALIGNED) !== 0 && (offset & (size - 1)) !== 0) return 0;
    const host = this.#tlb.refill(this.bank, low, high, write !== 0);
    if (host !== 0) return host + offset;
    const device = this.#tlb.device(this.bank, low, high, write !== 0);
    if (device >= 0) {
      this.#device = device * PAGE_SIZE + offset;
      return 0;
    }
    const linear = (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
    const physical = this.#ram(linear, this.#size(linear, access), write !== 0 ? 'write' : 'read');
    if (physical < 0) return 0;
    if (write !== 0 && this.#lines.holdsCode(Math.floor(physical / PAGE_SIZE))) return 0;
    return this.#core.ports.memory.offset(physical);
  };

  readonly load = (signed: bigint, access: number): bigint => {
    const device = this.#takeDevice();
    const width = access & ACCESS.SIZE;
    if (device >= 0 && isWidth(width)) {
      this.settle();
      return this.#core.ports.memory.read(device, width);
    }
    const linear = signed & MASK64;
    const size = this.#size(linear, access);
    const physical = this.#ram(linear, size, 'read');
    if (physical >= 0)
      return this.#got(size, this.#get(this.#core.ports.memory.offset(physical), size));
    this.settle();
    return this.#got(size, this.#core.memory.read(linear, size, this.#core.privilege));
  };

  readonly store = (signed: bigint, access: number, value: bigint): void => {
    const device = this.#takeDevice();
    const width = access & ACCESS.SIZE;
    if (device >= 0 && isWidth(width)) {
      this.settle();
      this.#core.ports.memory.write(device, width, value & SIZE_MASK[width]!);
      return;
    }
    const linear = signed & MASK64;
    const size = this.#size(linear, access);
    const stored = size === 16 ? this.#get(this.#operand, 16) : value & SIZE_MASK[size]!;
    const physical = this.#ram(linear, size, 'write');
    if (physical >= 0) {
      const { memory } = this.#core.ports;
      this.#set(memory.offset(physical), size, stored);
      memory.touched(physical, size);
      return;
    }
    this.settle();
    this.#core.memory.write(linear, size, stored, this.#core.privilege);
  };

  readonly update = (signed: bigint, access: number): number => {
    this.#device = -1;
    const linear = signed & MASK64;
    const size = this.#size(linear, access);
    const physical = this.#ram(linear, size, 'write');
    if (physical >= 0 && !this.#lines.holdsCode(Math.floor(physical / PAGE_SIZE))) {
      return this.#core.ports.memory.offset(physical);
    }
    const { memory, privilege } = this.#core;
    this.settle();
    memory.probe(linear, size, privilege);
    this.#set(this.#operand, size, memory.read(linear, size, privilege));
    this.#place = { linear, size };
    return this.#operand;
  };

  readonly storeBack = (): void => {
    const { linear, size } = this.#place;
    this.#core.memory.write(linear, size, this.#get(this.#operand, size), this.#core.privilege);
  };

  readonly probe = (signed: bigint, access: number): void => {
    const linear = signed & MASK64;
    this.#core.memory.probe(linear, this.#size(linear, access), this.#core.privilege);
  };

  readonly trap = (vector: number, code: number): never => {
    throw new Fault(EXCEPTIONS.get(vector)!, code < 0 ? undefined : code);
  };

  readonly assist = (number: number): void => {
    ASSIST_FUNCTIONS[number]!(this.#core.state);
  };

  readonly vector = this.assist;

  readonly system = (): number => this.execute();

  #takeDevice(): number {
    const device = this.#device;
    this.#device = -1;
    return device;
  }

  /**
   * Size of an access that is canonical, which generated code does not check since no page of RAM is elsewhere, and
   * aligned where it must be. @throws Fault #GP(0), #SS(0)
   */
  #size(linear: bigint, access: number): number {
    const core = this.#core;
    const size = access & ACCESS.SIZE;
    const misplaced = (access & ACCESS.ALIGNED) !== 0 && linear % BigInt(size) !== 0n;
    if (misplaced) throw new Fault('#GP', 0); // first, even where a stack address is not canonical
    if (is64Bit(core.state)) {
      const last = (linear + BigInt(size - 1)) & MASK64;
      if (!core.isCanonical(linear) || !core.isCanonical(last)) {
        const segment = (access >> ACCESS.SEGMENT_SHIFT) & ACCESS.SEGMENT;
        throw new Fault(segment === SEGMENT_INDEX.SS ? '#SS' : '#GP', 0);
      }
    }
    return size;
  }

  /**
   * Physical address of an access that is within one page of RAM, which is then in the TLB; -1 for others.
   * @throws Fault #PF, VmExit
   */
  #ram(linear: bigint, size: number, access: 'read' | 'write'): number {
    const offset = Number(linear & 0xfffn);
    if (offset + size > PAGE_SIZE) return -1;
    const { paging, privilege, ports } = this.#core;
    const translation = paging.translate(linear, access, privilege);
    const { physical, readable, writable, watched, shift } = translation;
    if (watched) return -1;
    const start = physical - offset;
    const page = start / PAGE_SIZE;
    if (!ports.memory.isRam(start, PAGE_SIZE)) {
      this.#tlb.fillDevice(this.bank, linear, page, readable, writable, shift);
      return -1;
    }
    if (access === 'write') ports.memory.willStore(page);
    const open = writable && !this.#lines.holdsCode(page) && ports.memory.isKnownWritten(page);
    this.#tlb.fill(this.bank, linear, page, ports.memory.offset(start), readable, open, shift);
    return physical;
  }

  /** Hands a loaded value to generated code: 16 bytes through OPERAND. */
  #got(size: number, value: bigint): bigint {
    if (size < 16) return value;
    this.#set(this.#operand, size, value);
    return 0n;
  }

  #get(at: number, size: number): bigint {
    const view = this.#view;
    if (size === 8) return view.getBigUint64(at, true);
    if (size === 4) return BigInt(view.getUint32(at, true));
    if (size === 16) return view.getBigUint64(at, true) | (view.getBigUint64(at + 8, true) << 64n);
    return BigInt(size === 2 ? view.getUint16(at, true) : view.getUint8(at));
  }

  #set(at: number, size: number, value: bigint): void {
    const view = this.#view;
    if (size === 8) view.setBigUint64(at, value, true);
    else if (size === 4) view.setUint32(at, Number(value), true);
    else if (size === 2) view.setUint16(at, Number(value), true);
    else if (size === 1) view.setUint8(at, Number(value));
    else {
      view.setBigUint64(at, value & MASK64, true);
      view.setBigUint64(at + 8, value >> 64n, true);
    }
  }
}
