import type { Insn } from '../cpu/insn.ts';
import type { IoIntercept, PlainIntercept } from '../cpu/ports.ts';
import { STATE } from '../cpu/state/layout.ts';
import { VmExit } from '../cpu/vm-exit.ts';
import { PRIMARY, SECONDARY } from '../msr/vmx.ts';
import { ControlRegisterIntercepts } from './control-register-intercepts.ts';
import { EXIT_REASON } from './exit-reasons.ts';
import { FIELDS } from './fields.ts';
import {
  descriptorTableInformation,
  displacement,
  invalidationInformation,
  memoryInformation,
  randomInformation,
  stringIoInformation,
} from './instruction-information.ts';
import { ioExits } from './io-bitmap.ts';
import { msrExits } from './msr-bitmap.ts';
import { PauseLoop } from './pause-loop.ts';

/** Instructions whose exit is decided by one control: in which word, or always. */
// biome-ignore format: a table
const PLAIN: Readonly<Record<PlainIntercept, { reason: number; primary?: number; secondary?: number }>> = {
  CPUID:   { reason: EXIT_REASON.CPUID },
  GETSEC:  { reason: EXIT_REASON.GETSEC },
  HLT:     { reason: EXIT_REASON.HLT, primary: PRIMARY.HLT_EXITING },
  INVD:    { reason: EXIT_REASON.INVD },
  MONITOR: { reason: EXIT_REASON.MONITOR_INSTRUCTION, primary: PRIMARY.MONITOR_EXITING },
  MWAIT:   { reason: EXIT_REASON.MWAIT_INSTRUCTION, primary: PRIMARY.MWAIT_EXITING },
  PAUSE:   { reason: EXIT_REASON.PAUSE_INSTRUCTION, primary: PRIMARY.PAUSE_EXITING },
  RDPMC:   { reason: EXIT_REASON.RDPMC, primary: PRIMARY.RDPMC_EXITING },
  RDTSC:   { reason: EXIT_REASON.RDTSC, primary: PRIMARY.RDTSC_EXITING },
  RDTSCP:  { reason: EXIT_REASON.RDTSCP, primary: PRIMARY.RDTSC_EXITING },
  RSM:     { reason: EXIT_REASON.RSM },
  WBINVD:  { reason: EXIT_REASON.WBINVD, secondary: SECONDARY.WBINVD_EXITING },
  XSETBV:  { reason: EXIT_REASON.XSETBV },
};

/** Instructions that exit. Vol. 3, "Instructions That Cause VM Exits". */
export class InstructionIntercepts extends ControlRegisterIntercepts {
  protected readonly pauses = new PauseLoop();

