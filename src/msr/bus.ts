import { hex } from '../bits/hex.ts';
import { MASK64 } from '../bits/u64.ts';
import type { MsrRow } from './definition.ts';

export type ReadOutcome = bigint | '#GP' | 'unclaimed';
export type WriteOutcome = 'done' | '#GP' | 'unclaimed';

/** What a device does for a register it keeps itself. `index` counts within the bank. */
export interface MsrBehaviour {
  read?(index: number): bigint | '#GP';
  /** Called with a value already checked against the row. May still refuse. */
  // biome-ignore lint/suspicious/noConfusingVoidType: most registers take what they are given and say nothing
  write?(value: bigint, index: number): '#GP' | undefined | void;
  /** Whether the register may hold a value that its row lets through; asked before `write`. */
  allows?(value: bigint, index: number): boolean;
}

interface Port {
  readonly name: string;
  readonly row: MsrRow;
  readonly index: number;
  readonly behaviour: MsrBehaviour;
  /** Bits that no write may set; undefined where none is possible. */
  readonly refused: bigint | undefined;
  value: bigint;
}

const refusedBy = ({ writable, ignored = 0n }: MsrRow): bigint | undefined =>
  writable === 'none' ? undefined : MASK64 & ~(writable | ignored);

/**
 * Who answers RDMSR and WRMSR on one CPU.
 * A row without behaviour is kept by the bus; one with behaviour is kept by its device.
 */
export class MsrBus {
  readonly #ports = new Map<number, Port>();

  /** Puts a table's rows on the bus. @throws RangeError if two rows claim one address. */
  attach<Names extends string>(
    table: Readonly<Record<Names, MsrRow>>,
    behaviours?: Readonly<Partial<Record<Names, MsrBehaviour>>>,
  ): void {
    for (const name of Object.keys(table) as Names[]) {
      const row = table[name];
      const count = row.count ?? 1;
      for (let index = 0; index < count; index++) {
        if (row.present !== undefined && ((row.present >> BigInt(index)) & 1n) === 0n) continue;
        const address = row.address + index * (row.stride ?? 1);
        const other = this.#ports.get(address);
        if (other) throw new RangeError(`${name} and ${other.name} both claim MSR ${hex(address)}`);
        this.#ports.set(address, {
          name: row.count === undefined ? name : `${name}${index}`,
          row,
          index,
          refused: refusedBy(row),
          behaviour: behaviours?.[name] ?? {},
          value: row.reset ?? 0n,
        });
      }
    }
  }

  rdmsr(address: number): ReadOutcome {
    const port = this.#ports.get(address);
    if (!port) return 'unclaimed';
    return port.behaviour.read ? port.behaviour.read(port.index) : port.value;
  }

  wrmsr(address: number, value: bigint): WriteOutcome {
    const port = this.#ports.get(address);
    if (!port) return 'unclaimed';
    const { writable } = port.row;
    const { refused } = port;
    if (writable === 'none' || refused === undefined || (value & refused) !== 0n) return '#GP';
    const kept = value & writable;
    if (port.behaviour.allows?.(kept, port.index) === false) return '#GP';
    if (port.behaviour.write) return port.behaviour.write(kept, port.index) ?? 'done';
    port.value = kept;
    return 'done';
  }

  /** Whether `value` sets no bit that the row reserves: what VM entry checks before it loads a register. */
  accepts(address: number, value: bigint): boolean {
    const refused = this.#ports.get(address)?.refused;
    return refused !== undefined && (value & refused) === 0n;
  }

  /** Sets what the bus keeps to the rows' reset values; devices reset themselves. */
  reset(): void {
    for (const port of this.#ports.values()) port.value = port.row.reset ?? 0n;
  }

  /** What the bus keeps itself, by address; devices save their own. */
  save(): readonly (readonly [number, bigint])[] {
    return [...this.#ports]
      .filter(([, { behaviour }]) => !behaviour.read && !behaviour.write)
      .map(([address, { value }]) => [address, value] as const);
  }

  restore(saved: readonly (readonly [number, bigint])[]): void {
    for (const [address, value] of saved) {
      const port = this.#ports.get(address);
      if (port) port.value = value;
    }
  }

  /** `IA32_A_PMC0 (0x4c1)`, or the bare number when no row claims it. */
  name(address: number): string {
    const port = this.#ports.get(address);
    return port ? `${port.name} (${hex(address)})` : hex(address);
  }

  /** Every claimed register, by address. */
  *registers(): Iterable<{ address: number; name: string; row: MsrRow }> {
    for (const [address, { name, row }] of [...this.#ports].sort(([a], [b]) => a - b)) {
      yield { address, name, row };
    }
  }
}
