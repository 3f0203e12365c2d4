import { describe, expect, it } from 'vitest';
import { Fault } from '../../../src/cpu/fault.ts';
import type { MemoryAccess } from '../../../src/cpu/ports.ts';
import { STATE } from '../../../src/cpu/state/layout.ts';
import type { Privilege } from '../../../src/cpu/system/paging.ts';
import { AT, TestMachine } from './machine.ts';

const P = 1n;
const W = 2n;
const U = 4n;
const A = 0x20n;
const D = 0x40n;
const PS = 0x80n;
const NX = 1n << 63n;

// biome-ignore format: a table
const CR4 = { PSE: 0x10n, PAE: 0x20n, PGE: 0x80n, LA57: 0x1000n, SMEP: 0x10_0000n, SMAP: 0x20_0000n, PKE: 0x40_0000n } as const;
const WP = 0x1_0000n;
const AC = 0x4_0000n;

const PAGE = AT.DATA;
const PTE = AT.PT + (AT.DATA >> 12) * 8;

/** A machine whose page at `AT.DATA` has this entry, with more bits of CR4 and without some of CR0. */
function withEntry(
  entry: bigint,
  { cr4 = 0n, without = 0n, flags = 0n, pkru = 0n } = {},
): TestMachine {
  const machine = new TestMachine().long();
  machine.memory.write(PTE, 8, BigInt(PAGE) | entry);
  machine.state.set(STATE.CR4, machine.state.get(STATE.CR4) | cr4);
  machine.state.set(STATE.CR0, machine.state.get(STATE.CR0) & ~without);
  machine.state.set(STATE.RFLAGS_SYSTEM, 2n | flags);
  machine.state.set(STATE.PKRU, pkru);
  return machine;
}

/** The page-fault error code, or undefined when the access goes through. */
function access(
  machine: TestMachine,
  kind: MemoryAccess,
  privilege: Privilege,
  linear = BigInt(PAGE),
): number | undefined {
  try {
    machine.cpu.core.paging.translate(linear, kind, privilege);
    return undefined;
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(Fault);
    expect(thrown).toMatchObject({ exception: '#PF', address: linear });
    return (thrown as Fault).code;
  }
}

