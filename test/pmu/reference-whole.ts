import {
  type Answer,
  BIT,
  type ModelShape,
  type Occurrence,
  ReferencePmu,
} from './reference-model.ts';

/** What a whole PMU has beside its counters. */
export interface WholeShape extends ModelShape {
  /** Counters that may sample, and those of them that record the overflowing event itself. */
  readonly sampling: bigint;
  readonly precise: bigint;
  /** Bits of IA32_PEBS_ENABLE that are kept and do nothing. */
  readonly idle: bigint;
  /** Bytes of a record, of the PEBS buffer, and up to its threshold. */
  readonly record: number;
  readonly capacity: number;
  readonly threshold: number;
  /** The value every counter is reloaded with. */
  readonly reset: bigint;
}

const LBR_CTL_BITS = 0x7f_000fn;

/** The model with last branch records, PEBS, metrics and the local APIC's LVTPC, one event after the other. */
export class ReferenceWhole extends ReferencePmu {
  declare readonly shape: WholeShape;
  pebsEnable = 0n;
  /** Bytes in the buffer. */
  index = 0;
  lbrCtl = 0n;
  lbrSelect = 0n;
  depth = 32;
  /** FROM addresses, the newest first; how many were ever pushed since the stack was cleared. */
  stack: bigint[] = [];
  pushed = 0;
  /** LVTPC, and what it delivered. */
  lvtpc = BIT(16);
  nmis = 0;
  vectors = 0;
  private armed = new Set<number>();
  /** Slots by the byte of PERF_METRICS that shows their share. */
  private parts: bigint[] = Array(8).fill(0n);

  override powerUp(): void {
    const { lvtpc, nmis, vectors, index, pmis, cpl } = this;
    const kept = { lvtpc, nmis, vectors, index, pmis, cpl };
    Object.assign(this, new ReferenceWhole(this.shape), kept);
  }

  override init(): void {
    this.debugctl = 0n;
    this.lbrCtl = 0n;
  }

  override retire(what: Occurrence, from = 0n): void {
    if (what.branches > 0 && this.recording()) {
      this.stack = [from, ...this.stack].slice(0, this.depth);
      this.pushed += 1;
    }
    if ((this.ctrl & BIT(48)) !== 0n && this.fixedCounts(3)) {
      this.parts[0]! += BigInt(what.instructions);
      this.parts[3]! += BigInt(what.cycles - what.instructions);
    }
    super.retire(what);
  }

  /** Conditional branches of the current level, neither suppressed nor frozen; in call-stack mode they are no records. */
  private recording(): boolean {
    if ((this.status & BIT(58)) !== 0n || this.shape.lbr === 'none') return false;
    if (this.shape.lbr === 'legacy') {
      const suppressed =
        (this.lbrSelect & (this.cpl === 0 ? 1n : 2n)) !== 0n || (this.lbrSelect & 0x204n) !== 0n;
      return (this.debugctl & 1n) !== 0n && !suppressed;
    }
    const wanted = 1n | (this.cpl === 0 ? 2n : 4n) | BIT(16);
    return (this.lbrCtl & (wanted | 8n)) === wanted;
  }

  protected override sample(counter: number, wrapped: boolean, value: bigint): boolean | undefined {
    if ((this.pebsEnable & this.shape.sampling & BIT(counter)) === 0n) return undefined;
    const own = wrapped && ((this.shape.precise & BIT(counter)) !== 0n || value > 0n);
    const due = this.armed.has(counter) || own;
    this.armed.delete(counter);
    if (!due && wrapped) this.armed.add(counter);
    if (!due) return false;
    this.setCounter(counter, this.shape.reset);
    if (this.index + this.shape.record > this.shape.capacity) return false;
    this.index += this.shape.record;
    if (this.index < this.shape.threshold) return false;
    this.status |= BIT(62);
    return true;
  }

  /** The entry is masked by the delivery of what it lets through; what comes while it is masked is lost. */
  protected override interrupt(): void {
    if ((this.lvtpc & BIT(16)) !== 0n) return;
    this.lvtpc |= BIT(16);
    if ((this.lvtpc & 0x700n) === 0x400n) this.nmis += 1;
    else this.vectors += 1;
  }

  protected override inUse(): bigint {
    return super.inUse() | ((this.pebsEnable & this.shape.sampling) !== 0n ? BIT(63) : 0n);
  }

  override rdpmc(ecx: number): Answer {
    return ecx === 0x2000_0000 && this.shape.metrics ? this.metrics() : super.rdpmc(ecx);
  }

  override rdmsr(a: number): Answer {
    const { lbr, metrics, sampling } = this.shape;
    if (a === 0x3f1 && sampling !== 0n) return this.pebsEnable;
    if (a === 0x834) return this.lvtpc;
    if (a === 0x329 && metrics) return this.metrics();
    if (lbr === 'architectural') {
      if (a === 0x14ce) return this.lbrCtl;
      if (a === 0x14cf) return BigInt(this.depth);
      if (a >= 0x1500 && a < 0x1520) return this.stack[a - 0x1500] ?? 0n;
    } else if (lbr === 'legacy') {
      const top = this.pushed % 32;
      if (a === 0x1c8) return this.lbrSelect;
      if (a === 0x1c9) return BigInt(top);
      if (a >= 0x680 && a < 0x6a0) return this.stack[(top - (a - 0x680) + 32) % 32] ?? 0n;
    }
    return super.rdmsr(a);
  }

  override wrmsr(a: number, value: bigint): 'done' | '#GP' {
    const { lbr, metrics, sampling, idle } = this.shape;
    const within = (bits: bigint, take: () => void) => {
      if ((value & ~bits) !== 0n) return '#GP';
      take();
      return 'done';
    };
    if (a === 0x3f1 && sampling !== 0n) {
      return within(sampling | idle, () => {
        this.pebsEnable = value;
      });
    }
    if (a === 0x834) this.lvtpc = value;
    else if (a === 0x14ce && lbr === 'architectural') {
      return within(LBR_CTL_BITS, () => {
        this.lbrCtl = value;
      });
    } else if (a === 0x1c8 && lbr === 'legacy') {
      return within(0x3ffn, () => {
        this.lbrSelect = value;
      });
    } else if (a === 0x14cf && lbr === 'architectural') {
      if (![8n, 16n, 24n, 32n].includes(value)) return '#GP';
      this.depth = Number(value);
      this.stack = [];
      this.pushed = 0;
    } else if (a === 0x329 && metrics) {
      const slots = this.fix[3]!;
      this.parts = this.parts.map((_, i) => (((value >> BigInt(8 * i)) & 0xffn) * slots) / 255n);
    } else {
      const outcome = super.wrmsr(a, value);
      // A counter that is written starts anew, its overflow forgotten.
      if (outcome === 'done') this.armed.delete(this.counterAt(a) ?? -1);
      return outcome;
    }
    return 'done';
  }

  /** Fractions of 255, rounded to the nearest. */
  private metrics(): bigint {
    const slots = this.fix[3]!;
    if (slots === 0n) return 0n;
    const fraction = (part: bigint) => {
      const nearest = (510n * part + slots) / (2n * slots);
      return nearest > 255n ? 255n : nearest;
    };
    return this.parts.reduce((all, part, i) => all | (fraction(part) << BigInt(8 * i)), 0n);
  }
}