  plain(name: PlainIntercept, insn: Insn): boolean {
    const { reason, primary, secondary } = PLAIN[name];
    if (name === 'PAUSE' && this.#pausesTooLong()) return this.exits(reason, insn);
    if (primary !== undefined && !this.primary(primary)) return false;
    if (secondary !== undefined && !this.secondary(secondary)) return false;
    // Of MWAIT the exit qualification says whether the address-range monitoring hardware is armed.
    const armed = name === 'MWAIT' && this.machine.core.monitoring;
    return this.exits(reason, insn, armed ? { qualification: 1n } : undefined);
  }

  invlpg(linear: bigint, insn: Insn): void {
    if (!this.primary(PRIMARY.INVLPG_EXITING)) return;
    this.exit(EXIT_REASON.INVLPG, insn, { qualification: linear });
  }

  invpcid(insn: Insn): void {
    if (!this.primary(PRIMARY.INVLPG_EXITING)) return;
    this.exit(EXIT_REASON.INVPCID, insn, {
      qualification: displacement(insn, this.rip),
      instructionInformation: invalidationInformation(insn),
    });
  }

  rdmsr(address: number, insn: Insn): boolean {
    if (this.#msrPasses(address, 'read')) return false;
    return this.exits(EXIT_REASON.MSR_READ, insn);
  }

  wrmsr(address: number, _value: bigint, insn: Insn): boolean {
    if (this.#msrPasses(address, 'write')) return false;
    return this.exits(EXIT_REASON.MSR_WRITE, insn);
  }

  rdrand(insn: Insn): void {
    if (!this.secondary(SECONDARY.RDRAND_EXITING)) return;
    this.exit(EXIT_REASON.RDRAND, insn, { instructionInformation: randomInformation(insn) });
  }

  rdseed(insn: Insn): void {
    if (!this.secondary(SECONDARY.RDSEED_EXITING)) return;
    this.exit(EXIT_REASON.RDSEED, insn, { instructionInformation: randomInformation(insn) });
  }

  xsaves(insn: Insn): void {
    this.#xsaves(EXIT_REASON.XSAVES, insn);
  }

  xrstors(insn: Insn): void {
    this.#xsaves(EXIT_REASON.XRSTORS, insn);
  }

  io(access: IoIntercept, insn: Insn): boolean {
    const { port, size } = access;
    if (this.primary(PRIMARY.USE_IO_BITMAPS)) {
      const a = Number(this.vmcs.read(FIELDS.IO_BITMAP_A_ADDRESS));
      const b = Number(this.vmcs.read(FIELDS.IO_BITMAP_B_ADDRESS));
      if (!ioExits(this.machine.memory, a, b, port, size)) return false;
    } else if (!this.primary(PRIMARY.UNCONDITIONAL_IO_EXITING)) return false;
    const qualification =
      (size - 1) |
      (access.direction === 'in' ? 1 << 3 : 0) |
      (access.string ? 1 << 4 : 0) |
      (access.rep ? 1 << 5 : 0) |
      (access.immediate ? 1 << 6 : 0) |
      (port << 16);
    return this.exits(EXIT_REASON.IO_INSTRUCTION, insn, {
      qualification: BigInt(qualification >>> 0),
      guestLinear: access.linear ?? 0n,
      instructionInformation: access.string ? stringIoInformation(insn, access.segment) : 0,
    });
  }

  descriptorTable(insn: Insn): void {
    if (!this.secondary(SECONDARY.DESCRIPTOR_TABLE_EXITING)) return;
    const global = insn.op.endsWith('GDT') || insn.op.endsWith('IDT');
    this.exit(global ? EXIT_REASON.GDTR_IDTR : EXIT_REASON.LDTR_TR, insn, {
      qualification: displacement(insn, this.rip),
      instructionInformation: descriptorTableInformation(insn),
    });
  }

  movDr(number: number, direction: 'to' | 'from', register: number, insn: Insn): void {
    if (!this.primary(PRIMARY.MOV_DR_EXITING)) return;
    const qualification = number | (direction === 'from' ? 1 << 4 : 0) | (register << 8);
    this.exit(EXIT_REASON.DR_ACCESS, insn, { qualification: BigInt(qualification) });
  }

  taskSwitch(selector: number, source: 'CALL' | 'IRET' | 'JMP' | 'gate', length: number): void {
    const code = { CALL: 0, IRET: 1, JMP: 2, gate: 3 }[source];
    throw new VmExit(EXIT_REASON.TASK_SWITCH, {
      qualification: BigInt(((code << 30) | selector) >>> 0),
      instructionLength: length,
    });
  }

  enabled(instruction: 'RDTSCP' | 'INVPCID' | 'XSAVES' | 'TPAUSE'): boolean {
    return this.secondary(
      {
        RDTSCP: SECONDARY.ENABLE_RDTSCP,
        INVPCID: SECONDARY.ENABLE_INVPCID,
        XSAVES: SECONDARY.ENABLE_XSAVES_XRSTORS,
        TPAUSE: SECONDARY.ENABLE_USER_WAIT_AND_PAUSE,
      }[instruction],
    );
  }

  #msrPasses(address: number, access: 'read' | 'write'): boolean {
    if (!this.primary(PRIMARY.USE_MSR_BITMAPS)) return false;
    const bitmaps = Number(this.vmcs.read(FIELDS.MSR_BITMAP_ADDRESS));
    return !msrExits(this.machine.memory, bitmaps, address, access);
  }

  /** PAUSE-loop exiting, which PAUSE exiting overrides. */
  #pausesTooLong(): boolean {
    const { state } = this.machine.core;
    if (!this.secondary(SECONDARY.PAUSE_LOOP_EXITING) || state.cpl !== 0) return false;
    const [gap, window] = [FIELDS.PLE_GAP, FIELDS.PLE_WINDOW].map((field) =>
      this.vmcs.read32(field),
    );
    return this.pauses.exceeds(state.total('ticks'), gap!, window!);
  }

  #xsaves(reason: number, insn: Insn): void {
    const { state } = this.machine.core;
    const asked = (state.gpr[2]! << 32n) | (state.gpr[0]! & 0xffff_ffffn);
    const bitmap = this.vmcs.read(FIELDS.XSS_EXITING_BITMAP);
    if ((asked & state.get(STATE.XSS) & bitmap) === 0n) return;
    this.exit(reason, insn, {
      qualification: displacement(insn, this.rip),
      instructionInformation: memoryInformation(insn),
    });
  }
}
