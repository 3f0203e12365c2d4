import { DESIGNS } from '../../kvm/vpmu/designs.ts';
import { HARDWARE_EVENTS, type PerfEventAttr, perfEventAttr } from '../../perf/attr.ts';
import { type PerfEvent, STATE } from '../../perf/event.ts';
import { GuestCode } from './guest-code.ts';
import { hostFor, type Scenario } from './scenario.ts';

const MSR = { DEBUGCTL: 0x1d9, LBR_SELECT: 0x1c8, TOS: 0x1c9, FROM0: 0x680 } as const;
/** Unconditional jumps at CPL 0. */
const SELECT = 0x6n;
const JUMPS = 3;
const [MSR_READ, MSR_WRITE] = [31, 32] as const;

/** Jumps under DEBUGCTL.LBR, a long loop that is not recorded, then what FROM says of each. */
function guestProgram() {
  const code = new GuestCode()
    .wrmsr(MSR.LBR_SELECT, SELECT)
    .wrmsr(MSR.TOS, 0n)
    .wrmsr(MSR.DEBUGCTL, 1n);
  const jumps: bigint[] = [];
  for (let i = 0; i < JUMPS; i++) {
    jumps.push(BigInt(code.here));
    code.jump();
  }
  code.loop(20_000);
  for (let i = 1; i <= JUMPS; i++) code.reportMsr(MSR.FROM0 + i);
  return { code: code.end().bytes, jumps };
}

const NAMES: Readonly<Record<number, string>> = {
  [STATE.ERROR]: 'ERROR',
  [STATE.INACTIVE]: 'waits',
  [STATE.ACTIVE]: 'ACTIVE',
};
const stateOf = (event: PerfEvent | undefined): string =>
  event ? (NAMES[event.state] ?? 'off') : 'none';

/** `perf record -b` on the CPU, in the host alone. */
const HOST_USER: Partial<PerfEventAttr> = {
  config: HARDWARE_EVENTS['cpu-cycles'],
  branchSelect: 0n,
  excludeGuest: true,
};

const CASES = {
  'no host user': undefined,
  'a pinned host user': { ...HOST_USER, pinned: true },
  'a flexible host user': HOST_USER,
} as const;
type Case = keyof typeof CASES;

/** A guest's LBRs are a pseudo event. */
export const lastBranches: Scenario = {
  name: 'last-branches',
  title: 'the guest’s LBRs under the emulated vPMU are an event that can lose',
  why:
    'There is one LBR stack and one LBR_SELECT. KVM claims them for a guest by a pinned event on its thread that counts ' +
    'nothing (1B00H, index 58). While that is ACTIVE the registers pass and cost nothing; beside a CPU-pinned host user it ' +
    'goes to ERROR, and then every access exits, reads give 0 and writes are lost, without a fault. A flexible host user ' +
    'waits instead. Architectural LBRs, as Sapphire Rapids has them, KVM does not virtualise; a mediated vPMU has none.',
  columns: Object.keys(CASES),
  run: () => {
    const answers = (Object.keys(CASES) as Case[]).map((column) => {
      const machine = hostFor('emulated', {
        profile: 'skylake-server-whole',
      });
      const told = CASES[column];
      const user = told && machine.perf.create(perfEventAttr(told), { cpu: 0 });
      const { code, jumps } = guestProgram();
      const guest = machine.start({ code, design: DESIGNS.emulated, exposure: { lbr: true } });
      machine.run(60_000);
      const claim = [...machine.perf.events].find(({ attr }) => attr.excludeHost);
      const states = { claim: stateOf(claim), user: stateOf(user) };
      machine.finish();
      const { exits } = guest.vcpu.statistics;
      return {
        'branches the guest recorded': JUMPS,
        'of them it reads back right': jumps.filter((at, i) => guest.readings[i] === at).length,
        'state of the guest’s claim': states.claim,
        'state of the host’s event': states.user,
        'exits for RDMSR and WRMSR': (exits.get(MSR_READ) ?? 0) + (exits.get(MSR_WRITE) ?? 0),
      };
    });
    return (Object.keys(answers[0]!) as (keyof (typeof answers)[0])[]).map((what) => ({
      what,
      values: Object.fromEntries(
        Object.keys(CASES).map((column, at) => [column, answers[at]![what]]),
      ),
    }));
  },
};
