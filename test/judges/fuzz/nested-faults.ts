import { type Fault, of } from '../kvm/faults.ts';

/** What lies between a guest's guest and the PMU: bitmaps, controls, lists, GLOBAL_CTRL, what L1 is told of an exit. */
// biome-ignore format: a table
export const NESTED_FAULTS: readonly Fault[] = [
  ...of('src/kvm/nested/msr-bitmap.ts', [
    ['memory.read(own + 8 * i, 8) | guestMemory.read(guest + 8 * i, 8)', 'guestMemory.read(guest + 8 * i, 8)'],
    ['memory.read(own + 8 * i, 8) | guestMemory.read(guest + 8 * i, 8)', 'memory.read(own + 8 * i, 8)'],
  ]),
  ...of('src/kvm/nested/vmcs02.ts', [
    ['~(usesBitmap ? 0 : PRIMARY.USE_MSR_BITMAPS) &\n', ''],
    ['~(vpmu.rdpmcExits || (l1.primary & PRIMARY.RDPMC_EXITING) !== 0 ? 0', '~((l1.primary & PRIMARY.RDPMC_EXITING) !== 0 ? 0'],
    ['~(vpmu.rdpmcExits || (l1.primary & PRIMARY.RDPMC_EXITING) !== 0 ? 0', '~(vpmu.rdpmcExits ? 0'],
    ['  writeInjection(vcpu, nested);\n', ''],
  ]),
  ...of('src/kvm/nested/l1-wants.ts', [
    ['if (!nested.primary(PRIMARY.USE_MSR_BITMAPS)) return true;', 'if (!nested.primary(PRIMARY.USE_MSR_BITMAPS)) return false;'],
    ['primary(PRIMARY.RDPMC_EXITING)', 'never'],
    ["msr('write')", "msr('read')"],
  ]),
  ...of('src/kvm/nested/enter.ts', [
    ['vcpu.countRetired(false);', ''],
    ['loadMsr(vcpu, MSR.GLOBAL_CTRL, vmcs12.read(FIELDS.GUEST_IA32_PERF_GLOBAL_CTRL));', ''],
    ['const qualification = BigInt(failed);', 'const qualification = BigInt(failed - 1);'],
    ['if (failed !== undefined) {', 'if (failed === -1) {'],
    ['if (broken) {', 'if (broken && !nested.entry(ENTRY.LOAD_IA32_PERF_GLOBAL_CTRL)) {'],
  ]),
  ...of('src/kvm/nested/leave.ts', [
    ['if (stored !== undefined) abort(nested, VMX_ABORT.SAVING_MSRS);\n  else if', 'if'],
    ['if (failed !== undefined) abort(nested, VMX_ABORT.LOADING_MSRS);', ''],
    ['vmcs12.read32(FIELDS.VM_EXIT_MSR_STORE_COUNT)', '0'],
    ['vmcs12.read32(FIELDS.VM_EXIT_MSR_LOAD_COUNT)', '0'],
    ['for (const name of EXIT_INFORMATION) vmcs12.write(FIELDS[name], vcpu.read(name));', ''],
    ['vmcs12.write(FIELDS.GUEST_IA32_PERF_GLOBAL_CTRL, vcpu.vpmu.pmu.globalCtrl);', ''],
    // The lists reach the physical registers.
    ['readMsr(vcpu, address)', 'vcpu.host.rdmsrSafe(address)'],
    ['loadMsr(vcpu, address, value)', 'vcpu.host.wrmsrSafe(address, value)'],
  ]),
  ...of('src/kvm/nested/host-state.ts', [
    ['loadMsr(vcpu, MSR.GLOBAL_CTRL, vmcs12.read(FIELDS.HOST_IA32_PERF_GLOBAL_CTRL));', ''],
  ]),
  ...of('src/kvm/nested/nested-vmx.ts', [
    ['vpmu.pmu.accepts(address, value)', 'true'],
    ['globalCtrl: vpmu.pmu.shape.version >= 2', 'globalCtrl: true'],
  ]),
  ...of('src/kvm/nested/events.ts', [
    ['const exits = nested.pin(PIN.NMI_EXITING);', 'const exits = false;'],
    ['  apic.takeNmi();\n  leaveFor', '  leaveFor'],
  ]),
];
