import { RFLAGS } from '../cpu/control-registers.ts';
import { Oracle } from '../cpu/engines/oracle/oracle.ts';
import { Fault, VECTORS } from '../cpu/fault.ts';
import type { Insn } from '../cpu/insn.ts';
import type { CpuPorts, IoPort, NonRoot } from '../cpu/ports.ts';
import { coreFeatures } from '../cpu/profiles.ts';
import { SEGMENTS, STATE } from '../cpu/state/layout.ts';
import { State } from '../cpu/state/state.ts';
import { Core, type SystemFunction } from '../cpu/system/core.ts';
import { ins, outs } from '../cpu/system/port-io.ts';
import { VmExit } from '../cpu/vm-exit.ts';
import type { Emulation, Emulator, GuestFault, GuestPhysical } from '../kvm/ports.ts';
import { FIELDS, type FieldName } from '../vmx/fields.ts';
import type { Hardware } from './hardware.ts';
import type { Processor } from './processor.ts';

/** Where guest-physical addresses without RAM appear in the emulator's view: beyond any physical address. */
const MMIO_BASE = 2 ** 48;
const MMIO_SIZE = 2 ** 46;

/** Registers of 64 bits that the emulator takes from the VMCS and gives back. */
// biome-ignore format: a table
const FIELDS_64: readonly (readonly [FieldName, number])[] = [
  ['GUEST_CR0', STATE.CR0], ['GUEST_CR3', STATE.CR3], ['GUEST_CR4', STATE.CR4], ['GUEST_IA32_EFER', STATE.EFER],
  ['GUEST_RIP', STATE.RIP], ['GUEST_RSP', STATE.GPR + 4 * 8], ['GUEST_GDTR_BASE', STATE.GDTR_BASE], ['GUEST_IDTR_BASE', STATE.IDTR_BASE],
];
const FIELDS_32: readonly (readonly [FieldName, number])[] = [
  ['GUEST_GDTR_LIMIT', STATE.GDTR_LIMIT],
  ['GUEST_IDTR_LIMIT', STATE.IDTR_LIMIT],
];

/** Of each segment register, the names of its four fields. */
const SEGMENT_FIELDS = SEGMENTS.map(
  (name) =>
    [
      name,
      `GUEST_${name}_SELECTOR`,
      `GUEST_${name}_BASE`,
      `GUEST_${name}_LIMIT`,
      `GUEST_${name}_ACCESS_RIGHTS`,
    ] as const,
);

/** String I/O is the emulator's, too: the VM exit says where, but not what. */
const STRING_IO: Readonly<Record<string, SystemFunction>> = { INS: ins, OUTS: outs };

/** Longest REP instruction that is carried out in one go. */
const MOST_ITERATIONS = 1_000_000;

/**
 * KVM's instruction emulator on one processor: the oracle engine on a state block of its own. It takes the guest from
 * the current VMCS and the processor's registers, executes one instruction, and puts it back. Nothing is counted.
 */
