import type { BytePortDevice } from './port-bus.ts';

export interface SavedPic {
  lines: number;
  irr: number;
  isr: number;
  imr: number;
  elcr: number;
  vectorBase: number;
  lowestPriority: number;
  initStep: number;
  icw4Expected: boolean;
  single: boolean;
  autoEoi: boolean;
  rotateOnAutoEoi: boolean;
  specialMask: boolean;
  specialFullyNested: boolean;
  readIsr: boolean;
  poll: boolean;
}

/** Edge- and level-control bits that can be set: IRQ 0, 1, 2, 8 and 13 are always edge-triggered. */
export const ELCR_MASK = [0xf8, 0xde] as const;

/** One i8259A. Intel, "8259A Programmable Interrupt Controller" data sheet. */
export class Pic implements BytePortDevice {
  readonly #elcrMask: number;
  readonly #output: () => void;
  #lines = 0;
  #irr = 0;
  #isr = 0;
  #imr = 0;
  #elcr = 0;
  #vectorBase = 0;
  /** The line that ranks last. */
  #lowestPriority = 7;
  /** Next initialisation word, 0 outside initialisation. */
  #initStep = 0;
  #icw4Expected = false;
  #single = false;
  #autoEoi = false;
  #rotateOnAutoEoi = false;
  #specialMask = false;
  #specialFullyNested = false;
  #readIsr = false;
  #poll = false;

  /** @param output called whenever the INT output may have changed. */
  constructor(elcrMask: number, output: () => void) {
    this.#elcrMask = elcrMask;
    this.#output = output;
  }

