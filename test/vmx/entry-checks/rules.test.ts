import { describe, expect, it } from 'vitest';
import { STATE } from '../../../src/cpu/state/layout.ts';
import { SAPPHIRE_RAPIDS_VMX } from '../../../src/msr/vmx.ts';
import { CONTROL_RULES } from '../../../src/vmx/entry-checks/controls.ts';
import { Entry } from '../../../src/vmx/entry-checks/entry.ts';
import { GUEST_RULES } from '../../../src/vmx/entry-checks/guest-state.ts';
import { HOST_RULES } from '../../../src/vmx/entry-checks/host-state.ts';
import type { Rule } from '../../../src/vmx/entry-checks/rule.ts';
import { entryProcessor } from '../../../src/vmx/machine.ts';
import { Vmcs } from '../../../src/vmx/vmcs.ts';
import { Processor, VMCS } from '../processor.ts';
import {
  CONTROL_ROWS,
  HOST_ROWS,
  OUTRANKED,
  REGISTER_ROWS,
  type RuleRow,
  SEGMENT_ROWS,
  type Setting,
  STATE_ROWS,
} from './rows.ts';

function prepared({ shape, efer, memory, ...fields }: Setting): Processor {
  const cpu = new Processor({ ...SAPPHIRE_RAPIDS_VMX, ...shape });
  cpu.enterable(fields);
  if (efer !== undefined) cpu.state.set(STATE.EFER, efer);
  for (const [address, value] of Object.entries(memory ?? {})) {
    cpu.memory.write(Number(address), 8, value);
  }
  return cpu;
}

/** What a VM entry that breaks one kind of rule looks like to the software that tried it. */
const OUTCOMES = {
  controls: { outcome: { VMfailValid: 7 }, field: 'VM_INSTRUCTION_ERROR', value: 7n },
  'host state': { outcome: { VMfailValid: 8 }, field: 'VM_INSTRUCTION_ERROR', value: 8n },
  'guest state': { outcome: 'VMsucceed', field: 'EXIT_REASON', value: 0x8000_0021n },
} as const;

const QUALIFICATIONS: Readonly<Record<string, bigint>> = {
  'guest PDPTEs have their reserved bits 0': 2n,
  'VMCS link pointer is 4-KByte aligned': 4n,
  'VMCS link pointer is within the physical-address width': 4n,
  'VMCS link pointer refers to a VMCS of this revision': 4n,
  'VMCS link pointer refers to a shadow VMCS exactly with VMCS shadowing': 4n,
  'VMCS link pointer is not the current VMCS': 4n,
};

function check(
  kind: keyof typeof OUTCOMES,
  rules: readonly Rule[],
  rows: readonly RuleRow[],
): void {
  const { outcome, field, value } = OUTCOMES[kind];

  it('are all tried, in the order in which they are checked', () => {
    const tried = [...rows.map(([rule]) => rule), ...OUTRANKED];
    const order = rules.map(({ rule }) => rule);
    expect(new Set(tried.filter((rule) => order.includes(rule)))).toEqual(new Set(order));
    expect(rows.map(([rule]) => rule)).toEqual(order.filter((rule) => !OUTRANKED.includes(rule)));
  });

  it.each(rows)('%s', (rule, fails, passes) => {
    for (const setting of fails) {
      const cpu = prepared(setting);
      expect(cpu.vmx.vmlaunch()).toEqual(outcome);
      expect(cpu.vmx.lastFailure).toEqual({ kind, rule });
      expect(cpu.get(field)).toBe(value);
      if (kind === 'guest state') {
        expect(cpu.get('EXIT_QUALIFICATION')).toBe(QUALIFICATIONS[rule] ?? 0n);
        expect(cpu.state.rip).toBe(0xa000n);
      }
      expect(cpu.vmx.nonRoot).toBeUndefined();
    }
    for (const setting of passes) {
      const cpu = prepared(setting);
      expect(cpu.vmx.vmlaunch(), JSON.stringify(cpu.vmx.lastFailure)).toBe('VMsucceed');
      expect(cpu.vmx.lastFailure).toBeUndefined();
      expect(cpu.vmx.nonRoot).toBeDefined();
    }
    expect(fails.length).toBeGreaterThan(0);
    expect(passes.length).toBeGreaterThan(0);
  });
}

describe('the rules about VMX controls', () => check('controls', CONTROL_RULES, CONTROL_ROWS));
describe('the rules about the host-state area', () => check('host state', HOST_RULES, HOST_ROWS));
describe('the rules about the guest-state area', () =>
  check('guest state', GUEST_RULES, [...REGISTER_ROWS, ...SEGMENT_ROWS, ...STATE_ROWS]));

it('a rule that earlier rules always outrank still holds its own condition', () => {
  const cpu = prepared({ VM_EXIT_CONTROLS: 0x0003_6dfb });
  const vmcs = new Vmcs(Number(VMCS));
  expect(cpu.vmx.vmclear(VMCS)).toBe('VMsucceed');
  vmcs.load(cpu.memory);
  const rule = HOST_RULES.find((row) => row.rule === 'a 32-bit host has no IA-32e mode guest');
  expect(rule?.ok(new Entry(entryProcessor(cpu.vmx.machine), vmcs))).toBe(false);
});

it('there are at least 150 rules', () => {
  expect(CONTROL_RULES.length + HOST_RULES.length + GUEST_RULES.length).toBeGreaterThan(200);
});
