import { describe, expect, it } from 'vitest';
import { DESIGNS } from '../../src/kvm/vpmu/designs.ts';
import { exitReasonName } from '../../src/vmx/exit-reasons.ts';
import { hosted } from './hosted.ts';

describe.each(['emulated', 'mediated'] as const)('the %s design', (name) => {
  it.each(['count', 'overflow', 'emulated'])('runs %s', (guest) => {
    const run = hosted({ guest, design: DESIGNS[name] });
    const stop = run.run();
    console.log(
      stop,
      run.board.console,
      run.board.exitValue,
      [...run.vcpu.statistics.exits].map(([r, n]) => `${exitReasonName(r)} ${n}`),
    );
    expect(stop).toBe('stopped');
    expect(run.board.exitValue).toBe(0);
  });
});
