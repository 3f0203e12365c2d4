import { BareChamber } from './bare-chamber.ts';
import { chamberKey, type FuzzCase } from './case.ts';
import { type Alteration, Chamber } from './chamber.ts';
import type { Violation } from './finding.ts';
import { checkBare, promisesEquality } from './oracles/bare.ts';
import { checkEnd } from './oracles/end.ts';
import { checkPolicy } from './oracles/expectations.ts';
import { checkHostCounts } from './oracles/host-counts.ts';
import { checkInterference } from './oracles/interference.ts';
import { checkInvariants } from './oracles/invariants.ts';
import { checkLists } from './oracles/lists.ts';
import { busier, checkMirror } from './oracles/mirror.ts';
import { checkNested } from './oracles/nested.ts';
import { checkOwnership } from './oracles/ownership.ts';
import { checkPieces, inOnePiece } from './oracles/pieces.ts';
import { checkStream } from './oracles/stream.ts';
import { opposite } from './secret.ts';
import type { Trace } from './trace.ts';

/** What came of one case. */
export interface Examination {
  readonly trace: Trace;
  readonly violations: readonly Violation[];
}

/** The stream of a VM is looked at in one case of so many: it takes longer than all the rest. */
const STREAM_EVERY = 16;
/** Machines that are kept, at 2 MB each: those of all designs on the usual processors. */
const MOST_CHAMBERS = 256;

/** Machines that execute cases of one design, profile and exposure. */
interface Room {
  readonly chamber: Chamber;
  bare: BareChamber | undefined;
}

/** Executes cases and asks the oracles. Machines are kept, so that a case of a kind that was met before starts at once. */
export class Examiner {
  readonly #alter: Alteration | undefined;
  readonly #rooms = new Map<string, Room>();

  /** @param alter what every machine is altered by before its first case: how a leaky twin is made */
  constructor(alter?: Alteration) {
    this.#alter = alter;
  }

  examine(fuzzed: FuzzCase): Examination {
    const room = this.#room(fuzzed);
    const { chamber } = room;
    const trace = chamber.run(fuzzed);
    const failed = trace.end !== 'end';
    if (fuzzed.lists || failed) {
      const violations = endOf(fuzzed)(fuzzed, trace);
      // A host that has failed may have failed anywhere: nothing of its machine is used again. A VM entry that fails
      // as a list says it must does so between two instructions of the host.
      if (failed && violations.length > 0) this.#rooms.delete(chamberKey(fuzzed));
      return { trace, violations };
    }
    const { host } = fuzzed;
    const other = chamber.run({ ...fuzzed, host: { ...host, secret: opposite(host.secret) } });
    const busy = busier(fuzzed);
    const pieces = inOnePiece(fuzzed);
    return {
      trace,
      violations: [
        ...checkNested(fuzzed, trace),
        ...checkPolicy(fuzzed, trace),
        ...(fuzzed.bitmap.length === 0 ? checkOwnership(fuzzed, trace) : []),
        ...(fuzzed.bitmap.length === 0 ? checkInterference(fuzzed, trace, other) : []),
        ...checkInvariants(fuzzed, trace),
        ...(promisesEquality(fuzzed)
          ? checkBare(fuzzed, trace, this.#bare(room, fuzzed).run(fuzzed))
          : []),
        ...(pieces ? checkPieces(fuzzed, trace, chamber.run(pieces)) : []),
        ...checkHostCounts(fuzzed, trace),
        ...(busy ? checkMirror(fuzzed, trace, chamber.run(busy)) : []),
        ...(fuzzed.index % STREAM_EVERY === 0 ? checkStream(chamber, fuzzed) : []),
      ],
    };
  }

  #bare(room: Room, { nested }: FuzzCase): BareChamber {
    room.bare ??= new BareChamber(room.chamber, nested !== undefined);
    return room.bare;
  }

  #room(fuzzed: FuzzCase): Room {
    const key = chamberKey(fuzzed);
    const known = this.#rooms.get(key);
    if (known) return known;
    const [oldest] = this.#rooms.keys();
    if (this.#rooms.size >= MOST_CHAMBERS && oldest !== undefined) this.#rooms.delete(oldest);
    const made: Room = { chamber: new Chamber(fuzzed, this.#alter), bare: undefined };
    this.#rooms.set(key, made);
    return made;
  }
}

/** Who judges a run that ends before its guest does, or one with MSR lists. */
const endOf = ({ lists, nested }: FuzzCase) => {
  if (lists) return checkLists;
  return nested ? checkNested : checkEnd;
};
