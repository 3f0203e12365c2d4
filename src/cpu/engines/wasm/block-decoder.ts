import { MASK32, MASK64, SIZE_MASK } from '../../../bits/u64.ts';
import { decode } from '../../decode/decode.ts';
import type { Insn, Operand } from '../../insn.ts';
import { maintains } from '../../models/facts.ts';
import { semanticsOf } from '../../semantics/semantics.ts';
import { SEGMENT, STATE } from '../../state/layout.ts';
import type { Core, SystemStep } from '../../system/core.ts';
import { X87_INSTRUCTIONS } from '../../x87/instructions.ts';
import type { CodeMap } from './code-map.ts';
import type { HandlerSet } from './handler-set.ts';
import type { CodeContext } from './mode.ts';
import { RECORD, STUB } from './record.ts';
import { ST_STRIDE, XMM_STRIDE } from './register-emit.ts';

const PAGE = 4096;
/** Instructions decoded ahead of control at most. */
const LONGEST_BLOCK = 64;

/** A page of code as it is mapped. */
export interface CodePage {
  readonly slots: number;
  /** Linear address of the page. */
  readonly address: bigint;
  /** Its offset in linear memory, and its physical address. */
  readonly host: number;
  readonly physical: number;
  readonly context: CodeContext;
}

/** Offset from the state block of a register that is an operand. */
// biome-ignore format: a table
const REGISTER_OFFSET: Partial<Record<Operand['kind'], (index: number, high?: boolean) => number>> = {
  gpr: (index, high) => STATE.GPR + 8 * index + (high ? 1 : 0),
  xmm: (index) => STATE.XMM + XMM_STRIDE * index,
  mm:  (index) => STATE.ST + ST_STRIDE * index,
  seg: (index) => STATE.SEGMENT + SEGMENT.SIZE * index,
};

/** After these nothing is decoded: control goes elsewhere. */
// biome-ignore format: a table
export const LEAVES: ReadonlySet<string> = new Set([
  'JMP', 'CALL', 'RET',
  'JMPF', 'CALLF', 'RETF', 'IRET', 'SYSCALL', 'SYSRET', 'SYSENTER', 'SYSEXIT', 'UD0', 'UD1', 'UD2', 'INT3',
]);

/** A decoded system instruction. */
export interface SystemInsn {
  readonly insn: Insn;
  /** Executes it; undefined where that is the caller's of the engine. */
  readonly execute: SystemStep | undefined;
  /** RIP behind it, where a record follows; none does after one of `LEAVES`, even if it leads there. */
  readonly next: bigint | undefined;
  readonly keepsMode: boolean;
}

/** System instructions that control always goes on behind, with the same code and under the same rights: nothing is to be looked up. */
const KEEPS_MODE: ReadonlySet<string> = new Set(
  // biome-ignore format: a table
  [
    'RDMSR', 'RDPMC', 'RDTSC', 'RDTSCP', 'RDPID', 'CPUID', 'RDRAND', 'RDSEED', 'RDPKRU', 'XGETBV', 'PAUSE', 'CLI', 'STI',
    'IN', 'OUT', 'RDFSBASE', 'RDGSBASE', 'WRFSBASE', 'WRGSBASE', 'SWAPGS',
    'SGDT', 'SIDT', 'SLDT', 'STR', 'SMSW', 'VERR', 'VERW', 'LAR', 'LSL', 'ARPL',
    ...Object.keys(X87_INSTRUCTIONS).filter((name) => !/RSTOR/.test(name)),
  ],
);

/** Decodes runs of instructions to records. */
export class BlockDecoder {
  readonly #map: CodeMap;
  readonly #handlers: HandlerSet;
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #features: ReadonlySet<string> | undefined;
  readonly #threshold: number;
  /** System instructions, by the number that their records hold. */
  readonly #system: SystemInsn[] = [];
  readonly #core: Core;
  #epoch = 0;
  /** Linear addresses of instructions that control must not reach unseen. */
  stops: ReadonlySet<bigint> = new Set();

