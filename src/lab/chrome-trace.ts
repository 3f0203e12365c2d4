import type { KvmObserver } from '../kvm/observer.ts';
import { exitName } from '../machine/accesses.ts';

/** One event of the Trace Event Format. Times are ticks of the virtual clock in microseconds. */
type TraceEvent = Readonly<Record<string, unknown>>;

/** Events kept at most: some 150 bytes each. */
const MOST_EVENTS = 1_000_000;
const TICKS_PER_MICROSECOND = 3000;

/** Tracks of one machine. Slices nest exactly because each kind has its own. */
const TRACK = { GUEST: 1, ROOT: 2, VPMU: 3, PMU: 4 } as const;
const NAMES: Readonly<Record<number, string>> = {
  [TRACK.GUEST]: 'guest (VMX non-root)',
  [TRACK.ROOT]: 'exit handling (root mode)',
  [TRACK.VPMU]: 'vPMU loaded',
  [TRACK.PMU]: 'PMIs',
};

/**
 * Collects what happens in a virtual machine as Chrome trace JSON, which Perfetto opens: entries and exits as slices,
 * PMIs as slices with a flow to the entry that delivers them, exits so far as counters. The clock is virtual, never the wall's.
 */
export class ChromeTrace {
  readonly #events: TraceEvent[] = [];
  readonly #pid: number;
  #now: () => bigint = () => 0n;
  #exits = 0;
  #pmis = 0;
  #entered: number | undefined;
  #left: { at: number; reason: string; rip: bigint } | undefined;
  #loaded: number | undefined;
  /** When a PMI was asked for that is still to be delivered, and that of the one this entry delivers. */
  #requested: number | undefined;
  #delivered: number | undefined;
  /** Events beyond the limit, which were not kept. */
  dropped = 0;

  constructor(parts: { pid: number; name: string }) {
    this.#pid = parts.pid;
    this.#push({ ph: 'M', name: 'process_name', tid: 0, args: { name: parts.name } });
    for (const [tid, name] of Object.entries(NAMES)) {
      this.#push({ ph: 'M', name: 'thread_name', tid: Number(tid), args: { name } });
    }
  }

  /** The machine exists: its clock, in ticks. */
  start(now: () => bigint): void {
    this.#now = now;
  }

  /** What KVM is to tell. */
  readonly observer: KvmObserver = {
    entry: ({ interruption }) => {
      const at = this.#time();
      if (this.#left) {
        const { at: from, reason, rip: exitRip } = this.#left;
        this.#slice(TRACK.ROOT, reason, from, at, { rip: hexString(exitRip) });
        this.#left = undefined;
      }
      this.#delivered = interruption === 0 ? undefined : this.#requested;
      if (this.#delivered !== undefined) this.#requested = undefined;
      this.#entered = at;
    },
    exit: ({ reason, rip, qualification }) => {
      const at = this.#time();
      const name = exitName(reason);
      if (this.#entered !== undefined) {
        const args = { exit: name, qualification: hexString(qualification) };
        this.#slice(TRACK.GUEST, 'guest', this.#entered, at, args);
        if (this.#delivered !== undefined) this.#pmi(this.#delivered, this.#entered);
        this.#entered = undefined;
      }
      this.#exits += 1;
      this.#push({ ph: 'C', name: 'VM exits', tid: 0, ts: at, args: { exits: this.#exits } });
      this.#left = { at, reason: name, rip };
    },
    pmi: () => {
      this.#requested ??= this.#time();
    },
    vpmu: ({ step }) => {
      const at = this.#time();
      if (step === 'load') this.#loaded = at;
      else if (this.#loaded !== undefined) {
        this.#slice(TRACK.VPMU, 'loaded', this.#loaded, at, {});
        this.#loaded = undefined;
      }
    },
  };

  get events(): readonly TraceEvent[] {
    return this.#events;
  }

  #time(): number {
    return Number(this.#now()) / TICKS_PER_MICROSECOND;
  }

  /** A slice from request to delivery, and a flow from it into the guest's slice; a flow belongs to the slice before it. */
  #pmi(from: number, to: number): void {
    this.#delivered = undefined;
    this.#pmis += 1;
    const flow = { name: 'PMI', cat: 'pmi', id: `${this.#pid}.${this.#pmis}` };
    this.#slice(TRACK.PMU, 'PMI', from, to, {});
    this.#push({ ph: 's', ...flow, tid: TRACK.PMU, ts: from });
    this.#push({ ph: 'f', bp: 'e', ...flow, tid: TRACK.GUEST, ts: to });
  }

  #slice(tid: number, name: string, from: number, to: number, args: object): void {
    this.#push({ ph: 'X', name, tid, ts: from, dur: to - from, args });
  }

  #push(event: TraceEvent): void {
    if (this.#events.length >= MOST_EVENTS) this.dropped += 1;
    else this.#events.push({ pid: this.#pid, ...event });
  }
}

const hexString = (value: bigint): string => `0x${value.toString(16)}`;

/** The file: an object with `traceEvents`. */
export const chromeTraceJson = (traces: readonly ChromeTrace[]): string =>
  `${JSON.stringify({
    displayTimeUnit: 'ns',
    otherData: { clock: 'virtual TSC, 3000 ticks per microsecond' },
    traceEvents: traces.flatMap(({ events }) => events),
  })}\n`;
