import { extract, isSet } from '../bits/bitfield.ts';
import { signed } from '../bits/u64.ts';
import type { MsrBus } from '../msr/bus.ts';
import { CFG_C, cfgCMask, counterExtensionMsrs } from '../msr/counter-extensions.ts';
import type { PmuShape } from '../msr/pmu-shape.ts';
import type { CounterBank } from './counter-bank.ts';
import type { Slot } from './slot.ts';

/** What CFG_C reloads its counter with: 32 bits, sign-extended as IA32_PMCx does it; a counter takes its width. */
export const reloadValue = ({ config }: Slot): bigint => signed(32, extract(config, CFG_C.RELOAD));

/** Puts IA32_PMC_x_CFG_B, _CFG_C and the reload registers of a bank on a bus; `change` runs what decides what counts. */
export function attachExtensions(
  bus: MsrBus,
  shape: PmuShape,
  { gp, fixed }: CounterBank,
  change: (effect: () => void) => void,
): void {
  const causes = (bank: ReadonlyMap<number, Slot>) => ({
    read: (i: number) => bank.get(i)!.causes,
    write: (v: bigint, i: number) =>
      change(() => {
        bank.get(i)!.causes = v;
      }),
  });
  const config = (bank: ReadonlyMap<number, Slot>) => ({
    read: (i: number) => bank.get(i)!.config,
    allows: (v: bigint, i: number) => (v & ~cfgCMask(shape, bank.get(i)!.mask)) === 0n,
    write: (v: bigint, i: number) =>
      change(() => {
        bank.get(i)!.config = v;
      }),
  });
  const reload = (bank: ReadonlyMap<number, Slot>) => ({
    read: (i: number) => extract(bank.get(i)!.config, CFG_C.RELOAD),
    write: (v: bigint, i: number) =>
      change(() => {
        const slot = bank.get(i)!;
        slot.config = (slot.config & ~CFG_C.RELOAD) | v;
      }),
  });
  // biome-ignore format: a table
  bus.attach(counterExtensionMsrs(shape), {
    IA32_PMC_GP_CFG_B: causes(gp),  IA32_PMC_FX_CFG_B: causes(fixed),
    IA32_PMC_GP_CFG_C: config(gp),  IA32_PMC_FX_CFG_C: config(fixed),
    IA32_PMC_RELOAD:   reload(gp),  IA32_FIXED_CTR_RELOAD: reload(fixed),
  });
}

/** Auto counter reload: every counter that names one of the overflowed ones takes its reload value. */
export function reload({ all }: CounterBank, overflowed: bigint): void {
  for (const slot of all) {
    if (isSet(slot.causes, overflowed)) slot.counter.load(reloadValue(slot));
  }
}
