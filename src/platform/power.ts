import { type Clock, Frequency } from './clock.ts';
import type { BytePortDevice, PortBus, PortDevice } from './port-bus.ts';

/** ACPI registers from this port: PM1 event block, PM1 control at +4, PM timer at +8. */
export const ACPI_PORT = 0x600;
/** Value of SLP_TYP that means "off" in the DSDT's \_S5. */
export const S5_TYPE = 0;

const PM = { STATUS: 0, ENABLE: 2, CONTROL: 4, TIMER: 8 } as const;
const SLEEP_ENABLE = 1 << 13;
const SCI_ENABLED = 1;
const PM_TIMER = new Frequency(3_579_545);

/** What a guest can ask of the machine's power. */
export interface PowerPorts extends Clock {
  shutdown(): void;
  reset(): void;
}

/** The ACPI fixed hardware: power management registers and timer. No event ever happens. */
export class AcpiRegisters implements PortDevice {
  readonly #ports: PowerPorts;
  #enable = 0;

  constructor(ports: PowerPorts) {
    this.#ports = ports;
  }

  read(offset: number, size: number): number {
    if (offset >= PM.TIMER) {
      return (PM_TIMER.cycles(this.#ports.now()) & 0xff_ffff) >>> (8 * (offset - PM.TIMER));
    }
    if (offset === PM.ENABLE) return this.#enable;
    if (offset === PM.STATUS && size === 4) return (this.#enable << 16) >>> 0;
    return offset === PM.CONTROL ? SCI_ENABLED : 0;
  }

  write(offset: number, size: number, value: number): void {
    if (offset === PM.ENABLE) this.#enable = value & 0xffff;
    if (offset === PM.CONTROL && size >= 2 && (value & SLEEP_ENABLE) !== 0) {
      if (((value >> 10) & 7) === S5_TYPE) this.#ports.shutdown();
    }
  }

  save(): { enable: number } {
    return { enable: this.#enable };
  }

  restore(saved: { enable: number }): void {
    this.#enable = saved.enable;
  }
}

const SHUTDOWN_TEXT = 'Shutdown';

/** Port 8900H of Bochs: the characters of "Shutdown", one after the other, switch the machine off. */
export class ShutdownPort implements BytePortDevice {
  readonly #shutdown: () => void;
  #seen = 0;

  constructor(shutdown: () => void) {
    this.#shutdown = shutdown;
  }

  read(): number {
    return 0xff;
  }

  write(_offset: number, value: number): void {
    const character = String.fromCharCode(value);
    if (character === SHUTDOWN_TEXT[this.#seen]) this.#seen += 1;
    else this.#seen = character === SHUTDOWN_TEXT[0] ? 1 : 0;
    if (this.#seen === SHUTDOWN_TEXT.length) this.#shutdown();
  }

  save(): { seen: number } {
    return { seen: this.#seen };
  }

  restore(saved: { seen: number }): void {
    this.#seen = saved.seen;
  }
}

const PULSE_RESET = 0xfe;
const A20_ON = 2;

/** Reset by the keyboard controller's output port (64H; there is no keyboard) and by port 92H. */
export function attachResetPorts(bus: PortBus, reset: () => void): void {
  bus.attachBytes(0x64, 1, {
    read: () => 0xff,
    write: (_offset, value) => {
      if (value === PULSE_RESET) reset();
    },
  });
  bus.attachBytes(0x92, 1, {
    read: () => A20_ON,
    write: (_offset, value) => {
      if ((value & 1) !== 0) reset();
    },
  });
}
