import type { ApicMsrName } from '../msr/apic.ts';
import type { MsrBehaviour, MsrBus } from '../msr/bus.ts';
import { LVT_ENTRIES, type LvtEntry } from './lvt.ts';
import type { MmioDevice } from './ports.ts';
import type { ApicState } from './state.ts';

/** What writes to the registers set off. */
export interface ApicEffects {
  attention(): void;
  endOfInterrupt(): void;
  /** The ICR, in the layout of x2APIC mode. */
  command(value: bigint): void;
  selfIpi(vector: number): void;
  writeBase(value: bigint): '#GP' | undefined;
  writeSivr(value: number): void;
  writeLvt(entry: LvtEntry, value: number): void;
  illegalRegister(): void;
}

/** A register as software meets it by either way. */
interface Register {
  readonly read?: () => number;
  readonly write?: (value: number) => void;
}

/** Version 14H, last LVT entry 5. */
const VERSION = 0x5_0014;
const LOW = 0xffff_ffffn;

/** The registers of the page by offset / 16. Vol. 3, "Local APIC Register Address Map". */
function describe(state: ApicState, effects: ApicEffects): ReadonlyMap<number, Register> {
  const { registers, timer, msrs } = state;
  const then = (effect: () => void) => {
    effect();
    effects.attention();
  };
  const icrMask = msrs.IA32_X2APIC_ICR.writable as bigint;
  const sivrMask = Number(msrs.IA32_X2APIC_SIVR.writable);

  // biome-ignore format: a table
  const map = new Map<number, Register>([
    [0x02, { read: () => registers.id << 24,          write: (value) => { registers.id = value >>> 24; } }],
    [0x03, { read: () => VERSION }],
    [0x08, { read: () => registers.tpr,               write: (value) => then(() => { registers.tpr = value & 0xff; }) }],
    [0x09, { read: () => 0 }],
    [0x0a, { read: () => state.processorPriority }],
    [0x0b, {                                          write: () => effects.endOfInterrupt() }],
    [0x0c, { read: () => 0 }],
    [0x0d, { read: () => registers.ldr,               write: (value) => { registers.ldr = value & 0xff00_0000; } }],
    [0x0e, { read: () => registers.dfr,               write: (value) => { registers.dfr = value | 0x0fff_ffff; } }],
    [0x0f, { read: () => registers.sivr,              write: (value) => effects.writeSivr(value & sivrMask) }],
    [0x28, { read: () => registers.esr,               write: () => { registers.esr = registers.errors; registers.errors = 0; } }],
    [0x30, { read: () => Number(registers.icr & LOW), write: (value) => effects.command((registers.icr & ~LOW) | (BigInt(value >>> 0) & icrMask)) }],
    [0x31, { read: () => Number(registers.icr >> 32n) << 24, write: (value) => { registers.icr = (registers.icr & LOW) | (BigInt(value >>> 24) << 32n); } }],
    [0x38, { read: () => timer.initialCount,          write: (value) => then(() => { timer.initialCount = value >>> 0; }) }],
    [0x39, { read: () => timer.currentCount }],
    [0x3e, { read: () => timer.divide,                write: (value) => then(() => { timer.divide = value; }) }],
  ]);
  for (let word = 0; word < 8; word++) {
    map.set(0x10 + word, { read: () => state.isr.words[word]! });
    map.set(0x18 + word, { read: () => state.tmr.words[word]! });
    map.set(0x20 + word, { read: () => state.irr.words[word]! });
  }
  for (const [index, entry] of LVT_ENTRIES.entries()) {
    const write = (value: number) => effects.writeLvt(entry, value);
    map.set(0x32 + index, { read: () => state.lvt.read(entry), write });
  }
  return map;
}

/** Software's two ways to the registers: the page of xAPIC mode and the MSRs of x2APIC mode. */
export function apicFaces(
  state: ApicState,
  effects: ApicEffects,
): { page: MmioDevice; attach(bus: MsrBus): void } {
  const map = describe(state, effects);
  return {
    page: registerPage(state, map, effects),
    attach: (bus) => bus.attach(state.msrs, msrBehaviours(state, map, effects)),
  };
}

