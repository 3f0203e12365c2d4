import { isSet } from '../bits/bitfield.ts';
import type { HostPebs } from './host-pmu.ts';

/** An MSR that takes one value while the host runs and another while the guest does. */
export interface GuestMsr {
  readonly address: number;
  readonly host: bigint;
  readonly guest: bigint;
}

/** What KVM tells perf of a guest that has PEBS (struct kvm_pmu, as far as perf looks into it). */
export interface GuestPebs {
  readonly dsArea: bigint;
  readonly pebsEnable: bigint;
  /** Host counters behind guest counters of another index. */
  readonly crossMapped: bigint;
}

/** The counters on each side, as GLOBAL_CTRL names them. */
export interface CounterSides {
  /** Those that may count now. */
  readonly enabled: bigint;
  readonly excludeHost: bigint;
  readonly excludeGuest: bigint;
  /** Those of precise events. */
  readonly precise: bigint;
}

const MSR = {
  GLOBAL_CTRL: 0x38f,
  PEBS_ENABLE: 0x3f1,
  PEBS_DATA_CFG: 0x3f2,
  DS_AREA: 0x600,
} as const;

/** Guests can have PEBS where the processor writes records through EPT. Linux goes by model; here adaptive PEBS stands for it. */
export const canVirtualise = (pebs: HostPebs | undefined): boolean => pebs?.baseline ?? false;

/**
 * intel_guest_get_msrs: GLOBAL_CTRL on either side of a VM entry, first; and what of PEBS changes with the side. A PEBS
 * counter of the host is off in guests, who would be written into. A guest's samples only where its index is the
 * host's, because records name counters, and not while the host samples.
 */
export function guestMsrs(
  { enabled, excludeHost, excludeGuest, precise }: CounterSides,
  pebs: HostPebs | undefined,
  guest: GuestPebs | undefined,
): GuestMsr[] {
  const control = {
    address: MSR.GLOBAL_CTRL,
    host: enabled & ~excludeHost,
    guest: enabled & ~excludeGuest & ~precise,
  };
  if (!guest || !canVirtualise(pebs)) return [control];
  const hostSamples = isSet(precise, ~excludeHost);
  const seen = hostSamples ? -1n : ~guest.crossMapped;
  const sampling = hostSamples ? 0n : precise & ~excludeGuest & guest.pebsEnable & seen;
  return [
    { ...control, guest: (control.guest & seen) | (sampling & enabled) },
    // Root-mode software has no DS area: its precise events are sampled like others.
    { address: MSR.DS_AREA, host: 0n, guest: guest.dsArea },
    { address: MSR.PEBS_DATA_CFG, host: 0n, guest: 0n },
    { address: MSR.PEBS_ENABLE, host: 0n, guest: sampling },
  ];
}
