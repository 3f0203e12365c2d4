import { createHash } from 'node:crypto';
import { deflateSync, inflateSync } from 'node:zlib';
import { CounterpointError } from '../bits/error.ts';
import { PAGE_SIZE, type PhysicalMemory } from '../memory/physical-memory.ts';
import type { Region } from '../platform/boot/regions.ts';
import { type FwCfgItems, fwCfgItems } from '../platform/fw-cfg.ts';
import type { Deviations } from '../pmu/silicon.ts';
import type { Timing } from '../pmu/timing.ts';
import type { Machine } from './machine.ts';
import { decode, encode } from './plain-data.ts';
import { VirtualMachine } from './virtual.ts';

/**
 * The file, numbers little-endian:
 *
 *     0   8  magic: 89H "CPSNAP" 1AH
 *     8   4  version
 *    12   8  bytes of the whole file
 *    20   8  bytes of the rest once inflated
 *    28   …  deflated: u32 length of a JSON text, the text, the bytes that it refers to
 *   −32  32  SHA-256 of all before
 */
const MAGIC = Uint8Array.of(0x89, ...new TextEncoder().encode('CPSNAP'), 0x1a);
/** One more with every change of what a machine saves. */
const VERSION = 3;
const AT = { VERSION: 8, SIZE: 12, INFLATED: 20, BODY: 28 } as const;
const DIGEST_SIZE = 32;
const LARGEST_BODY = 2 ** 32;
/** Pages of one run in the file at most, so that no buffer grows without bound. */
const LONGEST_RUN = 4096;

/** What another machine alike is made from. */
export interface Recipe extends FwCfgItems {
  readonly machine: string;
  readonly profile: string;
  readonly timing: Timing;
  readonly deviations?: Deviations;
  /** Bytes of RAM of the guest. */
  readonly memory: number;
  readonly processors: number;
  /** Whether the guest of a VM has VMX. */
  readonly nested: boolean;
  readonly seed: string;
  readonly regions: readonly Region[];
}

/** What a snapshot file holds. */
export interface Snapshot {
  readonly recipe: Recipe;
  /** What `Machine.save` gave. */
  readonly state: object;
  /** RAM that is not all zeroes: page numbers and contents. */
  readonly ram: readonly (readonly [number, Uint8Array])[];
  /** What an observer of the run wants to find again. */
  readonly extra: unknown;
}

export function recipeOf(machine: Machine): Recipe {
  const { hardware, regions, boot, memorySize } = machine;
  const { profile, seed, processors } = hardware;
  return {
    machine: machine instanceof VirtualMachine ? machine.vm.design.name : 'bare',
    profile: profile.name,
    timing: profile.timing ? 'modelled' : 'unit',
    ...(profile.deviations && { deviations: profile.deviations }),
    memory: memorySize,
    processors: processors.length,
    nested: machine instanceof VirtualMachine && machine.vm.nested,
    seed,
    regions,
    ...fwCfgItems(boot),
  };
}

/** The whole machine as it stands between two instructions, as a file. */
export function saveSnapshot(machine: Machine, extra?: unknown): Uint8Array {
  const { text, bytes } = encode({
    recipe: recipeOf(machine),
    state: machine.save(),
    ram: [...pagesInUse(machine.hardware.memory)],
    extra,
  });
  const json = new TextEncoder().encode(text);
  const size = Buffer.alloc(4);
  size.writeUInt32LE(json.length);
  const body = Buffer.concat([size, json, ...bytes]);
  const deflated = deflateSync(body, { level: 1 });
  const file = Buffer.alloc(AT.BODY + deflated.length + DIGEST_SIZE);
  file.set(MAGIC);
  file.writeUInt32LE(VERSION, AT.VERSION);
  file.writeBigUInt64LE(BigInt(file.length), AT.SIZE);
  file.writeBigUInt64LE(BigInt(body.length), AT.INFLATED);
  file.set(deflated, AT.BODY);
  file.set(sha256(file.subarray(0, -DIGEST_SIZE)), file.length - DIGEST_SIZE);
  return new Uint8Array(file.buffer, file.byteOffset, file.length);
}

/** Reads a snapshot file. @throws CounterpointError `snapshot-…`: what it is not, in one line */
export function readSnapshot(bytes: Uint8Array): Snapshot {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (file.length < MAGIC.length || !file.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw new CounterpointError('snapshot-unknown', 'this is no snapshot of a machine');
  }
  if (file.length < AT.BODY + DIGEST_SIZE) throw truncated(file.length, AT.BODY + DIGEST_SIZE);
  const version = file.readUInt32LE(AT.VERSION);
  if (version !== VERSION) {
    throw new CounterpointError(
      'snapshot-version',
      `a snapshot of version ${version}; this program reads version ${VERSION}`,
    );
  }
  const size = Number(file.readBigUInt64LE(AT.SIZE));
  if (file.length < size) throw truncated(file.length, size);
  const digest = file.subarray(-DIGEST_SIZE);
  if (!sha256(file.subarray(0, -DIGEST_SIZE)).equals(digest)) {
    throw new CounterpointError(
      'snapshot-damaged',
      'the snapshot was altered: its digest is wrong',
    );
  }
  try {
    const inflated = Number(file.readBigUInt64LE(AT.INFLATED));
    if (size !== file.length || inflated > LARGEST_BODY) throw new RangeError();
    const body = inflateSync(file.subarray(AT.BODY, -DIGEST_SIZE), { maxOutputLength: inflated });
    const end = 4 + body.readUInt32LE(0);
    return decode(body.toString('utf8', 4, end), body.subarray(end)) as Snapshot;
  } catch {
    throw new CounterpointError('snapshot-damaged', 'the snapshot holds nothing that makes sense');
  }
}

/** Puts the contents of a snapshot into a machine that was made from its recipe. */
export function restoreSnapshot(machine: Machine, { ram, state }: Snapshot): void {
  const { memory } = machine.hardware;
  memory.clear(0, memory.ramSize);
  for (const [page, bytes] of ram) memory.load(page * PAGE_SIZE, bytes);
  machine.restore(state);
}

const truncated = (length: number, size: number) =>
  new CounterpointError(
    'snapshot-truncated',
    `the snapshot is cut off: ${length} of ${size} bytes are there`,
  );

const sha256 = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest();

/** Stretches of RAM that are not all zeroes. */
function* pagesInUse(memory: PhysicalMemory): Iterable<readonly [number, Uint8Array]> {
  const { bytes, ramBase, ramSize } = memory;
  const words = new BigUint64Array(bytes.buffer, ramBase, ramSize / 8);
  const pages = ramSize / PAGE_SIZE;
  const used = (page: number) => {
    const end = ((page + 1) * PAGE_SIZE) / 8;
    for (let at = (page * PAGE_SIZE) / 8; at < end; at++) if (words[at] !== 0n) return true;
    return false;
  };
  for (let page = 0; page < pages; page++) {
    if (!used(page)) continue;
    const first = page;
    while (page + 1 < pages && page + 1 - first < LONGEST_RUN && used(page + 1)) page++;
    const at = ramBase + first * PAGE_SIZE;
    yield [first, bytes.subarray(at, at + (page + 1 - first) * PAGE_SIZE)];
  }
}
