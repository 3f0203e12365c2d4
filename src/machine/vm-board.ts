import type { ApicMessage } from '../apic/message.ts';
import type { VmOptions } from '../kvm/vm.ts';
import { PhysicalMemory } from '../memory/physical-memory.ts';
import { BIOS_AREA } from '../platform/boot/bios.ts';
import { type FwCfgItems, fwCfgItems } from '../platform/fw-cfg.ts';
import { Board } from './board.ts';
import { guestEmulator } from './emulator.ts';
import type { Hardware } from './hardware.ts';

export interface VmBoardParts {
  readonly hardware: Hardware;
  /** Where the guest's RAM lies in the machine's. */
  readonly ram: { readonly base: number; readonly size: number };
  readonly vcpus: number;
  /** What the guest is booted with. */
  readonly boot?: FwCfgItems;
  /** The clock of its devices, in ticks. */
  readonly now: () => number;
  /** An interrupt message for its vCPUs. */
  readonly deliver: (message: ApicMessage) => void;
  readonly onExit: () => void;
  readonly onOutput?: (byte: number) => void;
  readonly input?: Uint8Array;
}

/** What user space gives a VM: RAM by guest-physical address, a PC's devices, and the way to them from KVM. */
export class VmBoard {
  readonly board: Board;
  readonly memory: PhysicalMemory;
  readonly options: Pick<VmOptions, 'ram' | 'rom' | 'ports'>;

  constructor(parts: VmBoardParts) {
    const { hardware, ram, onExit, onOutput, input } = parts;
    const board = new Board({
      onExit,
      ...(onOutput && { onOutput }),
      ...(input && { input }),
      pc: {
        ramSize: ram.size,
        apicIds: Array.from({ length: parts.vcpus }, (_, id) => id),
        ...fwCfgItems(parts.boot ?? {}),
      },
      around: { now: parts.now, send: parts.deliver, attention: () => {} },
    });
    const { linear } = hardware.memory;
    const reserved = hardware.memory.offset(ram.base);
    const memory = new PhysicalMemory({ linear, reserved, ramSize: ram.size });
    const { pc } = board;
    pc.attachMemory(memory);
    this.board = board;
    this.memory = memory;
    this.options = {
      ram,
      rom: { address: BIOS_AREA.alias, of: BIOS_AREA.base, size: BIOS_AREA.size },
      ports: {
        io: board.ports,
        mmio: {
          read: (address, size) => memory.read(address, size as 1 | 2 | 4 | 8),
          write: (address, size, value) => memory.write(address, size as 1 | 2 | 4 | 8, value),
        },
        devices: {
          nextDeadline: () => pc.nextDeadline(),
          elapse: () => pc.elapse(),
          external: pc.external,
          endOfInterrupt: (vector) => pc.ioApic.endOfInterrupt(vector),
        },
        emulator: (cpu, guest) =>
          guestEmulator(hardware.processors[cpu]!, hardware, guest, board.ports),
      },
    };
  }
}
