/** A line in which a guest tells what it read, in the form the bundled guests print. */
export interface Reading {
  /** `read`: a counter as it stood; `raw`: accumulated over rotations; `scaled`: its own estimate; `by-hand`: what it expects. */
  readonly kind: 'read' | 'raw' | 'scaled' | 'by-hand';
  readonly name: string;
  /** Absent: the guest never had a counter for it. */
  readonly value: bigint | undefined;
  /** Of a scaled reading: time on a counter and time wanted, in the guest's own unit. */
  readonly running?: bigint;
  readonly enabled?: bigint;
}

/** What a guest's self-test said, in the convention of kvm-unit-tests. */
export interface Verdicts {
  readonly passed: readonly string[];
  readonly failed: readonly string[];
  readonly skipped: readonly string[];
}

const READING =
  /^(read|raw|scaled|by-hand) ([\w.-]+) (\d+|not-counted)(?: running (\d+) enabled (\d+))?$/;

/** The readings among a guest's lines of output, in order. */
export function readings(console: string): Reading[] {
  return console.split(/\r?\n/).flatMap((line) => {
    const match = READING.exec(line.trim());
    if (!match) return [];
    const [, kind, name, value, running, enabled] = match as unknown as [
      string,
      Reading['kind'],
      string,
      string,
      string?,
      string?,
    ];
    return [
      {
        kind,
        name,
        value: value === 'not-counted' ? undefined : BigInt(value),
        ...(running !== undefined && { running: BigInt(running) }),
        ...(enabled !== undefined && { enabled: BigInt(enabled) }),
      },
    ];
  });
}

/** The PASS:, FAIL: and SKIP: lines of a guest, without their heads. */
export function verdicts(console: string): Verdicts {
  const lines = console.split(/\r?\n/);
  const after = (head: string) =>
    lines.filter((line) => line.startsWith(head)).map((line) => line.slice(head.length).trim());
  return { passed: after('PASS:'), failed: after('FAIL:'), skipped: after('SKIP:') };
}
