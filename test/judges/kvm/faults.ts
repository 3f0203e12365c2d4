/** A fault planted in src/kvm or src/perf: one stretch of code replaced. `from` occurs exactly once in the file. */
export interface Fault {
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

/** Faults of one file. */
export const of = (
  file: string,
  pairs: readonly (readonly [from: string, to: string])[],
): Fault[] => pairs.map(([from, to]) => ({ file, from, to }));

/** Each load and put step, each row of the policy table, each step of the emulated design's state machine. */
// biome-ignore format: a table
export const FAULTS: readonly Fault[] = [
  ...of('src/kvm/vpmu/mediated.ts', [
    ['if (this.#hostHasPmu) this.#perf.loadGuestContext(host.id, this.#meeting);', ''],
    ['    host.wrmsr(MSR.GLOBAL_CTRL, 0n);\n', ''],
    ['this.#perf.loadGuestLvtpc(host.id, this.#lvtpcMasked);', ''],
    ['this.#lvtpcMasked = this.#owner.pmiMasked();', 'this.#lvtpcMasked = false;'],
    ['!this.design.elides || host.rdpmc(rdpmcIndex(pmc)) !== value', 'false'],
    ['!this.design.elides || host.rdpmc(rdpmcIndex(pmc)) !== value', 'true'],
    ['host.wrmsr(MSR.PERFEVTSEL0 + pmc.index, this.#selectorHw.get(pmc.index)!);', ''],
    ['if ((toggled & status) !== 0n) host.wrmsr(MSR.GLOBAL_STATUS_RESET, toggled & status);', ''],
    ['if ((toggled & ~status) !== 0n) host.wrmsr(MSR.GLOBAL_STATUS_SET, toggled & ~status);', ''],
    ['host.wrmsr(MSR.FIXED_CTR_CTRL, this.#fixedCtrlHw);\n    this.#extras', 'this.#extras'],
    ['this.#extras.load(host);', ''],
    ['this.#extras.put(host);', ''],
    ['this.pmu.globalStatus = host.rdmsr(MSR.GLOBAL_STATUS);\n    if', 'if'],
    ['if (this.pmu.globalStatus !== 0n) host.wrmsr(MSR.GLOBAL_STATUS_RESET, this.pmu.globalStatus);', ''],
    ["if (this.#passes('selectors')) this.#readBackSelectors(host);", ''],
    ['if (this.#fixedCtrlHw !== 0n) host.wrmsr(MSR.FIXED_CTR_CTRL, 0n);', ''],
    ['this.#counters.set(pmc.index, value);\n      if (value', 'if (value'],
    ['if (value !== 0n) host.wrmsr(counterAddress(pmc), 0n);', ''],
    ['!== 0n) {\n        host.wrmsr(MSR.PERFEVTSEL0 + pmc.index, 0n);', '!== 0n) {'],
    ['this.#perf.putGuestLvtpc(host.id);', ''],
    ['if (this.#hostHasPmu) this.#perf.putGuestContext(host.id);', ''],
    ['if (masked === this.#lvtpcMasked) return;', 'return;'],
    ['return { guest: this.pmu.globalCtrl, host: 0n,', 'return { guest: this.pmu.globalCtrl, host: this.pmu.globalCtrl,'],
    ["host: 0n, save: this.#passes('global')", 'host: 0n, save: false'],
    ['    this.pmu.globalCtrl = saved;\n', ''],
    ['const value = (this.#read(pmc) + 1n) & this.pmu.mask;', 'const value = (this.#read(pmc) + 2n) & this.pmu.mask;'],
    ['this.pmu.globalStatus |= pmc.mask;', ''],
    ['if (this.pmu.localControl(pmc).interrupt) this.#owner.requestPmi();', ''],
    ['allowed ? pmc.eventsel : pmc.eventsel & ~PERFEVTSEL.EN', 'pmc.eventsel'],
    ['(allowed ? this.pmu.fixedCtrl & nibble : 0n)', '(this.pmu.fixedCtrl & nibble)'],
    ['this.#lvtpcMasked = true;\n    this.#owner.requestPmi();', ''],
    ['if (this.#loaded) this.#host.wrmsr(MSR.PERFEVTSEL0 + pmc.index, selector);', ''],
  ]),
  ...of('src/kvm/vpmu/designs.ts', [
    ["interception: { counters: 'pass', 'counters-beyond': 'trap', global: 'pass-if-whole', selectors: 'trap', rdpmc: 'pass-if-whole', extras: 'trap', others: 'trap' }", "interception: { counters: 'trap', 'counters-beyond': 'trap', global: 'pass-if-whole', selectors: 'trap', rdpmc: 'pass-if-whole', extras: 'trap', others: 'trap' }"],
    ["interception: { counters: 'pass', 'counters-beyond': 'trap', global: 'pass-if-whole', selectors: 'trap', rdpmc: 'pass-if-whole', extras: 'trap', others: 'trap' }", "interception: { counters: 'pass', 'counters-beyond': 'pass', global: 'pass-if-whole', selectors: 'trap', rdpmc: 'pass-if-whole', extras: 'trap', others: 'trap' }"],
    ["interception: { counters: 'pass', 'counters-beyond': 'trap', global: 'pass-if-whole', selectors: 'trap', rdpmc: 'pass-if-whole', extras: 'trap', others: 'trap' }", "interception: { counters: 'pass', 'counters-beyond': 'trap', global: 'pass', selectors: 'trap', rdpmc: 'pass-if-whole', extras: 'trap', others: 'trap' }"],
    ["interception: { counters: 'pass', 'counters-beyond': 'trap', global: 'pass-if-whole', selectors: 'trap', rdpmc: 'pass-if-whole', extras: 'trap', others: 'trap' }", "interception: { counters: 'pass', 'counters-beyond': 'trap', global: 'pass-if-whole', selectors: 'pass', rdpmc: 'pass-if-whole', extras: 'trap', others: 'trap' }"],
    ["interception: { counters: 'pass', 'counters-beyond': 'trap', global: 'pass-if-whole', selectors: 'trap', rdpmc: 'pass-if-whole', extras: 'trap', others: 'trap' }", "interception: { counters: 'pass', 'counters-beyond': 'trap', global: 'pass-if-whole', selectors: 'trap', rdpmc: 'pass', extras: 'trap', others: 'trap' }"],
    ["interception: { counters: 'pass', 'counters-beyond': 'trap', global: 'pass-if-whole', selectors: 'trap', rdpmc: 'pass-if-whole', extras: 'trap', others: 'trap' }", "interception: { counters: 'pass', 'counters-beyond': 'trap', global: 'pass-if-whole', selectors: 'trap', rdpmc: 'pass-if-whole', extras: 'trap', others: 'pass' }"],
  ]),
  ...of('src/kvm/vpmu/exposure.ts', [
    ['version >= 2 && gp === host.gp && fixed === host.fixed && perfMetrics', 'version >= 2 && perfMetrics'],
    [' && perfMetrics === host.perfMetrics', ''],
  ]),
  ...of('src/kvm/vpmu/emulated.ts', [
    ['this.#of(pmc).add();', 'this.#of(pmc).add();\n      this.#of(pmc).add();'],
    ['if (!isAllowed(this.#owner.filter(), pmc)) return true;', ''],
    ['if (wrapped) this.#overflow(pmc);', ''],
    ['this.pmu.globalStatus |= status;', ''],
    ['if (this.#of(pmc).interrupts) this.#owner.requestPmi();', 'this.#owner.requestPmi();'],
    ['const gated = !this.design.identity && !this.pmu.isGloballyEnabled(pmc);', 'const gated = false;'],
  ]),
  ...of('src/kvm/vpmu/perf-counter.ts', [
    ['perf.pause(event, true)', 'perf.pause(event, false)'],
    ['this.#counter = (before + this.#emulated) & mask;', 'this.#counter = before;'],
    ['    this.#emulated = 0n;\n    this.#paused = true;', '    this.#paused = true;'],
    ['if (event.isSampling) perf.setPeriod(event, this.#period);', ''],
    ['perf.enable(event);', ''],
    ['pinned: true,', 'pinned: false,'],
    ['excludeHost: true,', 'excludeHost: false,'],
    ['excludeUser: !control.user,', 'excludeUser: false,'],
    ['samplePeriod: this.#period,', 'samplePeriod: this.#parts.mask,'],
    ['this.#interrupt = control.interrupt;', ''],
    ['this.#counter = (this.#counter + value - this.read()) & this.#parts.mask;', 'this.#counter = value;'],
  ]),
  ...of('src/kvm/vpmu/guest-lbr.ts', [
    ['return this.isActive ? this.#host.rdmsrSafe(address) : 0n;', 'return this.#host.rdmsrSafe(address);'],
    ['if (!isSet(this.#owner.debugctl(), DEBUGCTL.LBR)) this.release();', ''],
    ['      branchSelect: USER_CALL_STACK,\n', ''],
  ]),
  ...of('src/kvm/vpmu/guest-pmu.ts', [
    ['return enabled && (cpl === 0 ? os : user);', 'return enabled;'],
    ['if (!this.isGloballyEnabled(pmc)) return false;', ''],
    ['(branch && event === BRANCHES)', 'event === BRANCHES'],
    ['this.globalStatus &= ~v;', 'this.globalStatus = 0n;'],
  ]),
  ...of('src/kvm/vpmu/registers.ts', [
    ["return has(shape.gp, full) && shape.fullWidthWrites ? 'counters' : 'counters-beyond';", "return 'counters';"],
    ["if (selector !== undefined) return has(shape.gp, selector) ? 'selectors' : 'others';", "if (selector !== undefined) return 'counters';"],
  ]),
  ...of('src/kvm/run-loop.ts', [
    ['if (!isRequested(vcpu.requests)) break;', 'break;'],
    ['  reinject(vcpu);\n', ''],
  ]),
  ...of('src/kvm/fastpath.ts', [
    ['!vpmu.countsRetired() &&', 'true &&'],
  ]),
  ...of('src/kvm/global-ctrl.ts', [
    ["setControl(host, 'VM_EXIT_CONTROLS', EXIT.LOAD_IA32_PERF_GLOBAL_CTRL, on);", ''],
    ["setControl(host, 'VM_ENTRY_CONTROLS', ENTRY.LOAD_IA32_PERF_GLOBAL_CTRL, on);", ''],
    ['host.vmwrite(FIELDS.VM_EXIT_MSR_STORE_COUNT.encoding, on ? 1n : 0n);', ''],
  ]),
  ...of('src/kvm/vpmu/handover.ts', [
    ["if (switchPoint === 'sched' || (switchPoint === 'lazy' && !vpmu.hostWantsPmu())) return;", ''],
    ["(switchPoint === 'lazy' && !vpmu.hostWantsPmu())", "switchPoint === 'lazy'"],
    ['perf.reclaim.set(host().id, () => this.put());', ''],
  ]),
  ...of('src/kvm/vm.ts', [
    ["if (this.vcpus.length === 0 && hostRule === 'refuse') this.perf.createMediatedPmu();", ''],
    ["const passes = design.interception.extras === 'pass';", 'const passes = true;'],
  ]),
  ...of('src/perf/perf.ts', [
    ["if (meeting === 'error') cpu.fail();", ''],
    ['    cpu.displace();\n', ''],
    ['    cpu.resume();\n', ''],
    ['this.#setGuest(cpu, true);', ''],
    ["throw new PerfError('EBUSY', 'an event that does not exclude guests is open');", ''],
    ["this.claims.add('refuse');", ''],
    ['(masked ? LVT_MASKED : 0n)', '0n'],
    ['this.cpu(id).pmu.armLvtpc();', ''],
  ]),
  ...of('src/perf/claims.ts', [
    ["(rule === 'error-scoped' && onVcpu)", "rule === 'error-scoped'"],
    ["(rule === 'error-scoped' && onVcpu)", 'false'],
  ]),
];
