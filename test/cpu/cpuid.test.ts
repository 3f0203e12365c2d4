import { describe, expect, it } from 'vitest';
import { cpuid, FEATURES } from '../../src/cpu/cpuid.ts';
import { ONE_BYTE } from '../../src/cpu/decode/maps/one-byte.ts';
import { THREE_BYTE_3A, THREE_BYTE_38 } from '../../src/cpu/decode/maps/three-byte.ts';
import { TWO_BYTE } from '../../src/cpu/decode/maps/two-byte.ts';
import { VEX_3A, VEX_38 } from '../../src/cpu/decode/maps/vex.ts';
import { MNEMONICS } from '../../src/cpu/decode/mnemonics.ts';
import { coreFeatures, SAPPHIRE_RAPIDS, SKYLAKE_SERVER } from '../../src/cpu/profiles.ts';
import { SEMANTICS } from '../../src/cpu/semantics/semantics.ts';
import { SYSTEM_INSTRUCTIONS } from '../../src/cpu/system/instructions.ts';
import type { PmuShape } from '../../src/msr/pmu-shape.ts';

const PMU_V5: PmuShape = {
  version: 5,
  gp: 0xffn,
  gpWidth: 48,
  fixed: 0xfn,
  fixedWidth: 48,
  anyThread: false,
  pdcm: true,
  fullWidthWrites: true,
  eventsMissing: 0n,
  eventVectorLength: 8,
};
const PMU_V4: PmuShape = {
  ...PMU_V5,
  version: 4,
  fixed: 7n,
  anyThread: true,
  eventVectorLength: 7,
};
const PMU_V6: PmuShape = {
  ...PMU_V5,
  version: 6,
  gp: 0b1011n,
  umask2: true,
  equal: true,
  eventsMissing: 0b10n,
};
const NO_PMU: PmuShape = { ...PMU_V5, version: 0, gp: 0n, fixed: 0n, pdcm: false };

const IDLE = { cr4: 0n, xcr0: 1n, xss: 0n, apicEnabled: true };
const ONE = { apicId: 0, processors: 1 };
const PROFILES = [SAPPHIRE_RAPIDS, SKYLAKE_SERVER];

const text = (...words: number[]) =>
  words
    .flatMap((word) => [0, 8, 16, 24].map((shift) => String.fromCharCode((word >> shift) & 0xff)))
    .join('')
    .replace(/\0+$/, '');

