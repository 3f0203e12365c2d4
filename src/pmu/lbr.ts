import { insert, isSet } from '../bits/bitfield.ts';
import type { MsrBus } from '../msr/bus.ts';
import { LBR_CTL, LBR_INFO, LBR_SELECT, lbrMsrs } from '../msr/lbr.ts';
import { deepest, type PmuShape } from '../msr/pmu-shape.ts';

/** Kinds of transfers, by the numbers of IA32_LBR_x_INFO.BR_TYPE. OTHER_BRANCH: far, interrupts, exceptions. */
// biome-ignore format: a table
export const BRANCH_KIND = {
  COND: 0, NEAR_IND_JMP: 1, NEAR_REL_JMP: 2, NEAR_IND_CALL: 3, NEAR_REL_CALL: 4, NEAR_RET: 5, OTHER_BRANCH: 8,
} as const;
export type BranchKind = (typeof BRANCH_KIND)[keyof typeof BRANCH_KIND];

/** A transfer that was taken, as the core reports it. */
export interface TakenBranch {
  readonly kind: BranchKind;
  /** Linear addresses of the branch instruction (or interrupted one) and of its target. */
  readonly from: bigint;
  readonly to: bigint;
  readonly cplFrom: number;
  readonly cplTo: number;
  /** By the predictor's model; false without one. */
  readonly mispredicted?: boolean;
  /** Total of modelled cycles when it retired, if the model runs. */
  readonly cycles?: bigint;
}

/** One record: what the three registers read as. */
interface Entry {
  readonly from: bigint;
  readonly to: bigint;
  readonly info: bigint;
}

const EMPTY: Entry = { from: 0n, to: 0n, info: 0n };

/** FROM of a transfer that comes out of a privilege level that is not recorded. */
const FILTERED_FROM = 0xffff_ffffn;

/** What call-stack mode pushes. */
const CALLS: readonly BranchKind[] = [BRANCH_KIND.NEAR_REL_CALL, BRANCH_KIND.NEAR_IND_CALL];

interface Filter {
  /** Bit of IA32_LBR_CTL that records this kind, bit of MSR_LBR_SELECT that does not. */
  readonly records: bigint;
  readonly suppresses: bigint;
}

// biome-ignore format: a table
const FILTERS: Readonly<Record<BranchKind, Filter>> = {
  0: { records: LBR_CTL.COND,          suppresses: LBR_SELECT.JCC },
  1: { records: LBR_CTL.NEAR_IND_JMP,  suppresses: LBR_SELECT.NEAR_IND_JMP },
  2: { records: LBR_CTL.NEAR_REL_JMP,  suppresses: LBR_SELECT.NEAR_REL_JMP },
  3: { records: LBR_CTL.NEAR_IND_CALL, suppresses: LBR_SELECT.NEAR_IND_CALL },
  4: { records: LBR_CTL.NEAR_REL_CALL, suppresses: LBR_SELECT.NEAR_REL_CALL },
  5: { records: LBR_CTL.NEAR_RET,      suppresses: LBR_SELECT.NEAR_RET },
  8: { records: LBR_CTL.OTHER_BRANCH,  suppresses: LBR_SELECT.FAR_BRANCH },
};

/** What LBRs need to resume; plain data. */
export interface SavedLbr {
  readonly entries: readonly Entry[];
  readonly top: number;
  readonly control: bigint;
  readonly select: bigint;
  readonly depth: number;
  readonly lastCycles: bigint | undefined;
  readonly inserts: bigint;
}

/**
 * Last branch records of either kind. The stack is one ring; `top` is the newest entry, which the legacy registers
 * show as TOS and the architectural ones number 0.
 */
export class Lbr {
  readonly #shape: PmuShape;
  readonly #legacy: boolean;
  readonly #change: (effect: () => void) => void;
  #entries: Entry[] = [];
  #top = 0;
  #control = 0n;
  #select = 0n;
  #depth: number;
  #lastCycles: bigint | undefined;
  #inserts = 0n;

  /** @param change runs an effect that may start or stop the recording. */
  constructor(shape: PmuShape, change: (effect: () => void) => void) {
    this.#shape = shape;
    this.#legacy = shape.lbr?.kind === 'legacy';
    this.#change = change;
    this.#depth = this.#deepest();
    this.#clear();
  }

