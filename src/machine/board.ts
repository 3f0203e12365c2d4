import type { MmioDevice, PhysicalMemory } from '../memory/physical-memory.ts';
import { attachDebugConsole, attachDebugExit } from '../platform/debug-ports.ts';
import { PortBus } from '../platform/port-bus.ts';
import { Serial } from '../platform/serial.ts';

const COM1 = 0x3f8;

/** The devices around the processors that a guest reaches through ports: one set per guest. */
export class Board {
  readonly ports = new PortBus();
  readonly com1: Serial;
  /** What the guest wrote to the debug-exit port, once it has. */
  exitValue: number | undefined;
  readonly #output: number[] = [];
  readonly #exit: () => void;
  readonly #transmitted: ((byte: number) => void) | undefined;

  /** @param onExit called at the write to the debug-exit port; @param onOutput with each byte of the console. */
  constructor({ onExit, onOutput }: { onExit: () => void; onOutput?: (byte: number) => void }) {
    this.#exit = onExit;
    this.#transmitted = onOutput;
    this.com1 = new Serial({ transmit: (byte) => this.#emit(byte), interrupt: () => {} });
    this.ports.attachBytes(COM1, 8, this.com1);
    attachDebugConsole(this.ports, (byte) => this.#emit(byte));
    attachDebugExit(this.ports, (value) => {
      this.exitValue ??= value;
      this.#exit();
    });
  }

  /** Everything the guest has written to its console, as text. */
  get console(): string {
    return new TextDecoder().decode(new Uint8Array(this.#output));
  }

  save() {
    return { com1: this.com1.save(), output: [...this.#output], exitValue: this.exitValue };
  }

  restore(saved: ReturnType<Board['save']>): void {
    this.com1.restore(saved.com1);
    this.#output.splice(0, this.#output.length, ...saved.output);
    this.exitValue = saved.exitValue;
  }

  #emit(byte: number): void {
    this.#output.push(byte);
    this.#transmitted?.(byte);
  }
}

/** Puts a local APIC's page where every processor finds its own: whoever executes reaches its own APIC. */
export function attachApicPage(
  memory: PhysicalMemory,
  address: number,
  current: () => MmioDevice,
): void {
  memory.attach(address, 0x1000, {
    read: (offset, size) => current().read(offset, size),
    write: (offset, size, value) => current().write(offset, size, value),
  });
}
