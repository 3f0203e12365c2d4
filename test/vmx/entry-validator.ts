/*
 * A second opinion on VM entry, written from the manual's prose for its own sake: a plain record of numbers goes in,
 * the outcome comes out. It shares nothing with src/vmx but the names of the fields.
 */

/** Field values by name; what is not named is 0. */
export type Plain = Readonly<Record<string, bigint>>;

/** The processor around the VMCS. */
export interface Surroundings {
  /** IA32_EFER.LMA when VMLAUNCH executes. */
  readonly longMode: boolean;
  /** A quadword of physical memory. */
  memory(address: bigint): bigint;
  readonly revision: bigint;
  readonly currentVmcs: bigint;
}

export type Verdict = 'enters' | 'error 7' | 'error 8' | 'exit 33, 0' | 'exit 33, 2' | 'exit 33, 4';

const PHYSICAL_BITS = 46n;
const CR4_BITS = 0x37_67ffn;
const GLOBAL_CTRL_BITS = 0x7_0000_000fn;
const DEBUGCTL_BITS = 0x1802n;

/** Allowed settings as four strings of the capability MSRs: must be 1, may be 1. */
const WORDS: Readonly<Record<string, readonly [must: bigint, may: bigint]>> = {
  PIN_BASED_CONTROLS: [0x16n, 0xffn],
  PRIMARY_CONTROLS: [0x0400_6172n, 0xfff9_fffen],
  SECONDARY_CONTROLS: [0n, 0x0213_7fffn],
  VM_EXIT_CONTROLS: [0x3_6dfbn, 0x407f_ffffn],
  VM_ENTRY_CONTROLS: [0x11fbn, 0xffffn],
};

