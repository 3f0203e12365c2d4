import type { PortDevice } from './port-bus.ts';

export const FW_CFG_PORT = 0x510;

/** Fixed selectors. QEMU, docs/specs/fw_cfg.rst. */
// biome-ignore format: a table
export const FW_CFG = {
  SIGNATURE: 0x00,  ID: 0x01,  RAM_SIZE: 0x03,  CPUS: 0x05,  KERNEL_ADDRESS: 0x07,  KERNEL_SIZE: 0x08,
  INITRD_ADDRESS: 0x0a,  INITRD_SIZE: 0x0b,  CMDLINE_SIZE: 0x14,  CMDLINE: 0x15,  INITRD: 0x12,  MAX_CPUS: 0x0f,
  FILE_DIRECTORY: 0x19,  FIRST_FILE: 0x20,
} as const;

/** What a guest is told that its boot protocol may tell it, too. */
export interface FwCfgItems {
  readonly commandLine?: string;
  readonly initrd?: Uint8Array;
  /** Files by name. */
  readonly files?: Readonly<Record<string, Uint8Array>>;
}

/** These of what may be more. */
export const fwCfgItems = ({ commandLine, initrd, files }: FwCfgItems): FwCfgItems => ({
  ...(commandLine !== undefined && { commandLine }),
  ...(initrd && { initrd }),
  ...(files && { files }),
});

export interface FwCfgContent extends FwCfgItems {
  readonly ramSize: number;
  readonly cpus: number;
}

const number = (bytes: number, value: number): Uint8Array => {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, BigInt(value), true);
  return new Uint8Array(view.buffer, 0, bytes);
};

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

/** QEMU's configuration device: a 16-bit selector, and a data port that reads the selected item byte by byte. */
export class FwCfg implements PortDevice {
  readonly #items = new Map<number, Uint8Array>();
  #selected = 0;
  #position = 0;

  constructor({ ramSize, cpus, commandLine, initrd, files = {} }: FwCfgContent) {
    const items = this.#items;
    items.set(FW_CFG.SIGNATURE, text('QEMU'));
    items.set(FW_CFG.ID, number(4, 1)); // the port interface, no DMA
    items.set(FW_CFG.RAM_SIZE, number(8, ramSize));
    items.set(FW_CFG.CPUS, number(2, cpus));
    items.set(FW_CFG.MAX_CPUS, number(2, cpus));
    if (commandLine !== undefined) {
      const bytes = text(`${commandLine}\0`);
      items.set(FW_CFG.CMDLINE, bytes);
      items.set(FW_CFG.CMDLINE_SIZE, number(4, bytes.length));
    }
    if (initrd) {
      items.set(FW_CFG.INITRD, initrd);
      items.set(FW_CFG.INITRD_SIZE, number(4, initrd.length));
    }
    const names = Object.keys(files).sort();
    for (const [index, name] of names.entries()) {
      items.set(FW_CFG.FIRST_FILE + index, files[name]!);
    }
    items.set(
      FW_CFG.FILE_DIRECTORY,
      directory(names.map((name) => ({ name, size: files[name]!.length }))),
    );
  }

  /** Beyond its end an item reads as zeros, as does one that does not exist. */
  read(offset: number, size: number): number {
    let value = 0;
    for (let i = 0; i < size; i++) {
      const byte =
        offset + i === 1 ? (this.#items.get(this.#selected)?.[this.#position++] ?? 0) : 0;
      value |= byte << (8 * i);
    }
    return value;
  }

  write(offset: number, size: number, value: number): void {
    if (offset !== 0 || size !== 2) return;
    this.#selected = value;
    this.#position = 0;
  }

  save(): { selected: number; position: number } {
    return { selected: this.#selected, position: this.#position };
  }

  restore(saved: { selected: number; position: number }): void {
    this.#selected = saved.selected;
    this.#position = saved.position;
  }
}

/** Count, then {size u32, selector u16, reserved u16, name 56 bytes}; all big-endian. */
function directory(files: readonly { name: string; size: number }[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(4 + 64 * files.length));
  view.setUint32(0, files.length);
  for (const [index, { name, size }] of files.entries()) {
    const at = 4 + 64 * index;
    view.setUint32(at, size);
    view.setUint16(at + 4, FW_CFG.FIRST_FILE + index);
    new Uint8Array(view.buffer, at + 8, 55).set(text(name).subarray(0, 55));
  }
  return new Uint8Array(view.buffer);
}
