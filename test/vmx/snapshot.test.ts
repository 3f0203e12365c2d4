import { expect, it } from 'vitest';
import { CODE, Guest } from './guest.ts';
import type { Fields } from './processor.ts';

const FIELDS: Fields = {
  PIN_BASED_CONTROLS: 0x56,
  PRIMARY_CONTROLS: 0x0400_61f2,
  VMX_PREEMPTION_TIMER_VALUE: 3,
  VM_EXIT_CONTROLS: 0x43_6ffb,
};

it('a guest goes on in another machine from plain data', () => {
  const guest = new Guest(FIELDS).code('eb fe');
  guest.vmx.vmlaunch();
  expect(guest.processor.cpu.run(40)).toEqual({ reason: 'budget' });
  const saved = structuredClone(guest.vmx.save());

  const other = new Guest().code('eb fe');
  const block = guest.memory.linear.buffer.slice(guest.state.base, guest.state.base + 0x1000);
  new Uint8Array(other.memory.linear.buffer).set(new Uint8Array(block), other.state.base);
  other.vmx.restore(saved);
  expect(other.vmx.save()).toEqual(guest.vmx.save());

  const end = guest.state.total('ticks') + 56n; // 96 ticks in all
  expect(guest.processor.cpu.run(1000)).toEqual({ reason: 'vm-exit' });
  expect(other.processor.cpu.run(1000)).toEqual({ reason: 'vm-exit' });
  expect([guest.state.total('ticks'), other.state.total('ticks')]).toEqual([end, end]);
  expect(other.get('EXIT_REASON')).toBe(52n);
  expect(other.get('GUEST_RIP')).toBe(BigInt(CODE));
  expect(other.vmx.save()).toEqual(guest.vmx.save());
});

it('an injected event that has not been delivered yet is part of the snapshot', () => {
  const fields = { ...FIELDS, VM_ENTRY_INTERRUPTION_INFORMATION: 0x8000_0041n };
  const guest = new Guest(fields);
  guest.vmx.vmlaunch();
  const saved = guest.vmx.save();
  guest.vmx.restore(structuredClone(saved));
  expect(guest.vmx.save()).toEqual(saved);
  expect(guest.processor.cpu.run(1000)).toEqual({ reason: 'vm-exit' });
  expect(guest.get('EXIT_REASON')).toBe(12n);
  expect(guest.get('GUEST_RIP')).toBe(0xf410n);
});
