import { signed } from '../bits/u64.ts';
import type { MsrBus } from '../msr/bus.ts';
import type { pmuMsrs } from '../msr/pmu.ts';
import type { CounterBank } from './counter-bank.ts';
import type { GlobalRegisters } from './global-registers.ts';
import type { PerfMetrics } from './metrics.ts';
import type { Slot } from './slot.ts';

/** What the registers show and set. */
export interface RegisterParts {
  readonly bank: CounterBank;
  readonly globals: GlobalRegisters;
  readonly metrics: PerfMetrics | undefined;
  /** IA32_MISC_ENABLE. */
  readonly misc: { read(): bigint; write(value: bigint): void };
  /** The counters that sample. */
  sampling(): bigint;
  /** Reads something that may be behind. */
  settled<T>(read: () => T): T;
  /** Gives a counter a value. */
  load(slot: Slot, value: bigint): void;
  /** Changes something that decides what counts. */
  change(effect: () => void): void;
}

/** Puts the registers of counters, of their selection and of the global controls on a bus. */
export function attachRegisters(
  bus: MsrBus,
  msrs: ReturnType<typeof pmuMsrs>,
  { bank, globals, metrics, misc, sampling, settled, load, change }: RegisterParts,
): void {
  // A register takes a value, as a rule the one that it has: VM entries and hypervisors load what they find.
  const changeTo = (value: bigint, current: () => bigint, effect: () => void) => {
    if (value !== settled(current)) change(effect);
  };
  const gp = (i: number) => bank.gp.get(i)!;
  const fixed = (i: number) => bank.fixed.get(i)!;
  const gpValue = (i: number) => settled(() => gp(i).counter.value);
  const loadGp = (v: bigint, i: number) => load(gp(i), v);
  const select = {
    read: (i: number) => gp(i).control,
    allows: (v: bigint, i: number) => bank.maySelect(gp(i), v),
    write: (v: bigint, i: number) =>
      changeTo(
        v,
        () => gp(i).control,
        () => bank.select(gp(i), v),
      ),
  };
  const fixedCounter = {
    read: (i: number) => settled(() => fixed(i).counter.value),
    write: (v: bigint, i: number) => load(fixed(i), v),
  };
  const clear = {
    read: () => 0n,
    write: (v: bigint) =>
      change(() => {
        globals.status &= ~v;
      }),
  };

  // biome-ignore format: a table
  bus.attach(msrs, {
    // Three addresses, one counter: the oldest takes 32 bits and sign-extends them, the aliases take all.
    IA32_PMC:                      { read: gpValue, write: (v, i) => loadGp(signed(32, v), i) },
    IA32_A_PMC:                    { read: gpValue, write: loadGp },
    IA32_PMC_GP_CTR:               { read: gpValue, write: loadGp },
    IA32_PERFEVTSEL:               select,
    IA32_PMC_GP_CFG_A:             select,
    IA32_FIXED_CTR:                fixedCounter,
    IA32_PMC_FX_CTR:               fixedCounter,
    IA32_FIXED_CTR_CTRL:           { read: () => bank.fixedControl, write: (v) => changeTo(v, () => bank.fixedControl, () => { bank.fixedControl = v; }) },
    IA32_PERF_GLOBAL_CTRL:         { read: () => settled(() => globals.control), write: (v) => changeTo(v, () => globals.control, () => { globals.control = v; }) },
    IA32_PERF_GLOBAL_STATUS:       { read: () => settled(() => globals.status) },
    IA32_PERF_GLOBAL_OVF_CTRL:     clear,
    IA32_PERF_GLOBAL_STATUS_RESET: clear,
    IA32_PERF_GLOBAL_STATUS_SET:   { read: () => 0n, write: (v) => change(() => { globals.status |= v; }) },
    IA32_PERF_GLOBAL_INUSE:        { read: () => bank.inUse(sampling()) },
    IA32_DEBUGCTL:                 { read: () => settled(() => globals.debugctl), write: (v) => changeTo(v, () => globals.debugctl, () => { globals.debugctl = v; }) },
    IA32_MISC_ENABLE:              misc,
    MSR_PERF_METRICS:              { read: () => settled(() => metrics!.read(bank.slotsCounted)), write: (v) => change(() => metrics!.write(v, bank.slotsCounted)) },
  });
}
