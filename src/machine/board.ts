import type { ApicMessage } from '../apic/message.ts';
import type { MmioDevice, PhysicalMemory } from '../memory/physical-memory.ts';
import type { Clock } from '../platform/clock.ts';
import { Pc, type PcOptions } from '../platform/pc.ts';
import { Transcript } from './transcript.ts';

/** What the devices need of the processors they belong to. */
export interface BoardSurroundings extends Clock {
  /** An interrupt message from the I/O APIC. */
  send(message: ApicMessage): void;
  /** What the i8259 pair asks for may have changed, or when the devices next have something to do. */
  attention(): void;
}

/** How a guest ended its machine itself. */
export type BoardEnd = 'exit' | 'shutdown' | 'reset';

export interface BoardOptions {
  /** Called when the guest ends the machine. */
  readonly onExit: () => void;
  /** Called with each byte of the console. */
  readonly onOutput?: (byte: number) => void;
  /** Bytes that wait at the console. */
  readonly input?: Uint8Array;
  readonly pc?: PcOptions;
  /** Without them time stands still and no device interrupts. */
  readonly around?: BoardSurroundings;
}

const ALONE: BoardSurroundings = { now: () => 0, send: () => {}, attention: () => {} };

/** The devices of one guest, and what it has said and done through them. */
export class Board {
  readonly pc: Pc;
  /** How the guest ended the machine, once it has. */
  end: BoardEnd | undefined;
  /** What the guest wrote to the debug-exit port, once it has. */
  exitValue: number | undefined;
  readonly #output = new Transcript();
  readonly #transmitted: ((byte: number) => void) | undefined;

  constructor({ onExit, onOutput, input, pc, around = ALONE }: BoardOptions) {
    this.#transmitted = onOutput;
    const ended = (how: BoardEnd) => {
      this.end ??= how;
      onExit();
    };
    this.pc = new Pc(pc ?? { ramSize: 0, apicIds: [0] }, {
      now: () => around.now(),
      send: (message) => around.send(message),
      attention: () => around.attention(),
      output: (byte) => this.#emit(byte),
      exit: (value) => {
        this.exitValue ??= value;
        ended('exit');
      },
      shutdown: () => ended('shutdown'),
      reset: () => ended('reset'),
    });
    if (input) this.type(input);
  }

  get ports(): Pc['ports'] {
    return this.pc.ports;
  }

  /** Everything the guest has written to its console, as text. */
  get console(): string {
    return this.#output.text;
  }

  /** Sends bytes to the guest's console. */
  type(bytes: Iterable<number>): void {
    this.pc.com1.receive(bytes);
  }

  save() {
    return {
      pc: this.pc.save(),
      output: this.#output.save(),
      end: this.end,
      exitValue: this.exitValue,
    };
  }

  restore(saved: ReturnType<Board['save']>): void {
    this.pc.restore(saved.pc);
    this.#output.restore(saved.output);
    this.end = saved.end;
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
