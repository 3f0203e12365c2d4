import { CounterpointError } from '../bits/error.ts';
import type { EngineFactory } from '../cpu/engines/engine.ts';
import { Oracle } from '../cpu/engines/oracle/oracle.ts';
import { Interpreter } from '../cpu/engines/wasm/interpreter.ts';
import type { KvmObserver } from '../kvm/observer.ts';
import { DESIGNS, type VpmuDesign } from '../kvm/vpmu/designs.ts';
import type { BootOptions } from '../platform/boot/boot.ts';
import { enterElf64 } from '../platform/boot/entry-state.ts';
import { fwCfgItems } from '../platform/fw-cfg.ts';
import { countingName, type Deviations, IDEAL } from '../pmu/silicon.ts';
import type { Timing } from '../pmu/timing.ts';
import { BareMachine } from './bare.ts';
import { type GuestImage, readGuestImage } from './guest-image.ts';
import type { Machine } from './machine.ts';
import { profileNamed, shaped } from './profiles.ts';
import { restoreSnapshot, type Snapshot } from './snapshot.ts';
import { VirtualMachine } from './virtual.ts';

/** What executes instructions. Both give the same results; the oracle is the readable one, some hundred times slower. */
export const ENGINES: Readonly<Record<string, EngineFactory>> = {
  interpreter: (core) => new Interpreter(core),
  oracle: (core) => new Oracle(core),
};

/** The machines by name: the bare one, and one for each design of a vPMU. */
export const MACHINES: Readonly<Record<string, string>> = {
  bare: 'the guest on the processor itself',
  ...Object.fromEntries(Object.values(DESIGNS).map(({ name, title }) => [name, title])),
};

/** Other names for machines. vPMU passthrough is what Linux calls a mediated vPMU. */
const ALIASES: Readonly<Record<string, string>> = { passthrough: 'mediated' };

export interface CreateOptions {
  readonly machine?: string;
  readonly profile?: string;
  /** Bytes of RAM for the guest: a multiple of 2 MiB; 64 MiB unless told, 512 MiB for Linux. */
  readonly memory?: number;
  /** By name, or what makes it. */
  readonly engine?: string | EngineFactory;
  /** `unit`: every instruction takes one cycle; `modelled`: caches, TLBs and branch prediction, about two times slower. */
  readonly timing?: Timing;
  /** How counting departs from the manual; nothing unless told. */
  readonly deviations?: Deviations;
  readonly seed?: string;
  /** Processors, or vCPUs with a processor for each: 1 to 8. */
  readonly processors?: number;
  /** In a VM the guest has VMX and may be a hypervisor; off unless told. */
  readonly nested?: boolean;
  /** Format, command line, modules, initial RAM disk: what the image is booted with. */
  readonly boot?: BootOptions;
  /** Bytes that wait at the console. */
  readonly input?: Uint8Array;
  readonly onOutput?: (byte: number) => void;
  readonly observer?: KvmObserver;
}

export const DEFAULT_MEMORY = 64 << 20;
/** A Linux kernel with a RAM disk takes more. */
export const LINUX_MEMORY = 512 << 20;
const LARGEST_MEMORY = 2 ** 31;
const MEMORY_UNIT = 2 << 20;
const MOST_PROCESSORS = 8;

function named<T>(kind: string, rows: Readonly<Record<string, T>>, name: string): T {
  const found = Object.hasOwn(rows, name) ? rows[name] : undefined;
  if (found !== undefined) return found;
  throw new CounterpointError(
    `unknown-${kind}`,
    `there is no ${kind} '${name}': ${Object.keys(rows).join(', ')}`,
  );
}

/** @throws CounterpointError `unknown-engine` */
export const engineNamed = (name: string): EngineFactory =>
  named<EngineFactory>('engine', ENGINES, name);

/** The design of the vPMU that a machine's name stands for. @throws CounterpointError `unknown-machine` */
export function designNamed(machine: string): VpmuDesign {
  return named<VpmuDesign>('machine', DESIGNS, nameOf(machine));
}

