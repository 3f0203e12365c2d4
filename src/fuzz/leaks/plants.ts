import type { Chamber } from '../chamber.ts';
import { LAYOUT } from '../guest/layout.ts';

/** A leak made on purpose, from outside: nothing of it is in the code of the product. */
export interface Plant {
  readonly channel: number;
  /** What is broken, and how. */
  readonly what: string;
  readonly plant: (chamber: Chamber) => void;
}

const A_PMC0 = 0x4c1;
const STATUS = { READ: 0x38e, SET: 0x391 } as const;
const PEBS = { ENABLE: 0x3f1, DS_AREA: 0x600 } as const;
const RDPMC_EXITING = 1n << 11n;
const CR4_PCE = 1n << 8n;
const EN_OS_USR_INSTRUCTIONS = 0x43_00c0n;

type Method = (...told: never[]) => unknown;

/** Puts a method of one object in front of the one it has. */
function around<T extends object, K extends keyof T>(
  object: T,
  name: K,
  make: (real: T[K] & Method) => T[K],
): void {
  const real = (object[name] as Method).bind(object) as T[K] & Method;
  Object.assign(object, { [name]: make(real) });
}

const vpmuOf = ({ guest }: Chamber) => guest.vcpu.vpmu;

/** Reads and writes of the physical registers, as root-mode software that knows no better. */
const physical = ({ processor }: Chamber) => ({
  read: (address: number): bigint => {
    const value = processor.msrs.rdmsr(address);
    return typeof value === 'bigint' ? value : 0n;
  },
  write: (address: number, value: bigint) => void processor.msrs.wrmsr(address, value),
});

/** Opens accesses in the MSR bitmap that are to exit. */
const open =
  (access: 'read' | 'write', ...addresses: readonly number[]) =>
  ({ guest: { vm, vcpu } }: Chamber) => {
    for (const address of addresses) vm.bitmapFor(vcpu).set(address, access, false);
  };

/** Does something before and something after LOAD. */
const atLoad =
  (
    after: (chamber: Chamber, before: readonly bigint[]) => void,
    registers: readonly number[] = [],
  ) =>
  (chamber: Chamber) => {
    const { read } = physical(chamber);
    around(vpmuOf(chamber), 'load', (real) => () => {
      const before = registers.map(read);
      real();
      after(chamber, before);
    });
  };

const range = (first: number, count: number) => Array.from({ length: count }, (_, i) => first + i);

