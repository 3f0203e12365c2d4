import { STATE } from '../../src/cpu/state/layout.ts';
import { bytes, CountingProcessor } from './counting-processor.ts';

const GDT = 0x4000n;
const IDT = 0x5000n;
const TSS = 0x6000n;
const HANDLERS = 0x2_0000;
const INNER_STACK = 0x7_8000n;

/** What a program finds at the vector, or behind the instruction, that takes it there; one label each. */
// biome-ignore format: a table
const HANDLERS_CODE = {
  // IRETQ.
  RETURN:   '48 cf',
  // AND DWORD [RSP+16], ~TF; IRETQ.
  DEBUG:    '81 64 24 10 ff fe ff ff  48 cf',
  // Skips R14 bytes: ADD [RSP], R14; IRETQ.
  SKIP:     '4c 01 34 24  48 cf',
  // Drops an error code before: LEA RSP, [RSP+8]; ADD; IRETQ.
  SKIP_CODE: '48 8d 64 24 08  4c 01 34 24  48 cf',
  // And mends a page table: LEA; ADD; MOV [R13], R12; IRETQ.
  MEND:     '48 8d 64 24 08  4c 01 34 24  4d 89 65 00  48 cf',
  // Three PUSH; MOV, XOR, XOR, WRMSR of EOI; three POP; IRETQ.
  INTERRUPT: '50 51 52  b9 0b 08 00 00  31 c0  31 d2  0f 30  5a 59 58  48 cf',
  // Out of user code for good: MOV RSP, [RSP+24]; JMP R13.
  LEAVE:    '48 8b 64 24 18  41 ff e5',
  // JMP R13, which SYSCALL and SYSENTER go to.
  ENTRY:    '41 ff e5',
  // RETFQ, behind the call gate.
  GATE:     '48 cb',
} as const;
type Handler = keyof typeof HANDLERS_CODE;

const at = (handler: Handler) => HANDLERS + 0x20 * Object.keys(HANDLERS_CODE).indexOf(handler);

// biome-ignore format: a table
const VECTORS: Readonly<Record<number, Handler>> = {
  0: 'SKIP', 1: 'DEBUG', 2: 'RETURN', 3: 'RETURN', 6: 'SKIP', 7: 'SKIP', 12: 'SKIP_CODE', 13: 'SKIP_CODE', 14: 'MEND',
  19: 'SKIP', 48: 'RETURN', 49: 'LEAVE', 65: 'INTERRUPT', 66: 'INTERRUPT',
};

/** Descriptors by selector: 64-bit code and data of CPL 0, user code, data, 64-bit code, the TSS, 32-bit code, a gate. */
// biome-ignore format: a table
const DESCRIPTORS: readonly (readonly [selector: number, descriptor: bigint])[] = [
  [0x10, 0x00af_9b00_0000_ffffn],  [0x18, 0x00cf_9300_0000_ffffn],  [0x20, 0x00cf_fb00_0000_ffffn],
  [0x28, 0x00cf_f300_0000_ffffn],  [0x30, 0x00af_fb00_0000_ffffn],  [0x38, 0x0000_8b00_6000_0067n],
  [0x48, 0x00cf_9b00_0000_ffffn],  [0x50, (BigInt(at('GATE')) & 0xffffn) | 0x0002_ec00_0010_0000n],
];

/** A counting processor with handlers, all ways between privilege levels, and a local APIC in x2APIC mode. */
export class SystemProcessor extends CountingProcessor {
  override restart(): this {
    super.restart();
    const { memory } = this.hardware;
    const { state } = this.processor;
    for (const [selector, descriptor] of DESCRIPTORS) {
      memory.write(Number(GDT) + selector, 8, descriptor);
    }
    for (const [vector, handler] of Object.entries(VECTORS)) {
      const offset = BigInt(at(handler));
      const gate = ((offset >> 16n) << 48n) | 0xee00_0010_0000n | (offset & 0xffffn);
      memory.write(Number(IDT) + 16 * Number(vector), 8, gate);
    }
    for (const handler of Object.keys(HANDLERS_CODE) as Handler[]) {
      this.load(bytes(HANDLERS_CODE[handler]), at(handler));
    }
    memory.write(Number(TSS) + 4, 8, INNER_STACK);
    memory.write(0x3100, 8, 0n);
    state.set(STATE.GDTR_BASE, GDT);
    state.set32(STATE.GDTR_LIMIT, 0xff);
    state.set(STATE.IDTR_BASE, IDT);
    state.set32(STATE.IDTR_LIMIT, 0xfff);
    state.setSegment('TR', { selector: 0x38, base: TSS, limit: 0x67, rights: 0x8b });
    return this.write(0xc000_0080, 0xd01n) // EFER: NXE, LMA, LME, SCE
      .write(0xc000_0081, 0x20_0010_0000_0000n) // STAR
      .write(0xc000_0082, BigInt(at('ENTRY'))) // LSTAR
      .write(0xc000_0084, 0n) // FMASK
      .write(0x174, 0x10n) // SYSENTER_CS, _ESP, _EIP
      .write(0x175, state.gpr[4]!)
      .write(0x176, BigInt(at('ENTRY')))
      .write(0x1b, 0xfee0_0d00n) // x2APIC
      .write(0x80f, 0x1ffn);
  }
}
