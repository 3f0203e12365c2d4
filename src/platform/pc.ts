import { IO_APIC_ADDRESS, IoApic } from '../apic/io-apic.ts';
import type { ApicMessage } from '../apic/message.ts';
import type { ExternalInterrupts } from '../apic/ports.ts';
import type { MmioDevice, PhysicalMemory } from '../memory/physical-memory.ts';
import { acpiTables } from './acpi.ts';
import { BIOS_AREA } from './boot/bios.ts';
import { FIRMWARE_AREA, writeBiosDataArea } from './boot/memory-map.ts';
import type { Clock, Timed } from './clock.ts';
import { attachDebugConsole, attachDebugExit } from './debug-ports.ts';
import { FW_CFG_PORT, FwCfg, type FwCfgItems, fwCfgItems } from './fw-cfg.ts';
import { HPET_ADDRESS, Hpet } from './hpet.ts';
import { Pit } from './i8254.ts';
import { PicPair } from './i8259.ts';
import { EmptyPci, PCI_PORT } from './pci.ts';
import { PortBus } from './port-bus.ts';
import { ACPI_PORT, AcpiRegisters, attachResetPorts, ShutdownPort } from './power.ts';
import { Rtc } from './rtc.ts';
import { Serial } from './serial.ts';
import { TestDevice } from './test-device.ts';

export interface PcOptions extends FwCfgItems {
  readonly ramSize: number;
  /** Local APIC IDs of the processors, the bootstrap processor's first. */
  readonly apicIds: readonly number[];
  /** The date at power-up, seconds since 1970. */
  readonly epoch?: number;
  /** Ports of the test device: they lie where other hardware might. Off unless told. */
  readonly testDevice?: boolean;
}

/** What the board asks of the machine around it. */
export interface PcPorts extends Clock {
  /** A byte for the console. */
  output(byte: number): void;
  /** A write to the debug-exit port. */
  exit(value: number): void;
  shutdown(): void;
  reset(): void;
  /** An interrupt message for the local APICs. */
  send(message: ApicMessage): void;
  /** What the i8259 pair asks for may have changed, or when the devices next have something to do. */
  attention(): void;
}

const PORT = {
  COM1: 0x3f8,
  PIC1: 0x20,
  PIC2: 0xa0,
  ELCR: 0x4d0,
  PIT: 0x40,
  SYSTEM: 0x61,
  RTC: 0x70,
  SHUTDOWN: 0x8900,
} as const;
/** ISA interrupts. IRQ 0 is pin 2 of the I/O APIC, the others the pin of their number. */
const IRQ = { TIMER: 0, COM1: 4, RTC: 8, SCI: 9 } as const;
const TIMER_PIN = 2;
/** For SeaBIOS, which has no display here: its screen goes to COM1. */
const CONSOLE_PORT = Uint8Array.of(PORT.COM1 & 0xff, PORT.COM1 >> 8);

/** The board of a PC: every device around the processors, wired. */
export class Pc implements Timed {
  readonly ports = new PortBus();
  readonly com1: Serial;
  readonly pic: PicPair;
  readonly pit: Pit;
  readonly rtc: Rtc;
  readonly hpet: Hpet;
  readonly ioApic: IoApic;
  readonly fwCfg: FwCfg;
  readonly #pci: EmptyPci;
  readonly #acpi: AcpiRegisters;
  readonly #shutdownPort: ShutdownPort;
  readonly #testDevice = new TestDevice();
  readonly #options: PcOptions;