describe.each(PROFILES)('CPUID of $name', (profile) => {
  const of = cpuid(profile, PMU_V5, ONE);
  const leaf = (number: number, subleaf = 0, context = IDLE) => of(number, subleaf, context);

  it('says GenuineIntel, family, model and brand', () => {
    const { ebx, ecx, edx, eax } = leaf(0);
    expect(text(ebx, edx, ecx)).toBe('GenuineIntel');
    expect(eax).toBe(0x16);
    expect(leaf(1).eax).toBe(profile === SKYLAKE_SERVER ? 0x50654 : 0x806f8);
    const words = [2, 3, 4].flatMap((part) => {
      const r = leaf(0x8000_0000 + part);
      return [r.eax, r.ebx, r.ecx, r.edx];
    });
    expect(text(...words)).toBe(profile.brand);
  });

  it('has what 64-bit software asks for first', () => {
    const { ecx, edx } = leaf(1);
    // FPU, TSC, MSR, PAE, CX8, APIC, SEP, PGE, CMOV, PAT, FXSR, SSE, SSE2
    for (const bit of [0, 4, 5, 6, 8, 9, 11, 13, 15, 16, 24, 25, 26])
      expect((edx >> bit) & 1).toBe(1);
    // SSE3, SSSE3, CX16, SSE4.1, SSE4.2, POPCNT; no AVX, no hypervisor
    for (const bit of [0, 9, 13, 19, 20, 23]) expect((ecx >> bit) & 1).toBe(1);
    for (const bit of [28, 31]) expect((ecx >>> bit) & 1).toBe(0);
    // SYSCALL, NX, 1-GiB pages, RDTSCP, long mode; invariant TSC
    for (const bit of [11, 20, 26, 27, 29]) expect((leaf(0x8000_0001).edx >> bit) & 1).toBe(1);
    expect(leaf(0x8000_0007).edx).toBe(0x100);
  });

  it('shows the state it must follow: OSXSAVE, OSPKE, APIC', () => {
    expect((leaf(1).ecx >> 27) & 1).toBe(0);
    expect((leaf(1, 0, { ...IDLE, cr4: 0x4_0000n }).ecx >> 27) & 1).toBe(1);
    expect((leaf(7, 0, { ...IDLE, cr4: 0x40_0000n }).ecx >> 4) & 1).toBe(1);
    expect((leaf(7).ecx >> 4) & 1).toBe(0);
    expect((leaf(1, 0, { ...IDLE, apicEnabled: false }).edx >> 9) & 1).toBe(0);
  });

  it('has XSAVE sizes that agree with each other', () => {
    const all = leaf(0xd, 0, { ...IDLE, xcr0: 0x203n });
    expect(all.eax).toBe(0x203);
    expect(all.ebx).toBe(2696);
    expect(all.ecx).toBe(2696);
    expect(leaf(0xd, 0).ebx).toBe(576);
    expect(leaf(0xd, 9)).toEqual({ eax: 8, ebx: 2688, ecx: 0, edx: 0 });
    expect(leaf(0xd, 1, { ...IDLE, xcr0: 0x203n }).ebx).toBe(584);
    expect(leaf(0xd, 2)).toEqual({ eax: 0, ebx: 0, ecx: 0, edx: 0 });
    expect(coreFeatures(profile).xcr0).toBe(0x203n);
  });

  it('has architectural LBRs as a supervisor component of 808 bytes, where there are any', () => {
    const pmu: PmuShape = { ...PMU_V5, lbr: { kind: 'architectural', depths: 0b1111 } };
    const leafOf = cpuid(SAPPHIRE_RAPIDS, pmu, { apicId: 0, processors: 1 });
    expect(leafOf(0xd, 15, IDLE)).toEqual({ eax: 808, ebx: 0, ecx: 1, edx: 0 });
    const sub1 = leafOf(0xd, 1, { ...IDLE, xcr0: 0x203n, xss: 0x8000n });
    expect([sub1.ebx, sub1.ecx]).toEqual([584 + 808, 0x8000]);
    expect(leafOf(0xd, 0, { ...IDLE, xcr0: 0x203n }).ecx).toBe(2696);
    const hidden = cpuid(SAPPHIRE_RAPIDS, PMU_V5, { apicId: 0, processors: 1 });
    expect(hidden(0xd, 15, IDLE)).toEqual({ eax: 0, ebx: 0, ecx: 0, edx: 0 });
    expect(hidden(0xd, 1, IDLE).ecx).toBe(0);
  });

  it('gives the TSC frequency as crystal times ratio, so that nothing has to be calibrated', () => {
    const { eax, ebx, ecx } = leaf(0x15);
    expect((ecx * ebx) / eax).toBe(3_000_000_000);
    expect(leaf(0x16)).toEqual({ eax: 3000, ebx: 3000, ecx: 100, edx: 0 });
  });

  it('gives address widths', () => {
    expect(leaf(0x8000_0008).eax).toBe(profile === SKYLAKE_SERVER ? 0x302e : 0x392e);
  });

  it('answers as its last basic leaf beyond them', () => {
    for (const beyond of [0x17, 0x1f, 0x4000_0000, 0x8000_0009, 0xffff_ffff]) {
      expect(leaf(beyond)).toEqual(leaf(0x16));
    }
  });

  it('announces every feature at its place, and nothing else', () => {
    for (const [name, at] of Object.entries(FEATURES)) {
      const registers = leaf(at.leaf, at.subleaf);
      const listed = profile.features.includes(name as keyof typeof FEATURES);
      expect((registers[at.register] >>> at.bit) & 1, name).toBe(listed ? 1 : 0);
    }
  });
});

