import { isSet } from '../../src/bits/bitfield.ts';
import type { Vpmu, VpmuOwner } from '../../src/kvm/vpmu/contract.ts';
import type { VpmuDesign } from '../../src/kvm/vpmu/designs.ts';
import { EmulatedVpmu } from '../../src/kvm/vpmu/emulated.ts';
import type { PmuEventFilter } from '../../src/kvm/vpmu/event-filter.ts';
import type { PmuExposure } from '../../src/kvm/vpmu/exposure.ts';
import { MediatedVpmu } from '../../src/kvm/vpmu/mediated.ts';
import { Perf, type PerfTask } from '../../src/perf/perf.ts';
import type { PmuProfile } from '../../src/pmu/profiles.ts';
import { physicalCpu } from '../host/rig.ts';

const GLOBAL_CTRL = 0x38f;
const LVT_MASKED = 0x1_0000n;

/** One vPMU on one physical CPU, and a guest that is nothing but work and register accesses. */
export function guestOn({
  design,
  exposure = {},
  profile,
  minimumPeriod,
}: {
  design: VpmuDesign;
  exposure?: PmuExposure;
  profile?: PmuProfile;
  minimumPeriod?: bigint;
}) {
  const cpu = physicalCpu(profile ? { profile } : {});
  const { host, ports } = cpu;
  const perf = new Perf([host], minimumPeriod === undefined ? {} : { minimumPeriod });
  const task: PerfTask = { name: 'vcpu', perf: undefined };
  const state = { pmis: 0, pmuRequested: false, pmiRequested: false, lvtpcMasked: false };
  let filter: PmuEventFilter | undefined;
  const owner: VpmuOwner = {
    task,
    host: () => host,
    requestPmu: () => {
      state.pmuRequested = true;
    },
    requestPmi: () => {
      state.pmiRequested = true;
    },
    pmiMasked: () => state.lvtpcMasked,
    debugctl: () => 0n,
    setIntercept: () => {},
    filter: () => filter,
  };
  host.onInterrupt(0xf5, () => vpmu.mediatedPmi());
  const parts = { owner, perf, host, design, exposure };
  const vpmu: Vpmu = design.kind === 'emulated' ? new EmulatedVpmu(parts) : new MediatedVpmu(parts);
  perf.taskIn(0, task);

  /** What the run loop does before an entry. */
  const requests = () => {
    while (state.pmuRequested || state.pmiRequested) {
      if (state.pmuRequested) {
        state.pmuRequested = false;
        vpmu.handleRequests();
      }
      if (!state.pmiRequested) continue;
      state.pmiRequested = false;
      // Delivery through the guest's LVTPC sets its mask bit.
      if (!state.lvtpcMasked) state.pmis += 1;
      state.lvtpcMasked = true;
    }
  };
  /** One VM entry, that much guest work at CPL 0 (or until a PMI), one VM exit. Answers what was done. */
  const run = (instructions: number, branches = 0): number => {
    requests();
    host.interruptsOff();
    vpmu.load();
    const sides = vpmu.globalCtrlSwitch();
    if (sides) ports.wrmsr(GLOBAL_CTRL, sides.guest);
    let done = 0;
    const share = (upTo: number) => Math.floor((branches * upTo) / Math.max(1, instructions));
    while (done < instructions && !ports.interruptPending()) {
      const slice = Math.min(instructions - done, Math.max(1, ports.horizon()));
      const work = {
        ticks: slice,
        instructions: slice,
        branches: share(done + slice) - share(done),
      };
      ports.retire(work, false);
      done += slice;
      ports.boundary();
    }
    const saved = sides?.save ? (ports.rdmsr(GLOBAL_CTRL) as bigint) : undefined;
    if (sides) ports.wrmsr(GLOBAL_CTRL, sides.host);
    vpmu.exited(saved);
    vpmu.put();
    host.interruptsOn();
    return done;
  };
  /** As much guest work, entering as often as it takes. */
  const work = (instructions: number, branches = 0): void => {
    let left = instructions;
    let branchesLeft = branches;
    while (left > 0) {
      const done = run(left, branchesLeft);
      branchesLeft -= Math.floor((branchesLeft * done) / left);
      left -= done;
    }
    requests();
  };
  /** WRMSR or RDMSR by the guest: a VM exit, or none; one instruction either way. */
  const wrmsr = (address: number, value: bigint): void => {
    if (!vpmu.intercepts(address, 'write')) throw new Error(`WRMSR ${address} passes`);
    const outcome = vpmu.wrmsr(address, value);
    if (outcome !== 'done') throw new Error(`WRMSR ${address}: ${outcome}`);
    vpmu.instructionRetired({ branch: false, cpl: 0 });
    requests();
  };
  const rdmsr = (address: number): bigint => {
    const value = vpmu.rdmsr(address);
    if (typeof value !== 'bigint') throw new Error(`RDMSR ${address}: ${value}`);
    vpmu.instructionRetired({ branch: false, cpl: 0 });
    requests();
    return value;
  };
  const setFilter = (next: PmuEventFilter | undefined) => {
    filter = next;
    vpmu.refresh();
    requests();
  };
  const lvtpc = (value: bigint) => {
    state.lvtpcMasked = isSet(value, LVT_MASKED);
  };
  return {
    cpu,
    host,
    perf,
    task,
    vpmu,
    state,
    run,
    work,
    wrmsr,
    rdmsr,
    requests,
    setFilter,
    lvtpc,
  };
}