/** A machine with a guest in it, ready to run. @throws CounterpointError, ImageError */
export function createMachine(image: Uint8Array, options: CreateOptions = {}): Machine {
  return assemble(() => readGuestImage(image, options.boot), options);
}

/** What may be told of a machine that is resumed; what is part of the snapshot must be as it is there. */
export type ResumeOptions = Omit<CreateOptions, 'boot' | 'input'>;

/** The machine of a snapshot, as it stood. @throws CounterpointError `snapshot-…` */
export function resumeMachine(snapshot: Snapshot, options: ResumeOptions = {}): Machine {
  const { recipe } = snapshot;
  const { machine, deviations } = options;
  const asked = {
    ...options,
    machine: machine && nameOf(machine),
    counting: deviations && countingName(deviations),
  };
  const has = { ...recipe, counting: countingName(recipe.deviations ?? IDEAL) };
  for (const part of PARTS) {
    if (asked[part] === undefined || asked[part] === has[part]) continue;
    throw new CounterpointError(
      'snapshot-mismatch',
      `the snapshot is of ${part} ${has[part]}, not ${asked[part]}`,
    );
  }
  const { regions, commandLine: _, initrd: __, files: ___, ...create } = recipe;
  const image: GuestImage = {
    format: 'flat',
    regions,
    boot: fwCfgItems(recipe),
    load: (memory) => enterElf64(memory, 0),
  };
  try {
    const resumed = assemble(() => image, { ...options, ...create });
    restoreSnapshot(resumed, snapshot);
    return resumed;
  } catch (error) {
    if (error instanceof CounterpointError) throw error;
    throw new CounterpointError(
      'snapshot-damaged',
      `the snapshot does not fit a machine: ${error}`,
    );
  }
}

/** What a snapshot cannot be resumed without. */
// biome-ignore format: a table
const PARTS = ['profile', 'machine', 'memory', 'processors', 'nested', 'timing', 'counting', 'seed'] as const;

const nameOf = (machine: string): string =>
  Object.hasOwn(ALIASES, machine) ? ALIASES[machine]! : machine;

/** Bytes of RAM for a guest: as many as asked for, or what its kind takes. @throws CounterpointError `bad-memory` */
export function memoryFor(image: GuestImage, asked?: number): number {
  const memory = asked ?? (image.format === 'linux' ? LINUX_MEMORY : DEFAULT_MEMORY);
  if (memory % MEMORY_UNIT !== 0 || memory <= 0 || memory > LARGEST_MEMORY) {
    throw new CounterpointError(
      'bad-memory',
      `memory must be a multiple of 2 MiB up to 2 GiB, not ${memory} bytes`,
    );
  }
  return memory;
}

function assemble(read: () => GuestImage, options: CreateOptions): Machine {
  const {
    machine = 'bare',
    profile = 'sapphire-rapids',
    engine = 'interpreter',
    seed = 'counterpoint',
    processors = 1,
    nested = false,
    input,
    onOutput,
    observer,
  } = options;
  const name = nameOf(machine);
  named('machine', MACHINES, name);
  const image = read();
  if (!Number.isInteger(processors) || processors < 1 || processors > MOST_PROCESSORS) {
    throw new CounterpointError(
      'bad-processors',
      `a machine has 1 to ${MOST_PROCESSORS} processors, not ${processors}`,
    );
  }
  const parts = {
    image,
    processors,
    profile: shaped(profileNamed(profile), options),
    memorySize: memoryFor(image, options.memory),
    engine: typeof engine === 'string' ? engineNamed(engine) : engine,
    seed,
    nested,
    ...(input && { input }),
    ...(onOutput && { onOutput }),
  };
  if (name === 'bare') return new BareMachine(parts);
  const design = designNamed(name);
  return new VirtualMachine({ ...parts, design, ...(observer && { observer }) });
}
