import { Interpreter } from '../src/cpu/engines/wasm/interpreter.ts';
import { CODE, EPTP, Guest } from '../test/vmx/guest.ts';
import type { Fields } from '../test/vmx/processor.ts';

const WARM_UP = 20_000;
const ROUND_TRIPS = 500;
const RUNS = 400;
const GUEST_RIP = 0x681e;
const HOST = 0xa000;

const VPID_AND_EPT: Fields = {
  PRIMARY_CONTROLS: 0x8400_6172n,
  SECONDARY_CONTROLS: 0x22,
  VIRTUAL_PROCESSOR_IDENTIFIER: 1,
  EPT_POINTER: EPTP,
};

/** Guests whose every second instruction exits. */
const CASES: readonly (readonly [title: string, fields: Fields])[] = [
  ['CPUID in a loop', {}],
  ['under EPT and VPID', VPID_AND_EPT],
  [
    'IA32_PERF_GLOBAL_CTRL both ways',
    { ...VPID_AND_EPT, VM_EXIT_CONTROLS: 0x4003_7ffbn, VM_ENTRY_CONTROLS: 0x33fb },
  ],
];

const guestOf = (fields: Fields) =>
  new Guest(fields, undefined, (core) => new Interpreter(core)).code('0f a2 eb fc'); // cpuid; jmp

/** Round trips of a hypervisor in TypeScript. */
function byTypeScript(fields: Fields): (count: number) => void {
  const { vmx, cpu } = guestOf(fields).processor;
  if (vmx.vmlaunch() !== 'VMsucceed') throw new Error('VMLAUNCH failed');
  cpu.run(100);
  return (count) => {
    for (let i = 0; i < count; i++) {
      vmx.vmwrite(GUEST_RIP, BigInt(CODE + 2));
      if (vmx.vmresume() !== 'VMsucceed') throw new Error('VMRESUME failed');
      if (cpu.run(100).reason !== 'vm-exit') throw new Error('no VM exit');
    }
  };
}

/** Round trips of a hypervisor in guest code: four instructions of its own, and one of its guest. */
function byGuestCode(fields: Fields): (count: number) => void {
  const guest = guestOf(fields);
  const { cpu, state } = guest.processor;
  // mov eax,681eh; mov edx,CODE + 2; vmwrite rax,rdx; vmresume; and vmlaunch to begin with
  guest.code('b8 1e 68 00 00 ba 02 e0 00 00 0f 79 c2 0f 01 c3', HOST);
  guest.code('0f 01 c2', HOST - 3);
  state.rip = BigInt(HOST - 3);
  return (count) => {
    if (cpu.run(count * 5).reason !== 'budget') throw new Error('the hypervisor stopped');
  };
}

/** The best of many short runs, because machines are shared: round trips per second. */
function rate(go: (count: number) => void): number {
  go(WARM_UP);
  let best = 0;
  for (let i = 0; i < RUNS; i++) {
    const start = process.hrtime.bigint();
    go(ROUND_TRIPS);
    best = Math.max(best, (ROUND_TRIPS / Number(process.hrtime.bigint() - start)) * 1e9);
  }
  return best;
}

for (const [title, fields] of CASES) {
  for (const [who, make] of [
    ['hypervisor in TypeScript', byTypeScript],
    ['hypervisor in guest code', byGuestCode],
  ] as const) {
    const best = rate(make(fields)).toFixed(0).padStart(7);
    console.log(`${title.padEnd(32)} ${who} ${best} round trips per second, best of ${RUNS}`);
  }
}