  setLine(line: number, asserted: boolean): void {
    const mask = 1 << line;
    const rising = asserted && (this.#lines & mask) === 0;
    this.#lines = asserted ? this.#lines | mask : this.#lines & ~mask;
    const level = (this.#elcr & mask) !== 0;
    if (level ? asserted : rising) this.#irr |= mask;
    // A request must last until it is acknowledged: one that goes away early becomes spurious.
    else if (!asserted) this.#irr &= ~mask;
    this.#output();
  }

  /** The line that INT asks for, or -1. */
  requested(cascade = -1): number {
    const requests = this.#irr & ~this.#imr;
    if (requests === 0) return -1;
    for (let rank = 0; rank < 8; rank++) {
      const line = (this.#lowestPriority + 1 + rank) & 7;
      const mask = 1 << line;
      const nested = this.#specialFullyNested && line === cascade;
      if ((requests & mask) !== 0 && ((this.#isr & mask) === 0 || nested)) return line;
      if ((this.#isr & mask) !== 0 && !(this.#specialMask && (this.#imr & mask) !== 0) && !nested) {
        return -1;
      }
    }
    return -1;
  }

  /** INTA: the line goes into service. Without a request it is line 7, and nothing changes. */
  acknowledge(cascade = -1): number {
    const line = this.requested(cascade);
    if (line < 0) return 7;
    const mask = 1 << line;
    if ((this.#elcr & mask) === 0) this.#irr &= ~mask;
    if (!this.#autoEoi) this.#isr |= mask;
    else if (this.#rotateOnAutoEoi) this.#lowestPriority = line;
    this.#output();
    return line;
  }

  vector(line: number): number {
    return this.#vectorBase | line;
  }

  read(offset: number): number {
    if (this.#poll) {
      this.#poll = false;
      const line = this.requested();
      return line < 0 ? 0 : 0x80 | this.acknowledge();
    }
    if (offset === 1) return this.#imr;
    return this.#readIsr ? this.#isr : this.#irr;
  }

  write(offset: number, value: number): void {
    if (offset === 0) {
      if ((value & 0x10) !== 0) this.#initialise(value);
      else if ((value & 0x08) !== 0) this.#command3(value);
      else this.#command2(value);
    } else if (this.#initStep !== 0) {
      this.#initialisationWord(value);
    } else {
      this.#imr = value;
    }
    this.#output();
  }

  get elcr(): number {
    return this.#elcr;
  }

  set elcr(value: number) {
    this.#elcr = value & this.#elcrMask;
    this.#irr |= this.#lines & this.#elcr;
    this.#output();
  }

  save(): SavedPic {
    return {
      lines: this.#lines,
      irr: this.#irr,
      isr: this.#isr,
      imr: this.#imr,
      elcr: this.#elcr,
      vectorBase: this.#vectorBase,
      lowestPriority: this.#lowestPriority,
      initStep: this.#initStep,
      icw4Expected: this.#icw4Expected,
      single: this.#single,
      autoEoi: this.#autoEoi,
      rotateOnAutoEoi: this.#rotateOnAutoEoi,
      specialMask: this.#specialMask,
      specialFullyNested: this.#specialFullyNested,
      readIsr: this.#readIsr,
      poll: this.#poll,
    };
  }

  restore(saved: SavedPic): void {
    this.#lines = saved.lines;
    this.#irr = saved.irr;
    this.#isr = saved.isr;
    this.#imr = saved.imr;
    this.#elcr = saved.elcr;
    this.#vectorBase = saved.vectorBase;
    this.#lowestPriority = saved.lowestPriority;
    this.#initStep = saved.initStep;
    this.#icw4Expected = saved.icw4Expected;
    this.#single = saved.single;
    this.#autoEoi = saved.autoEoi;
    this.#rotateOnAutoEoi = saved.rotateOnAutoEoi;
    this.#specialMask = saved.specialMask;
    this.#specialFullyNested = saved.specialFullyNested;
    this.#readIsr = saved.readIsr;
    this.#poll = saved.poll;
  }

  /** ICW1. */
  #initialise(value: number): void {
    this.#initStep = 2;
    this.#icw4Expected = (value & 1) !== 0;
    this.#single = (value & 2) !== 0;
    this.#imr = 0;
    this.#isr = 0;
    this.#irr = this.#lines & this.#elcr;
    this.#lowestPriority = 7;
    this.#autoEoi = false;
    this.#rotateOnAutoEoi = false;
    this.#specialMask = false;
    this.#specialFullyNested = false;
    this.#readIsr = false;
  }

  /** ICW2 the vector, ICW3 the wiring (fixed here), ICW4 the modes. */
  #initialisationWord(value: number): void {
    const last = this.#icw4Expected ? 4 : this.#single ? 2 : 3;
    if (this.#initStep === 2) this.#vectorBase = value & 0xf8;
    if (this.#initStep === 4) {
      this.#autoEoi = (value & 2) !== 0;
      this.#specialFullyNested = (value & 0x10) !== 0;
    }
    if (this.#initStep >= last) this.#initStep = 0;
    else this.#initStep += this.#initStep === 2 && this.#single ? 2 : 1;
  }

  /** OCW2: the forms of end of interrupt, and rotation. */
  #command2(value: number): void {
    const [rotate, specific, eoi] = [value & 0x80, value & 0x40, value & 0x20];
    const named = value & 7;
    if (eoi !== 0) {
      const line = specific !== 0 ? named : this.#highestInService();
      if (line < 0) return;
      this.#isr &= ~(1 << line);
      if (rotate !== 0) this.#lowestPriority = line;
    } else if (specific !== 0) {
      if (rotate !== 0) this.#lowestPriority = named;
    } else {
      this.#rotateOnAutoEoi = rotate !== 0;
    }
  }

  /** OCW3: what port 0 reads, poll, special mask mode. */
  #command3(value: number): void {
    if ((value & 0x40) !== 0) this.#specialMask = (value & 0x20) !== 0;
    if ((value & 0x04) !== 0) this.#poll = true;
    else if ((value & 0x02) !== 0) this.#readIsr = (value & 0x01) !== 0;
  }

  #highestInService(): number {
    for (let rank = 0; rank < 8; rank++) {
      const line = (this.#lowestPriority + 1 + rank) & 7;
      const masked = this.#specialMask && (this.#imr & (1 << line)) !== 0;
      if ((this.#isr & (1 << line)) !== 0 && !masked) return line;
    }
    return -1;
  }
}

const CASCADE = 2;

/** The PC's two controllers, the second behind line 2 of the first: IRQ 0 to 15. */
export class PicPair {
  readonly first: Pic;
  readonly second: Pic;

  /** @param attention called whenever the pair's INT output may have changed. */
  constructor(attention: () => void) {
    this.first = new Pic(ELCR_MASK[0], attention);
    this.second = new Pic(ELCR_MASK[1], () => this.#cascade());
  }

  setIrq(irq: number, asserted: boolean): void {
    if (irq === CASCADE) return;
    if (irq < 8) this.first.setLine(irq, asserted);
    else this.second.setLine(irq - 8, asserted);
  }

  /** The vector that INTA would give now. */
  pendingVector(): number | undefined {
    const line = this.first.requested(CASCADE);
    if (line < 0) return undefined;
    if (line !== CASCADE) return this.first.vector(line);
    const second = this.second.requested();
    return this.second.vector(second < 0 ? 7 : second);
  }

  acknowledge(): number {
    const line = this.first.acknowledge(CASCADE);
    if (line !== CASCADE) return this.first.vector(line);
    return this.second.vector(this.second.acknowledge());
  }

  /** Ports 4D0H and 4D1H. */
  readonly edgeLevelControl: BytePortDevice = {
    read: (offset) => (offset === 0 ? this.first : this.second).elcr,
    write: (offset, value) => {
      (offset === 0 ? this.first : this.second).elcr = value;
    },
  };

  save(): { first: SavedPic; second: SavedPic } {
    return { first: this.first.save(), second: this.second.save() };
  }

  restore(saved: { first: SavedPic; second: SavedPic }): void {
    this.first.restore(saved.first);
    this.second.restore(saved.second);
  }

  /** The second controller's INT output is line 2 of the first: a new request is a new edge. */
  #cascade(): void {
    const requested = this.second.requested() >= 0;
    this.first.setLine(CASCADE, false);
    if (requested) this.first.setLine(CASCADE, true);
  }
}