/** The 4-KiB page. Registers are 32 bits wide, 16 bytes apart, and written whole. */
function registerPage(
  state: ApicState,
  map: ReadonlyMap<number, Register>,
  effects: ApicEffects,
): MmioDevice {
  const answers = () => state.enabled && !state.extended;
  return {
    read: (offset, size) => {
      const all = (1n << BigInt(size * 8)) - 1n;
      if (!answers()) return all;
      const register = map.get(offset >> 4);
      if (!register) effects.illegalRegister();
      if ((offset & 0xf) > 3) return 0n;
      const value = (register?.read?.() ?? 0) >>> 0;
      return BigInt(value >>> (8 * (offset & 3))) & all;
    },
    write: (offset, size, value) => {
      if (!answers() || size < 4 || (offset & 0xf) !== 0) return;
      const register = map.get(offset >> 4);
      if (register) register.write?.(Number(value & LOW));
      else effects.illegalRegister();
    },
  };
}

/** The MSRs from 800H fault outside x2APIC mode. Vol. 3, "x2APIC Register Address Space". */
function msrBehaviours(
  state: ApicState,
  map: ReadonlyMap<number, Register>,
  effects: ApicEffects,
): Readonly<Record<ApicMsrName, MsrBehaviour>> {
  const extended = (read?: () => bigint, write?: (value: bigint) => void): MsrBehaviour => ({
    read: () => (state.extended && read ? read() : '#GP'),
    write: (value) => (state.extended && write ? write(value) : '#GP'),
  });
  const at = (index: number): MsrBehaviour => {
    const { read, write } = map.get(index)!;
    return extended(
      read && (() => BigInt(read() >>> 0)),
      write && ((value) => write(Number(value))),
    );
  };
  const bank = (first: number): MsrBehaviour => ({ read: (index) => at(first + index).read!(0) });
  const deadline = (value: bigint) => {
    state.timer.tscDeadline = value;
    effects.attention();
  };

  // biome-ignore format: a table
  return {
    IA32_APIC_BASE:          { read: () => state.registers.base, write: effects.writeBase },
    IA32_TSC_DEADLINE:       { read: () => state.timer.tscDeadline, write: deadline },
    IA32_X2APIC_APICID:      extended(() => BigInt(state.options.id)),
    IA32_X2APIC_VERSION:     at(0x03),
    IA32_X2APIC_TPR:         at(0x08),
    IA32_X2APIC_PPR:         at(0x0a),
    IA32_X2APIC_EOI:         at(0x0b),
    IA32_X2APIC_LDR:         extended(() => BigInt(state.logicalId >>> 0)),
    IA32_X2APIC_SIVR:        at(0x0f),
    IA32_X2APIC_ISR:         bank(0x10),
    IA32_X2APIC_TMR:         bank(0x18),
    IA32_X2APIC_IRR:         bank(0x20),
    IA32_X2APIC_ESR:         at(0x28),
    IA32_X2APIC_ICR:         extended(() => state.registers.icr, effects.command),
    IA32_X2APIC_LVT_TIMER:   at(0x32),
    IA32_X2APIC_LVT_THERMAL: at(0x33),
    IA32_X2APIC_LVT_PMI:     at(0x34),
    IA32_X2APIC_LVT_LINT0:   at(0x35),
    IA32_X2APIC_LVT_LINT1:   at(0x36),
    IA32_X2APIC_LVT_ERROR:   at(0x37),
    IA32_X2APIC_INIT_COUNT:  at(0x38),
    IA32_X2APIC_CUR_COUNT:   at(0x39),
    IA32_X2APIC_DIV_CONF:    at(0x3e),
    IA32_X2APIC_SELF_IPI:    extended(undefined, (value) => effects.selfIpi(Number(value))),
  };
}