  constructor(
    core: Core,
    map: CodeMap,
    handlers: HandlerSet,
    features: ReadonlySet<string> | undefined,
    threshold: number,
  ) {
    const { view } = core.state;
    this.#core = core;
    this.#map = map;
    this.#handlers = handlers;
    this.#view = view;
    this.#bytes = new Uint8Array(view.buffer);
    this.#features = features;
    this.#threshold = threshold;
  }

  /** The system instruction of a record, undefined where it has none. */
  system(record: number): SystemInsn | undefined {
    if (this.#view.getUint32(record + RECORD.HANDLER, true) !== STUB.SYSTEM) return undefined;
    return this.#system[this.#view.getUint32(record + RECORD.EDGE, true)];
  }

  /** Decodes from `rip` on, at `offset` of its page; returns the first record. */
  decode(page: CodePage, offset: number, rip: bigint): number {
    if (this.#epoch !== this.#map.epoch) {
      this.#system.length = 0;
      this.#epoch = this.#map.epoch;
    }
    let at = offset;
    let ip = rip;
    let first = 0;
    // Records of a run stand one behind the other; the stubs of its branches come after them.
    const branches: { readonly record: number; readonly target: bigint }[] = [];
    for (let count = 0; ; count++) {
      const known = at < PAGE ? this.#map.record(page.slots, at) : 0;
      if (known !== 0 || at >= PAGE || count === LONGEST_BLOCK) {
        this.#stub(known, page, ip, at < PAGE);
        break;
      }
      const decoded = decode(
        this.#bytes,
        page.host + at,
        page.context.mode.codeSize,
        PAGE - at,
        this.#features,
      );
      const insn = typeof decoded === 'string' ? undefined : decoded;
      const target = insn && targetOf(page, ip, insn);
      const { record, ends } = this.#record(page, page.address + BigInt(at), ip, insn, target);
      if (target !== undefined) branches.push({ record, target });
      if (first === 0) first = record;
      this.#map.setRecord(page.slots, at, record);
      // What is no instruction may become one when its bytes change.
      this.#map.decoded(page.physical + at, insn?.length ?? Math.min(15, PAGE - at));
      if (ends || !insn) break;
      at += insn.length;
      const next = nextIp(page, ip, insn);
      if (next < ip) at = PAGE; // the instruction pointer wraps: not behind this instruction
      ip = next;
    }
    const start = rip - BigInt(offset);
    for (const { record, target } of branches) this.#edge(record, page, start, target);
    this.#handlers.make();
    return first;
  }

  #record(
    page: CodePage,
    linear: bigint,
    ip: bigint,
    insn: Insn | undefined,
    target: bigint | undefined,
  ): { record: number; ends: boolean } {
    const record = this.#map.allocate(RECORD.SIZE);
    const view = this.#view;
    view.setBigUint64(record + RECORD.RIP, ip, true);
    view.setUint32(record + RECORD.SINGLE, 0, true);
    view.setInt32(record + RECORD.HEAT, -this.#threshold, true);
    const { observed } = page.context.mode;
    const stop =
      this.stops.has(linear) ||
      (observed !== undefined && insn !== undefined && maintains(insn.op));
    if (!insn || stop || !executable(page, ip, insn, target)) {
      view.setUint32(record + RECORD.HANDLER, STUB.PLAIN, true);
      return { record, ends: true };
    }
    view.setBigUint64(record + RECORD.LINEAR, linear, true);
    view.setUint32(record + RECORD.LENGTH, insn.length, true);
    if (!semanticsOf(insn)) {
      view.setUint32(record + RECORD.HANDLER, STUB.SYSTEM, true);
      view.setUint32(record + RECORD.EDGE, this.#system.length, true);
      const next = nextIp(page, ip, insn);
      this.#system.push({
        insn,
        execute: this.#core.systemStep?.(insn, next),
        next: LEAVES.has(insn.op) ? undefined : next,
        keepsMode: KEEPS_MODE.has(insn.op),
      });
      return { record, ends: LEAVES.has(insn.op) };
    }
    view.setUint32(
      record + RECORD.HANDLER,
      this.#handlers.single(insn, page.context.mode, linear),
      true,
    );
    view.setBigUint64(record + RECORD.IMMEDIATE, nextIp(page, ip, insn), true);
    view.setBigUint64(record + RECORD.DISPLACEMENT, target ?? 0n, true);
    this.#operands(record, ip, insn);
    return { record, ends: LEAVES.has(insn.op) };
  }

