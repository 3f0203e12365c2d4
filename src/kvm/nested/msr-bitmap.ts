import type { HostCpu } from '../../host/cpu.ts';
import type { PhysicalWords } from '../../memory/physical-memory.ts';
import { placeInBitmap } from '../msr-bitmap.ts';

const PAGE = 4096;

/** The MSR bitmap of vmcs02: an access passes only if KVM and L1 both let it (nested_vmx_prepare_msr_bitmap). */
export class MergedMsrBitmap {
  /** Physical address of its page. */
  readonly address: number;
  /** What the page holds, so that only what changes is written; nothing once somebody else may have written it. */
  #words: BigUint64Array | undefined;

  constructor(address: number) {
    this.address = address;
  }

  /**
   * @param own physical address of the bitmap of vmcs01
   * @param guest where L1's bitmap is in its own memory
   */
  merge({ memory }: HostCpu, own: number, guestMemory: PhysicalWords, guest: number): void {
    const old = this.#words;
    const words = old ?? new BigUint64Array(PAGE / 8);
    for (let i = 0; i < words.length; i++) {
      const word = memory.read(own + 8 * i, 8) | guestMemory.read(guest + 8 * i, 8);
      if (old && words[i] === word) continue;
      words[i] = word;
      memory.write(this.address + 8 * i, 8, word);
    }
    this.#words = words;
  }

  /** Accesses to an MSR exit from now on, whatever L1 wants. What opens waits for the next entry from L1. */
  close({ memory }: HostCpu, msr: number): void {
    for (const access of ['read', 'write'] as const) {
      const { byte, mask } = placeInBitmap(msr, access);
      const at = this.address + byte;
      memory.write(at, 1, memory.read(at, 1) | mask);
    }
    this.forget();
  }

  forget(): void {
    this.#words = undefined;
  }
}