export function verdict(vmcs: Plain, around: Surroundings): Verdict {
  const f = (name: string): bigint => vmcs[name] ?? 0n;
  const bit = (value: bigint, n: number) => ((value >> BigInt(n)) & 1n) === 1n;
  const field = (value: bigint, high: number, low: number) =>
    (value >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n);
  const canonical = (address: bigint) =>
    field(address, 63, 47) === 0n || field(address, 63, 47) === 0x1_ffffn;
  const fits = (address: bigint) => address < 1n << PHYSICAL_BITS;
  const aligned = (address: bigint, size: bigint) => address % size === 0n;

  const pin = f('PIN_BASED_CONTROLS');
  const primary = f('PRIMARY_CONTROLS');
  const secondary = bit(primary, 31) ? f('SECONDARY_CONTROLS') : 0n;
  const exit = f('VM_EXIT_CONTROLS');
  const entry = f('VM_ENTRY_CONTROLS');
  const ept = bit(secondary, 1);
  const unrestricted = bit(secondary, 7);

  // The event to inject.
  const info = f('VM_ENTRY_INTERRUPTION_INFORMATION');
  const injecting = bit(info, 31);
  const kind = injecting
    ? [
        'external',
        'reserved',
        'nmi',
        'hardware',
        'software interrupt',
        'privileged',
        'software',
        'other',
      ][Number(field(info, 10, 8))]
    : 'nothing';
  const vector = field(info, 7, 0);

  // Controls.
  const badWord = Object.entries(WORDS).some(([name, [must, may]]) => {
    const word = name === 'SECONDARY_CONTROLS' ? secondary : f(name);
    return (word & must) !== must || (word & ~may) !== 0n;
  });
  const pages = [
    bit(primary, 25) && ['IO_BITMAP_A_ADDRESS', 'IO_BITMAP_B_ADDRESS'],
    bit(primary, 28) && ['MSR_BITMAP_ADDRESS'],
    bit(primary, 21) && ['VIRTUAL_APIC_ADDRESS'],
    bit(secondary, 0) && ['APIC_ACCESS_ADDRESS'],
    bit(secondary, 13) && bit(f('VM_FUNCTION_CONTROLS'), 0) && ['EPTP_LIST_ADDRESS'],
    bit(secondary, 17) && ['PML_ADDRESS'],
    bit(secondary, 14) && ['VMREAD_BITMAP_ADDRESS', 'VMWRITE_BITMAP_ADDRESS'],
  ].flatMap((names) => names || []);
  const badPage = pages.some((name) => !aligned(f(name), 4096n) || !fits(f(name)));
  const badArea = ['VM_EXIT_MSR_STORE', 'VM_EXIT_MSR_LOAD', 'VM_ENTRY_MSR_LOAD'].some((name) => {
    const at = f(`${name}_ADDRESS`);
    const count = f(`${name}_COUNT`);
    return count !== 0n && !(aligned(at, 16n) && fits(at) && fits(at + 16n * count - 1n));
  });
  const eptp = f('EPT_POINTER');
  const badEptp =
    ept &&
    !(
      [0n, 6n].includes(field(eptp, 2, 0)) &&
      field(eptp, 5, 3) === 3n &&
      field(eptp, 11, 7) === 0n &&
      fits(eptp)
    );
  const threshold = f('TPR_THRESHOLD');
  const badThreshold =
    bit(primary, 21) &&
    !bit(secondary, 9) &&
    !badPage &&
    (threshold > 15n ||
      (!bit(secondary, 0) &&
        threshold > field(around.memory(f('VIRTUAL_APIC_ADDRESS') + 0x80n), 7, 4)));
  const descriptor = f('POSTED_INTERRUPT_DESCRIPTOR_ADDRESS');
  const badApic =
    ([4, 8, 9].some((n) => bit(secondary, n)) && !bit(primary, 21)) ||
    (bit(secondary, 4) && bit(secondary, 0)) ||
    (bit(secondary, 9) && !bit(pin, 0)) ||
    (bit(pin, 7) &&
      !(
        bit(secondary, 9) &&
        bit(exit, 15) &&
        f('POSTED_INTERRUPT_NOTIFICATION_VECTOR') <= 0xffn &&
        aligned(descriptor, 64n) &&
        fits(descriptor)
      ));
  // This processor takes any hardware exception with or without a code.
  const mayHaveCode = kind === 'hardware' && !(unrestricted && !bit(f('GUEST_CR0'), 0));
  const badInjection =
    injecting &&
    (kind === 'reserved' ||
      (kind === 'nmi' && vector !== 2n) ||
      (kind === 'hardware' && vector > 31n) ||
      (kind === 'other' && vector !== 0n) ||
      (bit(info, 11) && !mayHaveCode) ||
      field(info, 30, 12) !== 0n ||
      (bit(info, 11) && f('VM_ENTRY_EXCEPTION_ERROR_CODE') > 0xffffn) ||
      (['software interrupt', 'privileged', 'software'].includes(kind!) &&
        f('VM_ENTRY_INSTRUCTION_LENGTH') > 15n));
  const badCombination =
    f('CR3_TARGET_COUNT') > 4n ||
    (bit(pin, 5) && !bit(pin, 3)) ||
    (bit(primary, 22) && !bit(pin, 5)) ||
    (bit(secondary, 5) && f('VIRTUAL_PROCESSOR_IDENTIFIER') === 0n) ||
    ((unrestricted || bit(secondary, 17)) && !ept) ||
    (bit(secondary, 13) &&
      (f('VM_FUNCTION_CONTROLS') > 1n || (f('VM_FUNCTION_CONTROLS') === 1n && !ept))) ||
    (bit(secondary, 25) && f('TSC_MULTIPLIER') === 0n) ||
    (bit(exit, 22) && !bit(pin, 6)) ||
    field(entry, 11, 10) !== 0n;
  if (
    badWord ||
    badPage ||
    badArea ||
    badEptp ||
    badThreshold ||
    badApic ||
    badInjection ||
    badCombination
  )
    return 'error 7';

  // Host.
  const cr4Legal = (value: bigint) => bit(value, 13) && (value & ~CR4_BITS) === 0n;
  const pat = (value: bigint) =>
    Array.from({ length: 8 }, (_, i) => field(value, i * 8 + 7, i * 8)).every((t) =>
      [0n, 1n, 4n, 5n, 6n, 7n].includes(t),
    );
  const wide = bit(exit, 9);
  const longGuest = bit(entry, 9);
  const hostSelectors = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS', 'TR'].map((name) =>
    f(`HOST_${name}_SELECTOR`),
  );
  const hostAddresses = [
    'FS_BASE',
    'GS_BASE',
    'TR_BASE',
    'GDTR_BASE',
    'IDTR_BASE',
    'IA32_SYSENTER_ESP',
    'IA32_SYSENTER_EIP',
  ].map((name) => f(`HOST_${name}`));
  const hostEfer = f('HOST_IA32_EFER');
  const host =
    (f('HOST_CR0') & 0x8000_0021n) === 0x8000_0021n &&
    f('HOST_CR0') < 1n << 32n &&
    cr4Legal(f('HOST_CR4')) &&
    fits(f('HOST_CR3')) &&
    hostAddresses.every(canonical) &&
    (!bit(exit, 12) || (f('HOST_IA32_PERF_GLOBAL_CTRL') & ~GLOBAL_CTRL_BITS) === 0n) &&
    (!bit(exit, 19) || pat(f('HOST_IA32_PAT'))) &&
    (!bit(exit, 21) ||
      ((hostEfer & ~0xd01n) === 0n && bit(hostEfer, 10) === wide && bit(hostEfer, 8) === wide)) &&
    hostSelectors.every((selector) => field(selector, 2, 0) === 0n) &&
    f('HOST_CS_SELECTOR') !== 0n &&
    f('HOST_TR_SELECTOR') !== 0n &&
    (wide || f('HOST_SS_SELECTOR') !== 0n) &&
    wide === around.longMode &&
    (around.longMode || !longGuest) &&
    (wide
      ? bit(f('HOST_CR4'), 5) && canonical(f('HOST_RIP'))
      : !longGuest && !bit(f('HOST_CR4'), 17) && f('HOST_RIP') < 1n << 32n);
  if (!host) return 'error 8';

  // Guest.
  const cr0 = f('GUEST_CR0');
  const cr4 = f('GUEST_CR4');
  const rflags = f('GUEST_RFLAGS');
  const efer = f('GUEST_IA32_EFER');
  const paging = bit(cr0, 31);
  const protectedMode = bit(cr0, 0);
  const registers =
    cr0 < 1n << 32n &&
    bit(cr0, 5) &&
    (unrestricted ? !paging || protectedMode : paging && protectedMode) &&
    cr4Legal(cr4) &&
    (longGuest ? paging && bit(cr4, 5) : !bit(cr4, 17)) &&
    fits(f('GUEST_CR3')) &&
    (!bit(entry, 2) ||
      ((f('GUEST_IA32_DEBUGCTL') & ~DEBUGCTL_BITS) === 0n && f('GUEST_DR7') < 1n << 32n)) &&
    canonical(f('GUEST_IA32_SYSENTER_ESP')) &&
    canonical(f('GUEST_IA32_SYSENTER_EIP')) &&
    (!bit(entry, 13) || (f('GUEST_IA32_PERF_GLOBAL_CTRL') & ~GLOBAL_CTRL_BITS) === 0n) &&
    (!bit(entry, 14) || pat(f('GUEST_IA32_PAT'))) &&
    (!bit(entry, 15) ||
      ((efer & ~0xd01n) === 0n &&
        bit(efer, 10) === longGuest &&
        (!paging || bit(efer, 10) === bit(efer, 8))));

  const v86 = bit(rflags, 17);
  const segment = (name: string) => {
    const rights = f(`GUEST_${name}_ACCESS_RIGHTS`);
    return {
      selector: f(`GUEST_${name}_SELECTOR`),
      base: f(`GUEST_${name}_BASE`),
      limit: f(`GUEST_${name}_LIMIT`),
      rights,
      type: Number(field(rights, 3, 0)),
      s: bit(rights, 4),
      dpl: field(rights, 6, 5),
      p: bit(rights, 7),
      l: bit(rights, 13),
      d: bit(rights, 14),
      g: bit(rights, 15),
      unusable: bit(rights, 16),
      rpl: field(f(`GUEST_${name}_SELECTOR`), 1, 0),
      ti: bit(f(`GUEST_${name}_SELECTOR`), 2),
    };
  };
  type Segment = ReturnType<typeof segment>;
  const tidy = ({ p, g, limit, rights }: Segment) =>
    p &&
    field(rights, 11, 8) === 0n &&
    field(rights, 31, 17) === 0n &&
    !(g && field(limit, 11, 0) !== 0xfffn) &&
    !(!g && field(limit, 31, 20) !== 0n);
  const ss = segment('SS');
  const cs = segment('CS');
  const real = (s: Segment) =>
    s.base === s.selector * 16n && s.limit === 0xffffn && s.rights === 0xf3n;
  const codeOk = () => {
    const codeType = [9, 11, 13, 15].includes(cs.type) || (unrestricted && cs.type === 3);
    const privilege =
      cs.type === 3 ? cs.dpl === 0n : cs.type < 12 ? cs.dpl === ss.dpl : cs.dpl <= ss.dpl;
    return codeType && cs.s && privilege && tidy(cs) && !(longGuest && cs.l && cs.d);
  };
  const stackOk = () =>
    (ss.unusable || ((ss.type === 3 || ss.type === 7) && ss.s && tidy(ss))) &&
    (unrestricted || (ss.rpl === cs.rpl && ss.dpl === ss.rpl)) &&
    (!(cs.type === 3 || !protectedMode) || ss.dpl === 0n);
  const dataOk = (s: Segment) =>
    s.unusable ||
    (s.type % 2 === 1 &&
      s.type !== 9 &&
      s.type !== 13 &&
      s.s &&
      tidy(s) &&
      (unrestricted || s.type > 11 || s.dpl >= s.rpl));
  const low = (s: Segment) => s.base < 1n << 32n;
  const tr = segment('TR');
  const ldtr = segment('LDTR');
  const segments =
    !tr.ti &&
    canonical(tr.base) &&
    !tr.unusable &&
    !tr.s &&
    tidy(tr) &&
    (tr.type === 11 || (tr.type === 3 && !longGuest)) &&
    (ldtr.unusable ||
      (!ldtr.ti && canonical(ldtr.base) && ldtr.type === 2 && !ldtr.s && tidy(ldtr))) &&
    canonical(segment('FS').base) &&
    canonical(segment('GS').base) &&
    low(cs) &&
    ['SS', 'DS', 'ES'].map(segment).every((s) => s.unusable || low(s)) &&
    (v86
      ? ['CS', 'SS', 'DS', 'ES', 'FS', 'GS'].map(segment).every(real)
      : codeOk() && stackOk() && ['DS', 'ES', 'FS', 'GS'].map(segment).every(dataOk));

  const tables =
    canonical(f('GUEST_GDTR_BASE')) &&
    canonical(f('GUEST_IDTR_BASE')) &&
    f('GUEST_GDTR_LIMIT') < 1n << 16n &&
    f('GUEST_IDTR_LIMIT') < 1n << 16n;
  const rip = f('GUEST_RIP');
  const pointers =
    (longGuest && cs.l ? canonical(rip) : rip < 1n << 32n) &&
    field(rflags, 63, 22) === 0n &&
    !bit(rflags, 15) &&
    !bit(rflags, 5) &&
    !bit(rflags, 3) &&
    bit(rflags, 1) &&
    !(v86 && (longGuest || !protectedMode)) &&
    !(kind === 'external' && !bit(rflags, 9));

  const activity = f('GUEST_ACTIVITY_STATE');
  const blocking = f('GUEST_INTERRUPTIBILITY_STATE');
  const [sti, movSs, smi, nmi, enclave] = [0, 1, 2, 3, 4].map((n) => bit(blocking, n));
  const takes: Readonly<Record<string, boolean>> = {
    0: true,
    1:
      ['nothing', 'external', 'nmi', 'other'].includes(kind!) ||
      (kind === 'hardware' && (vector === 1n || vector === 18n)),
    2: ['nothing', 'nmi'].includes(kind!) || (kind === 'hardware' && vector === 18n),
    3: kind === 'nothing',
  };
  const pending = f('GUEST_PENDING_DEBUG_EXCEPTIONS');
  const stepping = bit(rflags, 8) && !bit(f('GUEST_IA32_DEBUGCTL'), 1);
  const rest =
    (takes[String(activity)] ?? false) &&
    !(activity === 1n && ss.dpl !== 0n) &&
    !(activity !== 0n && (sti || movSs)) &&
    field(blocking, 31, 5) === 0n &&
    !smi &&
    !enclave &&
    !(sti && movSs) &&
    !(sti && !bit(rflags, 9)) &&
    !(kind === 'external' && (sti || movSs)) &&
    !(kind === 'nmi' && (movSs || (nmi && bit(pin, 5)))) &&
    (pending & ~0x500fn) === 0n &&
    !((sti || movSs || activity === 1n) && bit(pending, 14) !== stepping);
  if (!registers || !segments || !tables || !pointers || !rest) return 'exit 33, 0';

  const link = f('VMCS_LINK_POINTER');
  if (link !== 0xffff_ffff_ffff_ffffn) {
    const first = aligned(link, 4096n) && fits(link) ? field(around.memory(link), 31, 0) : -1n;
    const expected = around.revision + (bit(secondary, 14) ? 1n << 31n : 0n);
    if (first !== expected || link === around.currentVmcs) return 'exit 33, 4';
  }
  if (paging && bit(cr4, 5) && !longGuest) {
    const pdptes = [0n, 1n, 2n, 3n].map((i) =>
      ept ? f(`GUEST_PDPTE${i}`) : around.memory((f('GUEST_CR3') & 0xffff_ffe0n) + 8n * i),
    );
    const legal = (pdpte: bigint) =>
      !bit(pdpte, 0) || (field(pdpte, 2, 1) === 0n && field(pdpte, 8, 5) === 0n && fits(pdpte));
    if (!pdptes.every(legal)) return 'exit 33, 2';
  }
  return 'enters';
}