describe('page-fault error codes', () => {
  // biome-ignore format: a table
  it.each<[string, bigint, MemoryAccess, Privilege, Parameters<typeof withEntry>[1], number | undefined]>([
    ['a read of an absent page',                              0n,             'read',    'supervisor', {},                              0x00],
    ['a write to an absent page',                             0n,             'write',   'supervisor', {},                              0x02],
    ['a user read of an absent page',                         0n,             'read',    'user',       {},                              0x04],
    ['a user write to an absent page',                        0n,             'write',   'user',       {},                              0x06],
    ['a fetch from an absent page',                           0n,             'execute', 'supervisor', {},                              0x10],
    ['a user fetch from an absent page',                      0n,             'execute', 'user',       {},                              0x14],
    ['a user read of a supervisor page',                      P | W,          'read',    'user',       {},                              0x05],
    ['a user write to a supervisor page',                     P | W,          'write',   'user',       {},                              0x07],
    ['a user write to a read-only page',                      P | U,          'write',   'user',       {},                              0x07],
    ['a user fetch from a supervisor page',                   P | W,          'execute', 'user',       {},                              0x15],
    ['a supervisor write to a read-only page with CR0.WP',    P,              'write',   'supervisor', {},                              0x03],
    ['the same without CR0.WP',                               P,              'write',   'supervisor', { without: WP },                 undefined],
    ['a user write to a read-only page without CR0.WP',       P | U,          'write',   'user',       { without: WP },                 0x07],
    ['a fetch from a no-execute page',                        P | W | NX,     'execute', 'supervisor', {},                              0x11],
    ['a read of a no-execute page',                           P | W | NX,     'read',    'supervisor', {},                              undefined],
    ['a fetch from a user page at CPL 0',                     P | W | U,      'execute', 'supervisor', {},                              undefined],
    ['the same with SMEP',                                    P | W | U,      'execute', 'supervisor', { cr4: CR4.SMEP },               0x11],
    ['a read of a user page at CPL 0',                        P | W | U,      'read',    'supervisor', {},                              undefined],
    ['the same with SMAP',                                    P | W | U,      'read',    'supervisor', { cr4: CR4.SMAP },               0x01],
    ['the same with SMAP and RFLAGS.AC',                      P | W | U,      'read',    'supervisor', { cr4: CR4.SMAP, flags: AC },    undefined],
    ['an implicit access with SMAP and RFLAGS.AC',            P | W | U,      'read',    'implicit',   { cr4: CR4.SMAP, flags: AC },    0x01],
    ['a write to a user page with SMAP',                      P | W | U,      'write',   'supervisor', { cr4: CR4.SMAP },               0x03],
    ['a fetch from a user page with SMAP alone',              P | W | U,      'execute', 'supervisor', { cr4: CR4.SMAP },               undefined],
    ['an address bit beyond the physical width',              P | 1n << 46n,  'read',    'supervisor', {},                              0x09],
    ['a user write with an address bit beyond the width',     P | 1n << 51n,  'write',   'user',       {},                              0x0f],
    ['a user read with its key\'s access disabled',           P | W | U | 5n << 59n, 'read',  'user',  { cr4: CR4.PKE, pkru: 1n << 10n }, 0x25],
    ['a user write with its key\'s write disabled',           P | W | U | 5n << 59n, 'write', 'user',  { cr4: CR4.PKE, pkru: 2n << 10n }, 0x27],
    ['a user read with its key\'s write disabled',            P | W | U | 5n << 59n, 'read',  'user',  { cr4: CR4.PKE, pkru: 2n << 10n }, undefined],
    ['a user fetch with its key\'s access disabled',          P | W | U | 5n << 59n, 'execute', 'user', { cr4: CR4.PKE, pkru: 3n << 10n }, undefined],
    ['a supervisor write, key write-disabled, with CR0.WP',   P | W | U | 5n << 59n, 'write', 'supervisor', { cr4: CR4.PKE, pkru: 2n << 10n }, 0x23],
    ['the same without CR0.WP',                               P | W | U | 5n << 59n, 'write', 'supervisor', { cr4: CR4.PKE, pkru: 2n << 10n, without: WP }, undefined],
    ['a disabled key on a supervisor page',                   P | W | 5n << 59n, 'read', 'supervisor', { cr4: CR4.PKE, pkru: 3n << 10n }, undefined],
  ])('%s', (_what, entry, kind, privilege, change, code) => {
    expect(access(withEntry(entry, change), kind, privilege)).toBe(code);
  });

  it('have no I bit when neither NXE nor SMEP is on, and NX is then reserved', () => {
    const machine = withEntry(0n);
    machine.state.set(STATE.EFER, machine.state.get(STATE.EFER) & ~0x800n);
    expect(access(machine, 'execute', 'supervisor')).toBe(0x00);

    machine.memory.write(PTE, 8, BigInt(PAGE) | P | NX);
    expect(access(machine, 'read', 'supervisor')).toBe(0x09);
  });

  it.each([
    ['a PML4 entry with PS', AT.PML4, BigInt(AT.PDPT) | P | W | PS],
    ['a 1-GiB page with address bit 13', AT.PDPT, P | W | PS | 0x2000n],
    ['a 2-MiB page with address bit 13', AT.PD, P | W | PS | 0x2000n],
  ])('say RSVD for %s', (_what, at, entry) => {
    const machine = new TestMachine().long();
    machine.memory.write(at, 8, entry);
    expect(access(machine, 'read', 'supervisor')).toBe(0x09);
  });

  it('come from the strictest of the levels', () => {
    const machine = new TestMachine().long();
    machine.memory.write(AT.PDPT, 8, BigInt(AT.PD) | P | U);
    expect(access(machine, 'write', 'supervisor')).toBe(0x03);
    machine.memory.write(AT.PDPT, 8, BigInt(AT.PD) | P | W);
    expect(access(machine, 'read', 'user')).toBe(0x05);
    machine.memory.write(AT.PDPT, 8, BigInt(AT.PD) | P | W | U | NX);
    expect(access(machine, 'execute', 'user')).toBe(0x15);
  });
});

describe('accessed and dirty flags', () => {
  it('are set on the way down, the dirty one only in the last entry and by a write', () => {
    const machine = withEntry(P | W | U);

    expect(access(machine, 'read', 'user')).toBeUndefined();
    for (const at of [AT.PML4, AT.PDPT, AT.PD, PTE]) {
      expect(machine.memory.read(at, 8) & (A | D)).toBe(A);
    }

    expect(access(machine, 'write', 'user')).toBeUndefined();
    expect(machine.memory.read(PTE, 8) & (A | D)).toBe(A | D);
    expect(machine.memory.read(AT.PD, 8) & (A | D)).toBe(A);
  });

  it('stay as they are when the access faults', () => {
    const machine = withEntry(P | U);

    expect(access(machine, 'write', 'user')).toBe(0x07);

    expect(machine.memory.read(PTE, 8) & (A | D)).toBe(0n);
  });

  it('decide whether later writes may go without a walk', () => {
    const machine = withEntry(P | W);
    const { paging } = machine.cpu.core;
    expect(paging.translate(BigInt(PAGE), 'read', 'supervisor').writable).toBe(false);
    expect(paging.translate(BigInt(PAGE), 'write', 'supervisor').writable).toBe(true);
    expect(paging.translate(BigInt(PAGE), 'read', 'supervisor').writable).toBe(true);
  });
});

