import { describe, expect, it } from 'vitest';
import { openGuest } from '../../src/lab/guests.ts';
import { type TraceOptions, traceText } from '../../src/lab/trace-text.ts';
import { createMachine } from '../../src/machine/create.ts';

/** What a trace of KVM shows of the first instructions of `overflow`, without times. */
function traceOf(kernel: NonNullable<TraceOptions['kernel']>): string[] {
  const machine = createMachine(openGuest('overflow').bytes, { machine: 'emulated' });
  const lines: string[] = [];
  const write = (line: string) => lines.push(line.replace(/^.*? \d+\.\d+: /, '').trimEnd());
  traceText(machine, undefined, { kinds: new Set(['kvm']), kernel, write });
  machine.run({ maxInstructions: 60_000n });
  return lines;
}

describe('the trace of KVM', () => {
  it('tells in 6.1 of an injected interrupt by a tracepoint of its own', () => {
    const trace = traceOf('6.1');
    const at = trace.indexOf('kvm_inj_virq: IRQ 0x40');
    expect(trace[at + 1]).toMatch(/^kvm_entry: vcpu 0, rip 0x[0-9a-f]+$/);
  });

  it('tells in 6.18 of it at the entry, too', () => {
    const trace = traceOf('6.18');
    const at = trace.indexOf('kvm_inj_virq: IRQ 0x40');
    expect(trace[at + 1]).toMatch(/^kvm_entry: .* intr_info 0x80000040 error_code 0x00000000$/);
  });
});
