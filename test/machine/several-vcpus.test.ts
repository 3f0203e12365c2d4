import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { exitsByReason } from '../../src/machine/accesses.ts';
import { costs } from '../../src/machine/costs.ts';
import { createMachine } from '../../src/machine/create.ts';
import { switching } from '../../src/machine/switching.ts';

it('what a VM of four vCPUs cost is told of all of them', () => {
  const image = new Uint8Array(readFileSync('firmware/kernels/counters.elf'));
  const machine = createMachine(image, { machine: 'emulated', processors: 4 });
  expect(machine.run().exitValue).toBe(0);
  const exits = exitsByReason(machine);
  // Four RDMSRs on each: two counters, the status, IA32_EFER on its way; three end in HLT; a PMI each.
  expect(exits).toMatchObject({ MSR_READ: 16, HLT: 3, EXCEPTION_NMI: 4 });
  const all = Object.values(exits).reduce((sum, times) => sum + times, 0);
  const transitions = costs(machine).find(({ row }) => row === 'vm-transition')!;
  expect(transitions).toMatchObject({ times: all, cycles: 900 * all });
  expect(switching(machine)).toMatchObject({ pmis: 4, entries: all });
}, 60_000);
