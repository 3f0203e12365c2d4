import type { Processor } from './processor.ts';

/** Everything of one processor that is not memory, as plain data. */
export function saveProcessor({ cpu, msrs, pmu, apic, vmx, instruments }: Processor) {
  return {
    // Settles the counters, so it comes before the totals are saved.
    pmu: pmu.save(),
    cpu: cpu.save(),
    msrs: msrs.save(),
    apic: apic.save(),
    vmx: vmx.save(),
    instruments: instruments.save(),
  };
}

export type SavedProcessor = ReturnType<typeof saveProcessor>;

/**
 * Restores a processor of the same profile; memory has been restored already.
 * @param samePages whether all page tables are as they were when it last ran: translations stay known
 */
export function restoreProcessor(
  processor: Processor,
  saved: SavedProcessor,
  { samePages = false } = {},
): void {
  const { cpu, msrs, pmu, apic, vmx, instruments } = processor;
  cpu.restore(saved.cpu);
  msrs.restore(saved.msrs);
  apic.restore(saved.apic);
  vmx.restore(saved.vmx);
  instruments.restore(saved.instruments);
  // The totals are those of the moment by now.
  pmu.restore(saved.pmu);
  if (!samePages) cpu.engine.flush({});
  cpu.attention();
}
