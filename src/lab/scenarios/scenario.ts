import {
  DESIGNS,
  type DesignName,
  perfOptionsOf,
  type VpmuDesign,
} from '../../kvm/vpmu/designs.ts';
import {
  type HostedProgram,
  HostMachine,
  type HostMachineOptions,
} from '../../machine/host-machine.ts';
import { PerfError } from '../../perf/error.ts';

/**
 * One line of a scenario's table: what was looked at, and what came of it in each column. What is modelled, by the cost
 * rows of root-mode work, ends in `*`; all else is counted exactly, or is said to be published.
 */
export interface ScenarioRow {
  readonly what: string;
  readonly values: Readonly<Record<string, bigint | number | string>>;
}

/** A named run that shows one behaviour of the vPMU designs. */
export interface Scenario {
  readonly name: string;
  /** One line. */
  readonly title: string;
  /** One paragraph: what happens, and why it must. */
  readonly why: string;
  /** The columns, mostly designs. */
  readonly columns: readonly string[];
  run(): readonly ScenarioRow[];
}

/** A host made for a design. */
export const hostFor = (
  design: DesignName | VpmuDesign,
  options: HostMachineOptions = {},
): HostMachine => {
  const perf = perfOptionsOf(typeof design === 'string' ? DESIGNS[design] : design);
  return new HostMachine({ ...options, perf: { ...perf, ...options.perf } });
};

/** Runs a case per design and turns the answers, by row, into a table. */
export function table<Row extends string>(
  designs: readonly DesignName[],
  run: (design: DesignName) => Readonly<Record<Row, bigint | number | string>>,
): ScenarioRow[] {
  const answers = designs.map((design) => [design, run(design)] as const);
  const rows = Object.keys(answers[0]![1]) as Row[];
  return rows.map((what) => ({
    what,
    values: Object.fromEntries(answers.map(([design, answer]) => [design, answer[what]])),
  }));
}

/** Makes rows of a table of designs, each from what it has for a design. */
export const rowsOf =
  <Column extends DesignName>(columns: readonly Column[]) =>
  (what: string, value: (design: Column) => bigint | number | string): ScenarioRow => ({
    what,
    values: Object.fromEntries(columns.map((design) => [design, value(design)])),
  });

/** What perf answered: 'opened', or its errno with a minus. */
export function outcomeOf(open: () => unknown): string {
  try {
    open();
    return 'opened';
  } catch (error) {
    if (error instanceof PerfError) return `-${error.errno}`;
    throw error;
  }
}

const LOOK = 5_000;
const PATIENCE = 500_000_000;

/** Runs a guest to its end and looks at the host every few thousand ticks. @throws RangeError if it does not end. */
export function runWatching(machine: HostMachine, guest: HostedProgram, look: () => void): void {
  for (let passed = 0; !guest.ended; passed += LOOK) {
    if (passed > PATIENCE) throw new RangeError('the guest did not end');
    machine.run(LOOK, () => guest.ended);
    look();
  }
}