/** Every channel once, each with the smallest fault of hardware or hypervisor that opens it. */
export const PLANTS: readonly Plant[] = [
  {
    channel: 1,
    what: 'LOAD leaves a counter as it was when the guest’s value is 0',
    plant: atLoad(
      (chamber, before) => {
        const { read, write } = physical(chamber);
        for (const [at, value] of before.entries()) {
          if (read(A_PMC0 + at) === 0n) write(A_PMC0 + at, value);
        }
      },
      range(A_PMC0, 4),
    ),
  },
  {
    channel: 2,
    what: 'the MSR bitmap intercepts 0xC5 to 0xC8 and forgets 0x4C5 to 0x4C8',
    plant: open('read', ...range(0x4c5, 4)),
  },
  {
    channel: 3,
    what: 'the MSR bitmap opens all eight counters to a guest with four',
    plant: open('read', ...range(0xc5, 4)),
  },
  {
    channel: 4,
    what: 'the MSR bitmap opens the fixed counters the guest was not given',
    plant: open('read', 0x30b, 0x30c),
  },
  { channel: 5, what: 'the MSR bitmap opens MSR_PERF_METRICS', plant: open('read', 0x329) },
  {
    channel: 6,
    what: 'RDPMC exiting is off in a guest that lacks counters',
    plant: ({ guest: { vcpu } }) => {
      vcpu.write('PRIMARY_CONTROLS', vcpu.read('PRIMARY_CONTROLS') & ~RDPMC_EXITING);
    },
  },
  {
    channel: 7,
    what: 'the guest runs with CR4.PCE set though it cleared it: the real CR4 and the guest’s view differ',
    plant: (chamber) => {
      const { vcpu } = chamber.guest;
      around(vpmuOf(chamber), 'sync', (real) => () => {
        real();
        vcpu.write('GUEST_CR4', vcpu.read('GUEST_CR4') | CR4_PCE);
      });
    },
  },
  {
    channel: 8,
    what: 'the MSR bitmap opens the selectors of counters the guest was not given',
    plant: open('read', ...range(0x18a, 4)),
  },
  {
    channel: 9,
    what: 'writes of FIXED_CTR_CTRL pass on a processor with AnyThread bits',
    plant: open('write', 0x38d),
  },
  {
    channel: 10,
    what: 'LOAD leaves the overflow bits of the host in GLOBAL_STATUS',
    plant: atLoad(
      (chamber, [status = 0n]) => physical(chamber).write(STATUS.SET, status),
      [STATUS.READ],
    ),
  },
  { channel: 11, what: 'writes of GLOBAL_STATUS_SET pass', plant: open('write', STATUS.SET) },
  {
    channel: 12,
    what: 'the VM exit does not load the host’s GLOBAL_CTRL: counting goes on in root mode',
    plant: (chamber) =>
      around(vpmuOf(chamber), 'globalCtrlSwitch', (real) => () => {
        const sides = real();
        return sides && { ...sides, host: sides.guest };
      }),
  },
  {
    channel: 13,
    what: 'the handler of the mediated PMI gives the interrupt to the host’s NMI handlers',
    plant: (chamber) =>
      around(vpmuOf(chamber), 'mediatedPmi', () => () => chamber.host.handleNmi()),
  },
  {
    channel: 14,
    what: 'LOAD leaves the LVTPC of the host in place',
    plant: ({ machine }) => around(machine.perf, 'loadGuestLvtpc', () => () => {}),
  },
  {
    channel: 15,
    what: 'the MSR bitmap opens the last branch records',
    plant: open('read', ...range(0x1500, 4), ...range(0x1600, 4)),
  },
  {
    channel: 16,
    what: 'LOAD leaves PEBS of the host armed, its DS area at a linear address the guest uses',
    plant: atLoad((chamber) => {
      const { ram } = chamber.guest;
      const { write } = physical(chamber);
      const buffer = BigInt(LAYOUT.OPERANDS + 0x200);
      const area = [0n, 0n, 0n, 0n, buffer, buffer, buffer + 0x800n, buffer + 0x800n];
      for (const [at, value] of area.entries()) ram.write(LAYOUT.OPERANDS + 8 * at, 8, value);
      write(PEBS.DS_AREA, BigInt(LAYOUT.OPERANDS));
      write(PEBS.ENABLE, 1n);
    }),
  },
  {
    channel: 17,
    what: 'the MSR bitmap has a hole at IA32_MISC_ENABLE and one at its last low MSR, 0x1FFF',
    plant: open('read', 0x1a0, 0x1fff),
  },
  {
    channel: 18,
    what: 'the instruction emulator carries RDMSR out on the physical register',
    plant: (chamber) => {
      const { vm, vcpu } = chamber.guest;
      const emulator = vm.emulator(chamber.host.id);
      around(emulator, 'emulate', (real) => (skip) => {
        const bytes = emulator.fetch(skip + 2);
        if (bytes[skip] !== 0x0f || bytes[skip + 1] !== 0x32) return real(skip);
        const value = physical(chamber).read(Number(vcpu.gpr[1]! & 0xffff_ffffn));
        vcpu.gpr[0] = value & 0xffff_ffffn;
        vcpu.gpr[2] = value >> 32n;
        vcpu.write('GUEST_RIP', vcpu.rip + BigInt(skip + 2));
        return { kind: 'done', branch: false };
      });
    },
  },
  {
    channel: 19,
    what: 'a guest’s guest runs by the MSR bitmap of its own hypervisor: nobody has added that of the host',
    plant: (chamber) => {
      const { vcpu, ram } = chamber.guest;
      const { memory } = chamber.machine.hardware;
      around(vpmuOf(chamber), 'sync', (real) => () => {
        real();
        if (!vcpu.nested?.guestMode) return;
        const used = Number(vcpu.read('MSR_BITMAP_ADDRESS'));
        memory.load(used, ram.slice(LAYOUT.MSR_BITMAP, 0x1000));
      });
    },
  },
  {
    channel: 20,
    what: 'a new event filter does not reach counters that are programmed already',
    plant: (chamber) => around(vpmuOf(chamber), 'refresh', () => () => {}),
  },
  {
    channel: 21,
    what: 'RESET leaves the virtual PMU as it is: the next tenant finds it',
    plant: (chamber) => around(vpmuOf(chamber), 'reset', () => () => {}),
  },
  {
    channel: 22,
    what: 'PERF_CAPABILITIES denies full-width writes that work',
    plant: (chamber) =>
      around(
        vpmuOf(chamber),
        'rdmsr',
        (real) => (address) => (address === 0x345 ? 0n : real(address)),
      ),
  },
  {
    channel: 23,
    what: 'IA32_APERF answers with the host’s ticks',
    plant: ({ guest: { vcpu }, host }) =>
      around(
        vcpu.msrs,
        'rdmsr',
        (real) => (cpu, address) => (address === 0xe8 ? host.now() : real(cpu, address)),
      ),
  },
  {
    channel: 24,
    what: 'an instruction that the hypervisor completes is counted twice',
    plant: (chamber) =>
      around(vpmuOf(chamber), 'instructionRetired', (real) => (instruction) => {
        real(instruction);
        real(instruction);
      }),
  },
  {
    channel: 25,
    what: 'the saved VM takes the physical counters along',
    plant: (chamber) =>
      around(vpmuOf(chamber), 'save', (real) => () => ({
        ...(real() as object),
        physical: range(A_PMC0, 8).map(physical(chamber).read),
      })),
  },
  {
    channel: 26,
    what: 'VM entry opens a counter of the host beside the guest’s',
    plant: (chamber) => {
      around(vpmuOf(chamber), 'globalCtrlSwitch', (real) => () => {
        const sides = real();
        return sides && { ...sides, guest: sides.guest | 0x80n };
      });
      atLoad((at) => physical(at).write(0x18d, EN_OS_USR_INSTRUCTIONS))(chamber);
    },
  },
];
