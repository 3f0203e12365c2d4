import { beforeEach, describe, expect, it } from 'vitest';
import { Guest } from './guest.ts';
import type { Fields } from './processor.ts';

const SHADOW = 0x1_2000;
const READS = 0x1_6000;
const WRITES = 0x1_7000;
/** VMCS shadowing and HLT exiting. */
const SHADOWING: Fields = {
  PRIMARY_CONTROLS: 0x8400_61f2n,
  SECONDARY_CONTROLS: 1 << 14,
  VMREAD_BITMAP_ADDRESS: READS,
  VMWRITE_BITMAP_ADDRESS: WRITES,
  VMCS_LINK_POINTER: SHADOW,
};
const GUEST_RSP = 0x681c;
const EXIT_REASON = 0x4402;

/** `mov ecx, encoding`. */
const named = (encoding: number) =>
  `b9 ${[0, 8, 16, 24].map((at) => ((encoding >>> at) & 0xff).toString(16)).join(' ')} `;
const VMREAD = '0f 78 ca '; // VMREAD rdx, rcx
const VMWRITE = '0f 79 cb '; // VMWRITE rcx, rbx
const HLT = 'f4';

describe('VMCS shadowing', () => {
  let guest: Guest;

  beforeEach(() => {
    guest = new Guest(SHADOWING);
    guest.memory.write(SHADOW, 4, 0x8000_0012n);
    // A value in the shadow VMCS, put there as a hypervisor does it.
    guest.vmx.vmclear(BigInt(SHADOW));
    guest.vmx.vmptrld(BigInt(SHADOW));
    guest.vmx.vmwrite(GUEST_RSP, 0x1234n);
    guest.vmx.vmclear(BigInt(SHADOW));
    guest.vmx.vmptrld(0x1_1000n);
  });

  it('a shadow VMCS can be made current, but not entered', () => {
    guest.vmx.vmptrld(BigInt(SHADOW));
    expect(guest.vmx.vmlaunch()).toBe('VMfailInvalid');
  });

  it('without it there are no shadow VMCSs: VMPTRLD fails with 11', () => {
    const plain = new Guest();
    const shape = plain.vmx.shape as { secondary: number };
    const { secondary } = shape;
    shape.secondary = secondary & ~(1 << 14);
    try {
      plain.memory.write(SHADOW, 4, 0x8000_0012n);
      expect(plain.vmx.vmptrld(BigInt(SHADOW))).toEqual({ VMfailValid: 11 });
    } finally {
      shape.secondary = secondary;
    }
  });

  it('VMREAD in the guest reads the shadow VMCS, VMWRITE writes it', () => {
    guest.code(`${named(GUEST_RSP)} ${VMREAD} bb 78 56 00 00 ${VMWRITE} ${HLT}`);
    expect(guest.exit().reason).toBe(12);
    expect(guest.state.gpr[2]).toBe(0x1234n);
    expect(guest.get('GUEST_RSP')).not.toBe(0x5678n);
    guest.vmx.vmptrld(BigInt(SHADOW));
    expect(guest.get('GUEST_RSP')).toBe(0x5678n);
  });

  it('a bit of its bitmap makes an access exit; each bitmap is for itself', () => {
    guest.memory.write(READS + (GUEST_RSP >> 3), 1, 1n << BigInt(GUEST_RSP & 7));
    guest.code(`${named(GUEST_RSP)} ${VMWRITE} ${VMREAD} ${HLT}`);
    expect(guest.exit()).toMatchObject({ reason: 23, length: 3 });
  });

  it('an encoding of more than 15 bits exits', () => {
    guest.code(`${named(0x8000)} ${VMWRITE} ${HLT}`);
    expect(guest.exit().reason).toBe(25);
  });

  it('a field that does not exist fails with 12; without a shadow VMCS it is VMfailInvalid', () => {
    guest.code(`${named(0x0ffe)} ${VMREAD} ${HLT}`);
    expect(guest.exit().reason).toBe(12);
    expect(guest.get('GUEST_RFLAGS') & 0x41n).toBe(0x40n);
    guest.set({ VMCS_LINK_POINTER: 0xffff_ffff_ffff_ffffn });
    guest.set({ GUEST_RIP: 0xe000n });
    expect(guest.exit().reason).toBe(12);
    expect(guest.get('GUEST_RFLAGS') & 0x41n).toBe(1n);
  });

  it('information fields can be written there, as IA32_VMX_MISC[29] says', () => {
    guest.code(`${named(EXIT_REASON)} bb 0c 00 00 00 ${VMWRITE} ${HLT}`);
    guest.exit();
    guest.vmx.vmptrld(BigInt(SHADOW));
    expect(guest.get('EXIT_REASON')).toBe(12n);
  });
});
