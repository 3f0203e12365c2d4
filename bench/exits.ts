import { Interpreter } from '../src/cpu/engines/wasm/interpreter.ts';
import { CODE, EPTP, Guest } from '../test/vmx/guest.ts';
import type { Fields } from '../test/vmx/processor.ts';

const WARM_UP = 20_000;
const ROUND_TRIPS = 50_000;
const RUNS = 5;
const GUEST_RIP = 0x681e;

/** Guests whose every second instruction exits. */
const CASES: readonly (readonly [title: string, fields: Fields])[] = [
  ['CPUID in a loop', {}],
  ['under EPT', { PRIMARY_CONTROLS: 0x8400_6172n, SECONDARY_CONTROLS: 2, EPT_POINTER: EPTP }],
  [
    'IA32_PERF_GLOBAL_CTRL both ways',
    { VM_EXIT_CONTROLS: 0x4003_7ffbn, VM_ENTRY_CONTROLS: 0x33fb },
  ],
];

/** VM entries, instructions up to the exit, and VM exits, per second of processor time, root-mode software in TypeScript. */
function rate(fields: Fields): number {
  const guest = new Guest(fields, undefined, (core) => new Interpreter(core)).code('0f a2 eb fc');
  const { vmx, cpu } = guest.processor;
  const go = (count: number) => {
    for (let i = 0; i < count; i++) {
      vmx.vmwrite(GUEST_RIP, BigInt(CODE + 2));
      if (vmx.vmresume() !== 'VMsucceed') throw new Error('VMRESUME failed');
      if (cpu.run(100).reason !== 'vm-exit') throw new Error('no VM exit');
    }
  };
  if (vmx.vmlaunch() !== 'VMsucceed') throw new Error('VMLAUNCH failed');
  cpu.run(100);
  go(WARM_UP);
  const rates = Array.from({ length: RUNS }, () => {
    const start = process.cpuUsage().user;
    go(ROUND_TRIPS);
    return (ROUND_TRIPS / (process.cpuUsage().user - start)) * 1e6;
  });
  return rates.sort((a, b) => a - b)[RUNS >> 1]!;
}

for (const [title, fields] of CASES) {
  console.log(
    `${title.padEnd(32)} ${rate(fields).toFixed(0).padStart(7)} round trips per second of processor time`,
  );
}
