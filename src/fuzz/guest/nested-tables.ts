import type { FuzzCase, ListedMsr, MsrList, NestedCase, StrayPointer } from '../case.ts';
import { HYPERVISOR } from './hypervisor.ts';
import { EXIT_SIZE, FIELD_SIZE, LAYOUT, RECORD } from './layout.ts';
import { stepOf } from './tables.ts';
import { CONTROLS, FIELD, NO_FIELD } from './vmcs.ts';

/** An exit from the guest's guest, as its hypervisor wrote it down. */
export interface ExitRecord {
  /** Step in which it was taken. */
  readonly step: number;
  /** Exit reason, bit 31 where VM entry failed; `VMfail` with the VM-instruction error. */
  readonly reason: number | `VMfail ${number}`;
  readonly qualification: bigint;
  readonly length: number;
  readonly rip: bigint;
}

const LISTS: readonly { readonly list: MsrList; readonly at: number; readonly count: number }[] = [
  { list: 'entry-load', at: LAYOUT.ENTRY_LOAD, count: FIELD.VM_ENTRY_MSR_LOAD_COUNT },
  { list: 'exit-store', at: LAYOUT.EXIT_STORE, count: FIELD.VM_EXIT_MSR_STORE_COUNT },
  { list: 'exit-load', at: LAYOUT.EXIT_LOAD, count: FIELD.VM_EXIT_MSR_LOAD_COUNT },
];
const POINTERS: Readonly<
  Record<StrayPointer['of'], { readonly field: number; readonly at: number }>
> = {
  'entry-load': { field: FIELD.VM_ENTRY_MSR_LOAD_ADDRESS, at: LAYOUT.ENTRY_LOAD },
  'exit-store': { field: FIELD.VM_EXIT_MSR_STORE_ADDRESS, at: LAYOUT.EXIT_STORE },
  'exit-load': { field: FIELD.VM_EXIT_MSR_LOAD_ADDRESS, at: LAYOUT.EXIT_LOAD },
  bitmap: { field: FIELD.MSR_BITMAP_ADDRESS, at: LAYOUT.MSR_BITMAP },
};
/** Neither RAM nor a device. */
const NO_MEMORY = 0x4000_0000n;
const TOO_WIDE = 1n << 52n;

/** Where a stray pointer points. */
function strayAddress({ of, to }: StrayPointer): bigint {
  if (to === 'unaligned') return BigInt(POINTERS[of].at + 8);
  return to === 'no-memory' ? NO_MEMORY : TOO_WIDE;
}
const ENTRY_SIZE = 16;
/** What a value starts as that VM exit is to overwrite. */
export const UNTOUCHED = 0xdead_dead_dead_deadn;

const HIGH = 0xc000_0000;
const RANGE = 0x2000;
/** Vol. 3, "MSR-Bitmap Address": reads of the low and of the high range, then writes. */
const QUARTER = { read: 0, write: 0x800, high: 0x400 } as const;

/** Writes the state of the guest hypervisor where it looks for it. `view` is the dirty part of its memory. */
export function writeNested(view: DataView, nested: NestedCase): void {
  const at = (address: number) => address - LAYOUT.DIRTY;
  view.setBigUint64(at(LAYOUT.ON_EXIT), BigInt(HYPERVISOR.routines[nested.onExit]), true);
  for (const [row, [field, value]] of [...fieldsOf(nested), [NO_FIELD, 0n] as const].entries()) {
    view.setUint32(at(LAYOUT.FIELDS) + FIELD_SIZE * row, field, true);
    view.setBigUint64(at(LAYOUT.FIELDS) + FIELD_SIZE * row + 8, value, true);
  }
  if (nested.bitmap) writeBitmap(view, nested.bitmap);
  for (const { list, at: start } of LISTS) {
    for (const [row, { address, value }] of listed(nested, list).entries()) {
      view.setBigUint64(at(start) + ENTRY_SIZE * row, BigInt(address), true);
      const held = list === 'exit-store' ? UNTOUCHED : BigInt(value);
      view.setBigUint64(at(start) + ENTRY_SIZE * row + 8, held, true);
    }
  }
}

