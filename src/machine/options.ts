import type { EngineFactory } from '../cpu/engines/engine.ts';
import type { GuestImage } from './guest-image.ts';
import type { Profile } from './profiles.ts';

/** What every machine is made from. */
export interface MachineParts {
  readonly image: GuestImage;
  readonly profile: Profile;
  /** Processors, or vCPUs with a processor for each; 1 unless told. */
  readonly processors?: number;
  /** Bytes of RAM that the guest gets. */
  readonly memorySize: number;
  /** Bytes for decoded code and the like, for each processor; 32 MiB unless told. */
  readonly engineMemory?: number;
  readonly engine: EngineFactory;
  /** Seed of everything random in the run. */
  readonly seed: string;
  /** In a VM the guest has VMX and may be a hypervisor; off unless told. The bare machine has it anyway. */
  readonly nested?: boolean;
  /** Bytes that wait at the guest's console. */
  readonly input?: Uint8Array;
  /** Hears each byte of the guest's console. */
  readonly onOutput?: (byte: number) => void;
}