describe('the PMU in CPUID', () => {
  const leaf = (pmu: PmuShape, number: number, subleaf = 0) =>
    cpuid(SAPPHIRE_RAPIDS, pmu, ONE)(number, subleaf, IDLE);

  it('version 5: eight counters of 48 bits, four fixed ones by bitmap and by number', () => {
    expect(leaf(PMU_V5, 0xa)).toEqual({ eax: 0x0830_0805, ebx: 0, ecx: 0xf, edx: 0x8604 });
  });

  it('version 4 has no bitmap and may have AnyThread', () => {
    expect(leaf(PMU_V4, 0xa)).toEqual({ eax: 0x0730_0804, ebx: 0, ecx: 0, edx: 0x603 });
  });

  it('version 6 says in leaf 23H what leaf 0AH cannot: gaps, new filters, events that are there', () => {
    expect(leaf(PMU_V6, 0).eax).toBe(0x23);
    expect((leaf(PMU_V6, 7, 1).eax >> 8) & 1).toBe(1);
    expect((leaf(PMU_V6, 0xa).eax >> 8) & 0xff).toBe(2);
    expect(leaf(PMU_V6, 0x23)).toEqual({ eax: 0b1011, ebx: 0b011, ecx: 1, edx: 0 });
    expect(leaf(PMU_V6, 0x23, 1)).toEqual({ eax: 0b1011, ebx: 0xf, ecx: 0, edx: 0 });
    expect(leaf(PMU_V6, 0x23, 3).eax).toBe(0xfd);
  });

  it('none: leaf 0AH is zero and PDCM is clear', () => {
    expect(leaf(NO_PMU, 0xa)).toEqual({ eax: 0, ebx: 0, ecx: 0, edx: 0 });
    expect((leaf(NO_PMU, 1).ecx >> 15) & 1).toBe(0);
  });
});

describe('the topology in CPUID', () => {
  it('is one thread per core, one package', () => {
    const of = cpuid(SAPPHIRE_RAPIDS, PMU_V5, { apicId: 2, processors: 4 });
    expect(of(0xb, 0, IDLE)).toEqual({ eax: 0, ebx: 1, ecx: 0x100, edx: 2 });
    expect(of(0xb, 1, IDLE)).toEqual({ eax: 2, ebx: 4, ecx: 0x201, edx: 2 });
    expect(of(0xb, 2, IDLE)).toEqual({ eax: 0, ebx: 0, ecx: 2, edx: 2 });
    expect(of(1, 0, IDLE).ebx >>> 24).toBe(2);
    expect((of(1, 0, IDLE).ebx >> 16) & 0xff).toBe(4);
  });
});

describe('what is advertised works', () => {
  const rows = (entry: unknown): string[] =>
    typeof entry === 'string' ? [entry] : Object.values(entry as object).flatMap(rows);
  const byFeature = [ONE_BYTE, TWO_BYTE, THREE_BYTE_38, THREE_BYTE_3A, VEX_38, VEX_3A]
    .flatMap(rows)
    .flatMap((row) => {
      const [mnemonic = '', ...rest] = row.split(' ');
      const feature = rest.find((word) => /^\^[A-Z]/.test(word))?.slice(1);
      return mnemonic === '' ? [] : [{ mnemonic, feature }];
    });
  const works = (mnemonic: string) => mnemonic in SEMANTICS || mnemonic in SYSTEM_INSTRUCTIONS;

  it.each(PROFILES)('every instruction of $name, VMX apart', ({ features }) => {
    const advertised: readonly string[] = features;
    const missing = byFeature.filter(
      ({ mnemonic, feature }) =>
        feature !== 'VMX' &&
        (feature === undefined || advertised.includes(feature)) &&
        !works(mnemonic),
    );
    expect([...new Set(missing.map(({ mnemonic }) => mnemonic))]).toEqual([]);
    expect(MNEMONICS.length).toBeGreaterThan(500);
  });

  it.each(PROFILES)('every feature that the decoder asks $name for is a row', ({ features }) => {
    const asked = new Set(byFeature.flatMap(({ feature }) => feature ?? []));
    expect([...asked].filter((feature) => !(feature in FEATURES))).toEqual([]);
    expect(features.length).toBeGreaterThan(50);
  });
});
