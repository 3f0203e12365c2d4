import type { Chamber } from './chamber.ts';

const USE_MSR_BITMAPS = 1n << 28n;
/** Reads of the low and of the high range, then writes, 1 KiB each. Vol. 3, "MSR-Bitmap Address". */
const WORDS = 1024;
const QUARTER_WORDS = 256;
const HIGH = 0xc000_0000;

/** An MSR that exits for the guest and not for its own guest, by the bitmap of the VMCS that is about to be entered. */
export function openedToL2({ guest: { vm, vcpu }, machine }: Chamber): number | undefined {
  if (!vcpu.nested?.guestMode) return undefined;
  if ((vcpu.read('PRIMARY_CONTROLS') & USE_MSR_BITMAPS) === 0n) return undefined;
  const { memory } = machine.hardware;
  const page = (at: number) => new Uint32Array(memory.linear.buffer, memory.offset(at), WORDS);
  const own = page(vm.bitmapFor(vcpu).address);
  const used = page(Number(vcpu.read('MSR_BITMAP_ADDRESS')));
  for (let word = 0; word < WORDS; word++) {
    const open = own[word]! & ~used[word]!;
    if (open !== 0) return msrOf(word, open);
  }
  return undefined;
}

/** The MSR of the lowest bit that is set in a word of the bitmaps. */
function msrOf(word: number, bits: number): number {
  const index = (word % QUARTER_WORDS) * 32 + (31 - Math.clz32(bits & -bits));
  return Math.floor(word / QUARTER_WORDS) % 2 === 0 ? index : HIGH + index;
}