export function guestEmulator(
  processor: Processor,
  hardware: Hardware,
  guest: GuestPhysical,
  io: IoPort,
): Emulator {
  const { memory, profile } = hardware;
  const window = memory.attachAbove(MMIO_BASE, MMIO_SIZE, guest.mmio);
  const state = new State(new WebAssembly.Memory({ initial: 1 }), 0);
  const nonRoot = {
    translate: (physical: number) => ({
      physical: guest.hostAddress(physical) ?? window + physical,
      writable: true,
      executable: true,
    }),
    io: () => false,
  } as unknown as NonRoot;
  const ports: CpuPorts = {
    ...processor.cpu.ports,
    io,
    time: {
      horizon: () => Number.POSITIVE_INFINITY,
      boundary: () => {},
      modeChanging: () => {},
      modeChanged: () => {},
    },
    vmx: { ...({} as NonNullable<CpuPorts['vmx']>), nonRoot, operation: true },
  };
  const core = new Core(state, ports, coreFeatures(profile.cpu, profile.pmu.shape), {
    flush: () => oracle.flush(),
    retagged: () => oracle.retagged(),
    debugChanged: () => {},
    endSlice: () => {},
  });
  const oracle = new Oracle(core);

  const read = (name: FieldName) => processor.vmx.vmread(FIELDS[name].encoding) ?? 0n;
  const write = (name: FieldName, value: bigint) =>
    processor.vmx.vmwrite(FIELDS[name].encoding, value);
  const copy = (from: State, to: State, start: number, end: number) =>
    new Uint8Array(to.view.buffer, to.base + start, end - start).set(
      new Uint8Array(from.view.buffer, from.base + start, end - start),
    );

  const take = (): void => {
    copy(processor.state, state, STATE.GPR, STATE.RIP);
    copy(processor.state, state, STATE.DR, STATE.DR + 56);
    copy(processor.state, state, STATE.STAR, STATE.SEGMENT);
    copy(processor.state, state, STATE.MXCSR, STATE.SCRATCH);
    state.set(STATE.XCR0, processor.state.get(STATE.XCR0));
    for (const [name, offset] of FIELDS_64) state.set(offset, read(name));
    for (const [name, offset] of FIELDS_32) state.set32(offset, Number(read(name)));
    for (const [name, selector, base, limit, rights] of SEGMENT_FIELDS) {
      state.setSegment(name, {
        selector: Number(read(selector)),
        base: read(base),
        limit: Number(read(limit)),
        rights: Number(read(rights)),
      });
    }
    state.set32(STATE.CPL, (state.segment('SS').rights >>> 5) & 3);
    state.set32(STATE.INTERRUPTIBILITY, 0);
    core.rflags = read('GUEST_RFLAGS') & ~RFLAGS.TF;
    oracle.flush();
  };

  const give = (): void => {
    const rsp = processor.state.gpr[4]!;
    copy(state, processor.state, STATE.GPR, STATE.RIP);
    processor.state.gpr[4] = rsp;
    copy(state, processor.state, STATE.MXCSR, STATE.SCRATCH);
    write('GUEST_RIP', state.rip);
    write('GUEST_RSP', state.gpr[4]!);
    write('GUEST_RFLAGS', core.rflags | (read('GUEST_RFLAGS') & RFLAGS.TF));
  };

  const asFault = ({ exception, code, address }: Fault): GuestFault => ({
    kind: 'fault',
    vector: VECTORS[exception],
    errorCode: code,
    address,
  });

  /** What a REP instruction has done before it faults is done. */
  const fault = (thrown: Fault): Emulation => {
    give();
    return asFault(thrown);
  };

  /** An access to the guest's memory, and the fault it ends in if it does. */
  const attempt = <Result>(access: () => Result): Result | GuestFault => {
    take();
    try {
      return access();
    } catch (thrown) {
      if (thrown instanceof Fault) return asFault(thrown);
      throw thrown;
    }
  };

  /** One element. Whether it was the last. @throws Fault */
  const stringIo = (insn: Insn): boolean => {
    const from = state.rip;
    core.nextRip = core.ripAfter(insn);
    STRING_IO[insn.op]!(core, insn);
    state.rip = core.nextRip;
    return state.rip !== from;
  };

  /** One tick of the instruction at RIP: whether it has retired, or what is in the way. */
  const tick = (): boolean | Emulation => {
    const before = state.total('instructions');
    try {
      const exit = oracle.step();
      if (exit?.reason === 'system' && exit.insn.op in STRING_IO) return stringIo(exit.insn);
      if (exit?.reason === 'fault') throw exit.fault;
      if (exit) return { kind: 'unsupported' };
    } catch (thrown) {
      if (thrown instanceof Fault) return fault(thrown);
      if (thrown instanceof VmExit) return { kind: 'unsupported' };
      throw thrown;
    }
    return state.total('instructions') !== before;
  };

  return {
    fetch(length) {
      take();
      const bytes: number[] = [];
      try {
        for (let at = 0; at < length; at++) {
          const linear = core.linearRip + BigInt(at);
          const { physical } = core.paging.translate(linear, 'execute', core.privilege);
          bytes.push(Number(memory.read(physical, 1)));
        }
      } catch (thrown) {
        if (!(thrown instanceof Fault)) throw thrown;
      }
      return Uint8Array.from(bytes);
    },

    emulate(skip) {
      take();
      state.rip += BigInt(skip);
      const branches = state.total('branches');
      for (let iteration = 0; iteration < MOST_ITERATIONS; iteration++) {
        const outcome = tick();
        if (outcome === false) continue;
        if (outcome !== true) return outcome;
        give();
        return { kind: 'done', branch: state.total('branches') !== branches };
      }
      return { kind: 'unsupported' };
    },

    load: (segment, offset, size) => attempt(() => core.load(segment, offset, size)),
    store: (segment, offset, size, value) =>
      attempt(() => {
        core.store(segment, offset, size, value);
        return undefined;
      }),
  };
}