  attach(bus: MsrBus): void {
    const ring = (i: number) => i;
    const newest = (i: number) => this.#position(i);
    // Architectural registers beyond the depth in use read 0 and keep nothing.
    const bank = (field: keyof Entry, place: (i: number) => number) => ({
      read: (i: number) => (i < this.#depth ? this.#entry(place(i))[field] : 0n),
      write: (v: bigint, i: number) => {
        if (i < this.#depth) this.#entries[place(i)] = { ...this.#entry(place(i)), [field]: v };
      },
    });

    // biome-ignore format: a table
    bus.attach(lbrMsrs(this.#shape), {
      MSR_LBR_SELECT:         { read: () => this.#select, write: (v) => { this.#select = v; } },
      MSR_LASTBRANCH_TOS:     { read: () => BigInt(this.#top), write: (v) => { this.#top = Number(v); } },
      MSR_LASTBRANCH_FROM_IP: bank('from', ring),
      MSR_LASTBRANCH_TO_IP:   bank('to', ring),
      MSR_LBR_INFO:           bank('info', ring),
      IA32_LBR_CTL:           { read: () => this.#control, write: (v) => this.#change(() => { this.#control = v; }) },
      IA32_LBR_DEPTH:         { read: () => BigInt(this.#depth), write: (v) => this.#setDepth(v) },
      IA32_LBR_FROM_IP:       bank('from', newest),
      IA32_LBR_TO_IP:         bank('to', newest),
      IA32_LBR_INFO:          bank('info', newest),
    });
  }

  /** Whether IA32_LBR_CTL asks for records; the legacy kind is asked by IA32_DEBUGCTL.LBR. */
  get enabled(): boolean {
    return isSet(this.#control, LBR_CTL.LBREN);
  }

  /** How often an entry was added, or removed in call-stack mode: the event LBR_INSERTS.ANY. */
  get inserts(): bigint {
    return this.#inserts;
  }

  /** Records a taken transfer unless a filter drops it. */
  record(branch: TakenBranch): void {
    if (!this.#wants(branch)) return;
    if (!this.#callStack() || CALLS.includes(branch.kind)) this.#push(branch);
    else if (branch.kind === BRANCH_KIND.NEAR_RET) this.#pop();
  }

  #push(branch: TakenBranch): void {
    const cycles = this.#elapsed(branch.cycles);
    this.#inserts += 1n;
    this.#lastCycles = branch.cycles;
    this.#top = (this.#top + 1) % this.#depth;
    this.#entries[this.#top] = {
      from: this.#records(branch.cplFrom) ? branch.from : FILTERED_FROM,
      to: branch.to,
      info: this.#info(branch, cycles),
    };
  }

  /** The newest `count` records, newest first. */
  newest(count: number): readonly Entry[] {
    return Array.from({ length: Math.min(count, this.#depth) }, (_, i) =>
      this.#entry(this.#position(i)),
    );
  }

  /** Vol. 3, "Processor State After Reset": INIT stops recording and keeps what was recorded. */
  reset(kind: 'power-up' | 'init'): void {
    this.#control = 0n;
    if (kind === 'init') return;
    this.#select = 0n;
    this.#depth = this.#deepest();
    this.#clear();
  }

  save(): SavedLbr {
    return {
      entries: [...this.#entries],
      top: this.#top,
      control: this.#control,
      select: this.#select,
      depth: this.#depth,
      lastCycles: this.#lastCycles,
      inserts: this.#inserts,
    };
  }

  restore(saved: SavedLbr): void {
    this.#entries = [...saved.entries];
    this.#top = saved.top;
    this.#control = saved.control;
    this.#select = saved.select;
    this.#depth = saved.depth;
    this.#lastCycles = saved.lastCycles;
    this.#inserts = saved.inserts;
  }

  /** Where entry `i`, counted from the newest, lies in the ring. */
  #position(i: number): number {
    return (this.#top - i + this.#depth) % this.#depth;
  }

  #entry(position: number): Entry {
    return this.#entries[position]!;
  }

  /** A transfer belongs to the privilege level at which it ends. */
  #wants({ kind, cplTo }: TakenBranch): boolean {
    const { records, suppresses } = FILTERS[kind];
    const kindWanted = this.#legacy
      ? !isSet(this.#select, suppresses)
      : isSet(this.#control, records);
    return kindWanted && this.#records(cplTo);
  }

  #records(cpl: number): boolean {
    if (!this.#legacy) return isSet(this.#control, cpl === 0 ? LBR_CTL.OS : LBR_CTL.USR);
    return !isSet(this.#select, cpl === 0 ? LBR_SELECT.CPL_EQ_0 : LBR_SELECT.CPL_NEQ_0);
  }

  #callStack(): boolean {
    return this.#legacy
      ? isSet(this.#select, LBR_SELECT.EN_CALLSTACK)
      : isSet(this.#control, LBR_CTL.CALL_STACK);
  }

  /** Call-stack mode: a return takes the newest call away. */
  #pop(): void {
    this.#inserts += 1n;
    this.#entries[this.#top] = EMPTY;
    this.#top = this.#position(1);
  }

  #info({ kind, mispredicted = false }: TakenBranch, cycles: bigint | undefined): bigint {
    const outcome = mispredicted ? LBR_INFO.MISPRED : 0n;
    const timed = insert(outcome, LBR_INFO.CYC_CNT, cycles ?? 0n);
    if (this.#legacy) return timed;
    return (
      insert(timed, LBR_INFO.BR_TYPE, BigInt(kind)) |
      (cycles === undefined ? 0n : LBR_INFO.CYC_CNT_VALID)
    );
  }

  /** Modelled cycles since the last record, saturating at 65535; unknown for the first. */
  #elapsed(now: bigint | undefined): bigint | undefined {
    if (now === undefined || this.#lastCycles === undefined) return undefined;
    const cycles = now - this.#lastCycles;
    if (cycles > LBR_INFO.CYC_CNT) return LBR_INFO.CYC_CNT;
    return cycles;
  }

  /** Whether IA32_LBR_DEPTH may have this value. */
  supports(depth: bigint): boolean {
    const { lbr } = this.#shape;
    if (lbr?.kind !== 'architectural' || depth % 8n !== 0n || depth < 8n || depth > 64n)
      return false;
    return isSet(BigInt(lbr.depths), 1n << (depth / 8n - 1n));
  }

  #setDepth(value: bigint): '#GP' | undefined {
    if (!this.supports(value)) return '#GP';
    this.#depth = Number(value);
    this.#clear();
    return undefined;
  }

  #deepest(): number {
    const { lbr } = this.#shape;
    if (!lbr) return 1;
    return lbr.kind === 'legacy' ? lbr.depth : deepest(lbr.depths);
  }

  #clear(): void {
    this.#entries = Array.from({ length: this.#depth }, () => EMPTY);
    this.#top = 0;
    this.#lastCycles = undefined;
  }
}
