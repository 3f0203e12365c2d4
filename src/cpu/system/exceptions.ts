import { EVENT_TYPE, type Event } from '../event.ts';
import { type Exception, type Fault, VECTORS } from '../fault.ts';

/** How an exception combines with another. Vol. 3, "Interrupt 8—Double Fault Exception (#DF)". */
type Severity = 'benign' | 'contributory' | 'page fault';

interface ExceptionRow {
  readonly severity: Severity;
  /** Whether it reports before its instruction (and RF is pushed set). */
  readonly fault: boolean;
  readonly code: boolean;
}

/** Vol. 3, "Protected-Mode Exceptions and Interrupts". */
// biome-ignore format: a table
const EXCEPTIONS: Readonly<Record<Exception, ExceptionRow>> = {
  '#DE': { severity: 'contributory', fault: true,  code: false },
  '#DB': { severity: 'benign',       fault: false, code: false },
  '#BP': { severity: 'benign',       fault: false, code: false },
  '#OF': { severity: 'benign',       fault: false, code: false },
  '#BR': { severity: 'benign',       fault: true,  code: false },
  '#UD': { severity: 'benign',       fault: true,  code: false },
  '#NM': { severity: 'benign',       fault: true,  code: false },
  '#DF': { severity: 'benign',       fault: false, code: true  },
  '#TS': { severity: 'contributory', fault: true,  code: true  },
  '#NP': { severity: 'contributory', fault: true,  code: true  },
  '#SS': { severity: 'contributory', fault: true,  code: true  },
  '#GP': { severity: 'contributory', fault: true,  code: true  },
  '#PF': { severity: 'page fault',   fault: true,  code: true  },
  '#MF': { severity: 'benign',       fault: true,  code: false },
  '#AC': { severity: 'benign',       fault: true,  code: true  },
  '#MC': { severity: 'benign',       fault: false, code: false },
  '#XM': { severity: 'benign',       fault: true,  code: false },
  '#VE': { severity: 'page fault',   fault: true,  code: false },
  '#CP': { severity: 'contributory', fault: true,  code: true  },
};

const BY_VECTOR: ReadonlyMap<number, ExceptionRow> = new Map(
  (Object.keys(VECTORS) as Exception[]).map((name) => [VECTORS[name], EXCEPTIONS[name]]),
);

/** Nothing can be delivered any more. */
export class TripleFault {}

/** The event that a fault is, with the error code if it has one. */
export function exceptionEvent({ exception, code = 0 }: Fault): Event {
  return {
    vector: VECTORS[exception],
    type: EVENT_TYPE.HARDWARE_EXCEPTION,
    ...(EXCEPTIONS[exception].code ? { code } : {}),
  };
}

const severity = (event: Event): Severity =>
  event.type === EVENT_TYPE.HARDWARE_EXCEPTION
    ? (BY_VECTOR.get(event.vector)?.severity ?? 'benign')
    : 'benign';

/** Whether a vector is a fault: its instruction runs again. */
export const isFaultClass = (vector: number): boolean => BY_VECTOR.get(vector)?.fault ?? false;

/** What `fault` becomes when it arises in the delivery of `first`. Vol. 3, table "Conditions for Generating a Double Fault". */
export function combine(first: Event | undefined, fault: Fault): Event | TripleFault {
  const second = exceptionEvent(fault);
  if (!first) return second;
  const before = severity(first);
  const after = severity(second);
  if (first.type === EVENT_TYPE.HARDWARE_EXCEPTION && first.vector === VECTORS['#DF']) {
    return after === 'benign' ? second : new TripleFault();
  }
  const double =
    (before === 'contributory' && after === 'contributory') ||
    (before === 'page fault' && after !== 'benign');
  return double ? { vector: VECTORS['#DF'], type: EVENT_TYPE.HARDWARE_EXCEPTION, code: 0 } : second;
}