  #operands(record: number, ip: bigint, insn: Insn): void {
    const view = this.#view;
    let field: number = RECORD.IMMEDIATE;
    for (const [i, operand] of insn.operands.entries()) {
      if (operand.kind === 'imm') {
        view.setBigUint64(record + field, operand.value & MASK64, true);
        field = RECORD.DISPLACEMENT;
      } else if (operand.kind === 'mem') {
        const rip = operand.base === 16 ? ip + BigInt(insn.length) : 0n;
        view.setBigUint64(record + RECORD.DISPLACEMENT, (operand.disp + rip) & MASK64, true);
        view.setUint16(record + RECORD.BASE, (operand.base & 15) * 8, true);
        view.setUint16(record + RECORD.INDEX, (operand.index & 15) * 8, true);
      } else if (operand.kind !== 'rel' && operand.kind !== 'far') {
        const offset = REGISTER_OFFSET[operand.kind]?.(
          operand.index,
          'high' in operand && operand.high,
        );
        if (offset !== undefined) view.setUint16(record + RECORD.OPERAND + 2 * i, offset, true);
      }
    }
  }

  /** Points a direct branch at a stub behind it: linked within the page, through the code TLB beyond. */
  #edge(record: number, page: CodePage, pageIp: bigint, target: bigint): void {
    const inside = target >= pageIp && target < pageIp + BigInt(PAGE);
    const stub = this.#newStub(inside ? STUB.LINK : STUB.CROSS, target);
    const view = this.#view;
    view.setUint32(record + RECORD.EDGE, stub, true);
    if (!inside) return;
    view.setUint32(stub + RECORD.EDGE, record + RECORD.EDGE, true);
    view.setUint32(stub + RECORD.STUB_SLOTS, page.slots, true);
  }

  /** What stands behind the last record of a run. */
  #stub(known: number, page: CodePage, ip: bigint, inside: boolean): void {
    const stub = this.#newStub(known !== 0 ? STUB.GOTO : inside ? STUB.LINK : STUB.CROSS, ip);
    this.#view.setUint32(stub + RECORD.EDGE, known, true);
    this.#view.setUint32(stub + RECORD.STUB_SLOTS, page.slots, true);
  }

  #newStub(kind: number, ip: bigint): number {
    const stub = this.#map.allocate(RECORD.STUB_SIZE);
    this.#view.setUint32(stub + RECORD.HANDLER, kind, true);
    this.#view.setBigUint64(stub + RECORD.RIP, ip, true);
    this.#view.setUint32(stub + RECORD.SINGLE, 1, true);
    return stub;
  }
}

/** In 16-bit code, too, going on past 64 KiB is no wrap but a matter of the limit. */
const ipMask = ({ context }: CodePage): bigint => (context.mode.codeSize === 8 ? MASK64 : MASK32);

const nextIp = (page: CodePage, ip: bigint, insn: Insn): bigint =>
  (ip + BigInt(insn.length)) & ipMask(page);

/** Where a direct branch goes. */
function targetOf(page: CodePage, ip: bigint, insn: Insn): bigint | undefined {
  const operand = insn.operands[0];
  if (operand?.kind !== 'rel') return undefined;
  return (nextIp(page, ip, insn) + operand.displacement) & SIZE_MASK[insn.size]!;
}

/** Whether a handler can run it: not if its target, or what follows it, is outside the code segment. */
function executable(page: CodePage, ip: bigint, insn: Insn, target: bigint | undefined): boolean {
  const { isTarget, realLike } = page.context;
  if (insn.vex && realLike) return false;
  if (target !== undefined && !isTarget(target)) return false;
  return page.context.mode.codeSize === 8 || isTarget(ip + BigInt(insn.length));
}