  constructor(options: PcOptions, ports: PcPorts) {
    const { ramSize, apicIds, epoch } = options;
    this.#options = options;
    this.ioApic = new IoApic((message) => ports.send(message));
    this.pic = new PicPair(() => ports.attention());
    const line = (irq: number) => (asserted: boolean) => this.setIrq(irq, asserted);
    this.com1 = new Serial({ transmit: (byte) => ports.output(byte), interrupt: line(IRQ.COM1) });
    // The HPET in legacy mode takes the lines of both.
    const unlessReplaced = (irq: number) => (asserted: boolean) => {
      if (!this.hpet.replacesLegacy) this.setIrq(irq, asserted);
    };
    this.pit = new Pit(ports, unlessReplaced(IRQ.TIMER));
    const date = epoch === undefined ? {} : { epoch };
    this.rtc = new Rtc({ ramSize, ...date }, ports, unlessReplaced(IRQ.RTC));
    this.hpet = new Hpet({
      now: () => ports.now(),
      interrupt: (pin, asserted) => this.ioApic.setPin(pin, asserted),
      legacyInterrupt: (irq, asserted) => this.setIrq(irq, asserted),
      moved: () => ports.attention(),
    });
    this.fwCfg = new FwCfg({
      ramSize,
      cpus: apicIds.length,
      ...fwCfgItems(options),
      files: { 'etc/sercon-port': CONSOLE_PORT, ...options.files },
    });
    this.#pci = new EmptyPci(() => ports.reset());
    this.#acpi = new AcpiRegisters({
      now: () => ports.now(),
      shutdown: () => ports.shutdown(),
      reset: () => ports.reset(),
      sci: line(IRQ.SCI),
    });
    this.#shutdownPort = new ShutdownPort(() => ports.shutdown());
    this.#attachPorts(ports);
  }

  /** The i8259 pair, for LINT0 of the bootstrap processor. */
  get external(): ExternalInterrupts {
    return this.pic;
  }

  /** Raises or lowers an ISA interrupt at both controllers. */
  setIrq(irq: number, asserted: boolean): void {
    if (irq < 16) this.pic.setIrq(irq, asserted);
    this.ioApic.setPin(irq === IRQ.TIMER ? TIMER_PIN : irq, asserted);
  }

  /** Puts the memory-mapped devices into the physical address space, the firmware's tables into RAM. */
  attachMemory(memory: PhysicalMemory): void {
    memory.attach(IO_APIC_ADDRESS, 0x1000, this.ioApic);
    memory.attach(HPET_ADDRESS, 0x400, this.hpet);
    memory.attach(BIOS_AREA.alias, BIOS_AREA.size, biosAlias(memory));
    writeBiosDataArea(memory);
    const { apicIds } = this.#options;
    memory.load(FIRMWARE_AREA, acpiTables({ apicIds, address: FIRMWARE_AREA, hpet: true }));
  }

  nextDeadline(): number {
    return Math.min(
      this.pit.nextDeadline(),
      this.rtc.nextDeadline(),
      this.hpet.nextDeadline(),
      this.#acpi.nextDeadline(),
    );
  }

  elapse(): void {
    this.pit.elapse();
    this.rtc.elapse();
    this.hpet.elapse();
    this.#acpi.elapse();
  }

  save() {
    return {
      com1: this.com1.save(),
      pic: this.pic.save(),
      pit: this.pit.save(),
      rtc: this.rtc.save(),
      hpet: this.hpet.save(),
      ioApic: this.ioApic.save(),
      fwCfg: this.fwCfg.save(),
      pci: this.#pci.save(),
      acpi: this.#acpi.save(),
      shutdownPort: this.#shutdownPort.save(),
      testDevice: this.#testDevice.save(),
    };
  }

  restore(saved: ReturnType<Pc['save']>): void {
    this.com1.restore(saved.com1);
    this.pit.restore(saved.pit);
    this.rtc.restore(saved.rtc);
    this.hpet.restore(saved.hpet);
    this.fwCfg.restore(saved.fwCfg);
    this.#pci.restore(saved.pci);
    this.#acpi.restore(saved.acpi);
    this.#shutdownPort.restore(saved.shutdownPort);
    this.#testDevice.restore(saved.testDevice);
    // Last: the devices' lines are already as these two remember them.
    this.pic.restore(saved.pic);
    this.ioApic.restore(saved.ioApic);
  }

  #attachPorts(ports: PcPorts): void {
    const bus = this.ports;
    bus.attachBytes(PORT.COM1, 8, this.com1);
    bus.attachBytes(PORT.PIC1, 2, this.pic.first);
    bus.attachBytes(PORT.PIC2, 2, this.pic.second);
    bus.attachBytes(PORT.ELCR, 2, this.pic.edgeLevelControl);
    bus.attachBytes(PORT.PIT, 4, this.pit);
    bus.attachBytes(PORT.SYSTEM, 1, this.pit.port61);
    bus.attachBytes(PORT.RTC, 2, this.rtc);
    bus.attach(FW_CFG_PORT, 2, this.fwCfg);
    bus.attach(PCI_PORT, 8, this.#pci);
    bus.attach(ACPI_PORT, 12, this.#acpi);
    bus.attachBytes(PORT.SHUTDOWN, 1, this.#shutdownPort);
    attachResetPorts(bus, () => ports.reset());
    attachDebugConsole(bus, (byte) => ports.output(byte));
    attachDebugExit(bus, (value) => ports.exit(value));
    if (this.#options.testDevice) {
      this.#testDevice.attach(bus, (irq, asserted) => this.setIrq(irq, asserted));
    }
  }
}

/** What lies below 1 MiB shows below 4 GiB, where the processor starts; it cannot be written there. */
const biosAlias = (memory: PhysicalMemory): MmioDevice => ({
  read: (offset, size) => memory.read(BIOS_AREA.base + offset, size as 1 | 2 | 4 | 8),
  write: () => {},
});
