import { expect, it } from 'vitest';
import { readings, verdicts } from '../../src/lab/readings.ts';

const CONSOLE = [
  'counterpoint guest: multiplex',
  'read slots 8',
  'raw branches 5466703',
  'scaled branches 8200054 running 40 enabled 60',
  'scaled loads not-counted running 0 enabled 60',
  'by-hand branches 8200055',
  'PASS: every event ran at some time',
  'FAIL: the timer turned the list: is 1, must be 0',
  'SKIP: VMCALL: no hypervisor answers',
  'scaled nonsense',
].join('\r\n');

it('a guest’s readings are its lines in the agreed form, nothing else', () => {
  expect(readings(CONSOLE)).toEqual([
    { kind: 'read', name: 'slots', value: 8n },
    { kind: 'raw', name: 'branches', value: 5466703n },
    { kind: 'scaled', name: 'branches', value: 8200054n, running: 40n, enabled: 60n },
    { kind: 'scaled', name: 'loads', value: undefined, running: 0n, enabled: 60n },
    { kind: 'by-hand', name: 'branches', value: 8200055n },
  ]);
});

it('a guest’s verdicts are its PASS, FAIL and SKIP lines', () => {
  expect(verdicts(CONSOLE)).toEqual({
    passed: ['every event ran at some time'],
    failed: ['the timer turned the list: is 1, must be 0'],
    skipped: ['VMCALL: no hypervisor answers'],
  });
});
