import { type Clock, Frequency, type Timed } from './clock.ts';
import type { BytePortDevice, PortBus, PortDevice } from './port-bus.ts';

/** ACPI registers from this port: PM1 event block, PM1 control at +4, PM timer at +8. */
export const ACPI_PORT = 0x600;
/** Value of SLP_TYP that means "off" in the DSDT's \_S5. */
export const S5_TYPE = 0;

const PM = { STATUS: 0, ENABLE: 2, CONTROL: 4, TIMER: 8 } as const;
const SLEEP_ENABLE = 1 << 13;
const SCI_ENABLED = 1;
const PM_TIMER = new Frequency(3_579_545);
/** The timer's highest bit changes after so many cycles: that is its event, bit 0 of status and enable. */
const HALF_ROUND = 2 ** 23;
const TIMER_EVENT = 1;

/** What a guest can ask of the machine's power. */
export interface PowerPorts extends Clock {
  shutdown(): void;
  reset(): void;
  /** The system control interrupt, asserted while an enabled event stands. */
  sci(asserted: boolean): void;
}

/** The ACPI fixed hardware: power management registers and timer, whose carry is the only event. */
export class AcpiRegisters implements PortDevice, Timed {
  readonly #ports: PowerPorts;
  #enable = 0;
  /** Half rounds of the timer whose event has been cleared. */
  #cleared = 0;

  constructor(ports: PowerPorts) {
    this.#ports = ports;
  }

  nextDeadline(): number {
    const waits = (this.#enable & TIMER_EVENT) !== 0 && this.#status === 0;
    return waits ? PM_TIMER.ticks((this.#cleared + 1) * HALF_ROUND) : Infinity;
  }

  elapse(): void {
    if ((this.#enable & TIMER_EVENT) !== 0) this.#ports.sci(this.#status !== 0);
  }

  read(offset: number, size: number): number {
    if (offset >= PM.TIMER) {
      return (PM_TIMER.cycles(this.#ports.now()) & 0xff_ffff) >>> (8 * (offset - PM.TIMER));
    }
    if (offset === PM.ENABLE) return this.#enable;
    if (offset === PM.STATUS) return (this.#status | (size === 4 ? this.#enable << 16 : 0)) >>> 0;
    return offset === PM.CONTROL ? SCI_ENABLED : 0;
  }

  write(offset: number, size: number, value: number): void {
    if (offset === PM.STATUS && (value & TIMER_EVENT) !== 0) this.#cleared = this.#halfRounds();
    const enable = offset === PM.ENABLE ? value : size === 4 ? value >>> 16 : undefined;
    if (offset <= PM.ENABLE) {
      this.#enable = (enable ?? this.#enable) & 0xffff;
      this.#ports.sci((this.#enable & this.#status) !== 0);
    }
    if (offset === PM.CONTROL && size >= 2 && (value & SLEEP_ENABLE) !== 0) {
      if (((value >> 10) & 7) === S5_TYPE) this.#ports.shutdown();
    }
  }

  save(): { enable: number; cleared: number } {
    return { enable: this.#enable, cleared: this.#cleared };
  }

  restore(saved: { enable: number; cleared: number }): void {
    this.#enable = saved.enable;
    this.#cleared = saved.cleared;
  }

  #halfRounds(): number {
    return Math.floor(PM_TIMER.cycles(this.#ports.now()) / HALF_ROUND);
  }

  get #status(): number {
    return this.#halfRounds() > this.#cleared ? TIMER_EVENT : 0;
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