describe('linear addresses reach physical ones', () => {
  const physical = (machine: TestMachine, linear: bigint) =>
    machine.cpu.core.paging.translate(linear, 'read', 'supervisor').physical;

  it('by four levels, with pages of 4 KiB, 2 MiB and 1 GiB', () => {
    const machine = new TestMachine().long();
    machine.memory.write(PTE, 8, 0x12_3000n | P);
    expect(physical(machine, BigInt(PAGE) + 0x456n)).toBe(0x12_3456);
    machine.memory.write(AT.PD + 8, 8, 0x0a_4020_0000n | P | PS);
    expect(physical(machine, 0x2f_edcbn)).toBe(0x0a_402f_edcb);
    machine.memory.write(AT.PDPT + 8, 8, 0x3f_c000_0000n | P | PS);
    expect(physical(machine, 0x7654_3210n)).toBe(0x3f_f654_3210);
    machine.memory.write(AT.PML4 + 511 * 8, 8, BigInt(AT.PDPT) | P);
    expect(physical(machine, 0xffff_ff80_7654_3210n)).toBe(0x3f_f654_3210);
  });

  it('by five levels with CR4.LA57', () => {
    const machine = new TestMachine().long();
    machine.memory.write(AT.PML5 + 8, 8, BigInt(AT.PML4) | P);
    machine.state.set(STATE.CR3, BigInt(AT.PML5));
    machine.state.set(STATE.CR4, machine.state.get(STATE.CR4) | CR4.LA57);
    expect(physical(machine, (1n << 48n) + 0x1234n)).toBe(0x1234);
    expect(access(machine, 'read', 'supervisor', 0x1234n)).toBe(0);
  });

  it('by 32-bit paging, with 4-KiB pages and 4-MiB pages that reach beyond 4 GiB', () => {
    const machine = new TestMachine().protected32();
    machine.memory.write(AT.PD, 4, BigInt(AT.PT) | P | W);
    machine.memory.write(AT.PT + 0x40 * 4, 4, 0x5_5000n | P | W);
    machine.memory.write(AT.PD + 4, 4, (0x12n << 13n) | 0x0080_0000n | P | PS);
    machine.state.set(STATE.CR3, BigInt(AT.PD));
    machine.state.set(STATE.CR0, 0x8000_0011n);
    machine.state.set(STATE.CR4, CR4.PSE);
    expect(physical(machine, 0x4_0123n)).toBe(0x5_5123);
    expect(physical(machine, 0x41_2345n)).toBe(0x12_0081_2345);
    machine.memory.write(AT.PD + 4, 4, 0x0020_0000n | P | PS);
    expect(access(machine, 'read', 'supervisor', 0x40_0000n)).toBe(0x09);
    machine.state.set(STATE.CR4, 0n);
    machine.memory.write(AT.PD + 4, 4, BigInt(AT.PT) | P | PS);
    expect(physical(machine, 0x44_0123n)).toBe(0x5_5123);
  });

  it('by PAE paging, from the PDPTEs that MOV CR3 loaded', () => {
    const machine = new TestMachine().protected32();
    machine.memory.write(AT.PDPT + 24, 8, BigInt(AT.PD) | P);
    machine.memory.write(AT.PD, 8, BigInt(AT.PT) | P | W);
    machine.memory.write(AT.PT + 0x40 * 8, 8, 0x5_5000n | P | W);
    machine.state.set(STATE.CR4, CR4.PAE);
    machine.state.set(STATE.CR0, 0x8000_0011n);
    machine.load(AT.CODE, '0f22d8 ; mov cr3, eax');
    machine.state.set(STATE.CR0, 0x11n);
    machine.state.gpr[0] = BigInt(AT.PDPT);
    machine.load(
      AT.CODE,
      '0f22d8 0f20c0 0d00000080 0f22c0 ; mov cr3, eax; mov eax, cr0; or eax, 80000000H; mov cr0, eax',
    );
    machine.run(4);
    machine.memory.write(AT.PDPT + 24, 8, 0n);

    expect(physical(machine, 0xc004_0123n)).toBe(0x5_5123);
    expect(access(machine, 'read', 'supervisor', 0x4_0123n)).toBe(0);
  });
});

describe('an access across the end of a page', () => {
  it('faults on the second page with its own address, and writes neither', () => {
    const machine = withEntry(P | W);
    machine.memory.write(PTE + 8, 8, 0n);
    const { memory } = machine.cpu.core;

    expect(() =>
      memory.write(BigInt(PAGE) + 0xffcn, 8, ~0n & 0xffff_ffff_ffff_ffffn, 'supervisor'),
    ).toThrow(
      expect.objectContaining({
        exception: '#PF',
        code: 2,
        address: BigInt(PAGE) + 0x1000n,
      }) as Error,
    );

    expect(machine.memory.read(PAGE + 0xffc, 4)).toBe(0n);
  });

  it('joins the bytes of two pages that are not neighbours', () => {
    const machine = withEntry(P | W);
    machine.memory.write(PTE + 8, 8, 0x10_0000n | P | W);
    machine.cpu.core.memory.write(BigInt(PAGE) + 0xffdn, 8, 0x1122_3344_5566_7788n, 'supervisor');

    expect(machine.memory.read(PAGE + 0xffd, 2)).toBe(0x7788n);
    expect(machine.memory.read(0x10_0000, 4)).toBe(0x2233_4455n);
    expect(machine.cpu.core.memory.read(BigInt(PAGE) + 0xffdn, 8, 'supervisor')).toBe(
      0x1122_3344_5566_7788n,
    );
  });
});