/** The fields in which a case differs from what every case has. */
function fieldsOf(nested: NestedCase) {
  const { bitmap, rdpmcExiting, nmiExiting, stray, globalCtrl = {} } = nested;
  const primary =
    CONTROLS.PRIMARY |
    (bitmap ? CONTROLS.USE_MSR_BITMAPS : 0) |
    (rdpmcExiting ? CONTROLS.RDPMC_EXITING : 0);
  const fields: [field: number, value: bigint][] = [];
  if (primary !== CONTROLS.PRIMARY) fields.push([FIELD.PRIMARY_CONTROLS, BigInt(primary)]);
  if (nmiExiting) {
    fields.push([FIELD.PIN_BASED_CONTROLS, BigInt(CONTROLS.PIN | CONTROLS.NMI_EXITING)]);
  }
  if (stray) fields.push([POINTERS[stray.of].field, strayAddress(stray)]);
  const { entry, exit, save } = globalCtrl;
  if (entry !== undefined) {
    fields.push(
      [FIELD.VM_ENTRY_CONTROLS, BigInt(CONTROLS.ENTRY | CONTROLS.ENTRY_LOADS_GLOBAL_CTRL)],
      [FIELD.GUEST_IA32_PERF_GLOBAL_CTRL, BigInt(entry)],
    );
  }
  if (exit !== undefined) fields.push([FIELD.HOST_IA32_PERF_GLOBAL_CTRL, BigInt(exit)]);
  const onExit =
    CONTROLS.EXIT |
    (exit === undefined ? 0 : CONTROLS.EXIT_LOADS_GLOBAL_CTRL) |
    (save ? CONTROLS.EXIT_SAVES_GLOBAL_CTRL : 0);
  if (onExit !== CONTROLS.EXIT) fields.push([FIELD.VM_EXIT_CONTROLS, BigInt(onExit)]);
  for (const { list, count } of LISTS) {
    const { length } = listed(nested, list);
    if (length > 0) fields.push([count, BigInt(length)]);
  }
  return fields;
}

function writeBitmap(view: DataView, { exits, except }: NonNullable<NestedCase['bitmap']>): void {
  const start = LAYOUT.MSR_BITMAP - LAYOUT.DIRTY;
  if (exits === 'all') {
    new Uint8Array(view.buffer, view.byteOffset + start, 0x1000).fill(0xff);
  }
  for (const [address, access] of except) {
    const inHigh = address >= HIGH && address < HIGH + RANGE;
    if (address >= RANGE && !inHigh) continue;
    const bit = address & (RANGE - 1);
    const byte = start + QUARTER[access] + (inHigh ? QUARTER.high : 0) + (bit >> 3);
    view.setUint8(byte, view.getUint8(byte) ^ (1 << (bit & 7)));
  }
}

/** What the guest hypervisor wrote down; undefined if it met what it has no answer to. */
export function readExits(view: DataView): ExitRecord[] | undefined {
  const at = (address: number) => address - LAYOUT.DIRTY;
  if (view.getUint32(at(LAYOUT.LOST), true) !== 0) return undefined;
  const end = view.getUint32(at(LAYOUT.EXITS_END), true);
  const records: ExitRecord[] = [];
  for (let record = at(LAYOUT.EXITS); record < at(end); record += EXIT_SIZE) {
    const number = view.getUint32(record + RECORD.REASON, true);
    const failed = view.getUint32(record + RECORD.VM_FAIL, true) !== 0;
    records.push({
      step: stepOf(BigInt(view.getUint32(record + RECORD.RDI, true))),
      reason: failed ? `VMfail ${number}` : number,
      qualification: view.getBigUint64(record + RECORD.QUALIFICATION, true),
      length: view.getUint32(record + RECORD.LENGTH, true),
      rip: view.getBigUint64(record + RECORD.RIP, true),
    });
  }
  return records;
}

const listed = ({ lists = [] }: NestedCase, list: MsrList): readonly ListedMsr[] =>
  lists.filter((each) => each.list === list);

/** The exit MSR-store list of a guest hypervisor. */
export const storedMsrs = ({ nested }: Pick<FuzzCase, 'nested'>): readonly ListedMsr[] =>
  nested ? listed(nested, 'exit-store') : [];

/** What it holds at the end of a case. */
export const readStored = (view: DataView, fuzzed: FuzzCase): bigint[] =>
  storedMsrs(fuzzed).map((_, row) =>
    view.getBigUint64(LAYOUT.EXIT_STORE - LAYOUT.DIRTY + ENTRY_SIZE * row + 8, true),
  );
