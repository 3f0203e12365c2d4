import { beforeEach, describe, expect, it } from 'vitest';
import { decode } from '../../../src/cpu/decode/decode.ts';
import { Fault } from '../../../src/cpu/fault.ts';
import type { Mnemonic } from '../../../src/cpu/insn.ts';
import { STATE } from '../../../src/cpu/state/layout.ts';
import type { SystemFunction } from '../../../src/cpu/system/core.ts';
import { X87_INSTRUCTIONS } from '../../../src/cpu/x87/instructions.ts';
import { X87 } from '../../../src/cpu/x87/registers.ts';
import { FlatMachine } from '../flat-machine.ts';

const EXECUTE: Readonly<Partial<Record<Mnemonic, SystemFunction>>> = X87_INSTRUCTIONS;
const ONE = 0x3fff_8000_0000_0000_0000n;
const INDEFINITE = 0xffff_c000_0000_0000_0000n;

let machine: FlatMachine;
let x87: X87;

beforeEach(() => {
  machine = new FlatMachine();
  machine.state.set(STATE.CR0, 0x31n); // PE ET NE
  machine.state.gpr[0] = 0x2000n; // where memory operands are
  x87 = new X87(machine.state);
  x87.init();
});

/** Executes instructions, each a string of hexadecimal bytes. Returns the fault that stopped it. */
function run(...codes: readonly string[]): Fault | undefined {
  for (const code of codes) {
    const bytes = Uint8Array.from(Buffer.from(code.replaceAll(' ', ''), 'hex'));
    const insn = decode(bytes, 0, 8);
    if (typeof insn === 'string') throw new Error(`${code} is ${insn}`);
    try {
      EXECUTE[insn.op]!(machine.core, insn);
    } catch (fault) {
      if (fault instanceof Fault) return fault;
      throw fault;
    }
  }
  return undefined;
}

describe('the register stack', () => {
  it('grows downward from register 0 to 7', () => {
    run('d9 e8'); // FLD1
    expect(x87.top).toBe(7);
    expect(x87.ftw).toBe(0x80);
    expect(x87.get(0)).toBe(ONE);
  });

  it('overflows when a ninth value is pushed: the indefinite, IE, SF and C1', () => {
    run(...Array.from({ length: 9 }, () => 'd9 e8'));
    expect(x87.get(0)).toBe(INDEFINITE);
    expect(x87.fsw & 0x0241).toBe(0x0241);
  });

  it('underflows when an empty register is read: C1 stays clear', () => {
    run('d8 c1'); // FADD ST, ST(1)
    expect(x87.get(0)).toBe(INDEFINITE);
    expect(x87.fsw & 0x0241).toBe(0x0041);
  });
});

describe('arithmetic', () => {
  it('1/3 has 64 bits of significand, fewer under precision control', () => {
    machine.memory.write(0x2000, 4, 3n);
    run('d9 e8', 'da 30'); // FLD1; FIDIV dword [rax]
    expect(x87.get(0)).toBe(0x3ffd_aaaa_aaaa_aaaa_aaabn);
    expect(x87.fsw & 0x3f).toBe(0x20);
    x87.init();
    x87.fcw = 0x007f;
    run('d9 e8', 'da 30');
    expect(x87.get(0)).toBe(0x3ffd_aaaa_ab00_0000_0000n);
  });

  it('an unmasked division by zero leaves the operands and faults at the next instruction', () => {
    x87.fcw = 0x037b;
    expect(run('d9 ee', 'd9 e8', 'd8 f1')).toBeUndefined(); // FLDZ; FLD1; FDIV ST, ST(1)
    expect(x87.get(0)).toBe(ONE);
    expect(x87.fsw & 0x8084).toBe(0x8084); // B, ES, ZE
    expect(run('d9 d0')).toMatchObject({ exception: '#MF' }); // FNOP
    expect(run('db e2', 'd9 d0')).toBeUndefined(); // FNCLEX
  });

  it('FPREM of far operands needs more than one step, as C2 says', () => {
    machine.memory.write(0x2000, 8, 0x4310_0000_0000_0000n << 0n); // 2^50
    run('d9 eb', 'dd 00'); // FLDPI; FLD qword [rax]
    run('d9 f8');
    expect(x87.fsw & 0x400).toBe(0);
    machine.memory.write(0x2000, 8, 0x54b2_49ad_2594_c37dn); // 1e100
    run('dd 00', 'd9 c9', 'dd d8', 'd9 eb', 'd9 c9', 'd9 f8');
    expect(x87.fsw & 0x400).toBe(0x400);
  });

  it('FSIN leaves arguments beyond 2^63 alone', () => {
    machine.memory.write(0x2000, 4, 0x5f80_0000n); // 2^64
    run('d9 00', 'd9 fe');
    expect(x87.fsw & 0x400).toBe(0x400);
    expect(x87.get(0)).toBe(0x403f_8000_0000_0000_0000n);
  });

  it('FPATAN of 1 and 1, times 4, is π', () => {
    run('d9 e8', 'd9 e8', 'd9 f3');
    expect(x87.get(0)).toBe(0x3ffe_c90f_daa2_2168_c235n);
  });
});

describe('memory', () => {
  it('FISTP rounds to even, FISTTP truncates', () => {
    machine.memory.write(0x2000, 4, 0x4060_0000n); // 3.5
    run('d9 00', 'd9 00', 'db 58 08', 'db 48 0c'); // FLD twice; FISTP [rax+8]; FISTTP [rax+12]
    expect(machine.memory.read(0x2008, 4)).toBe(4n);
    expect(machine.memory.read(0x200c, 4)).toBe(3n);
  });

  it('FBSTP writes decimal digits', () => {
    machine.memory.write(0x2000, 4, BigInt.asUintN(32, -1234567n));
    run('db 00', 'df 30'); // FILD; FBSTP
    expect(machine.memory.read(0x2000, 8)).toBe(0x123_4567n);
    expect(machine.memory.read(0x2008, 2)).toBe(0x8000n);
  });

  it('a store that faults changes nothing', () => {
    run('d9 e8');
    machine.state.gpr[0] = 0x1234_5678_0000_0000n;
    const { fsw, ftw } = x87;
    expect(run('d9 18')).toMatchObject({ exception: '#GP' });
    expect([x87.fsw, x87.ftw]).toEqual([fsw, ftw]);
  });

  it('FNSTENV writes the full tag word and masks exceptions', () => {
    x87.fcw = 0x0300;
    run('d9 e8', 'd9 ee'); // FLD1; FLDZ
    x87.set(5, 0x7fff_8000_0000_0000_0000n);
    run('d9 30');
    expect(machine.memory.read(0x2000, 2)).toBe(0x0340n);
    // register 7: valid, 6: zero, 3: special, the others empty
    expect(machine.memory.read(0x2008, 2)).toBe(0x1fbfn);
    expect(x87.fcw & 0x3f).toBe(0x3f);
  });
});

it.each([
  ['CR0.EM', 0x35n, 'd9 e8', '#NM'],
  ['CR0.TS', 0x39n, 'd9 e8', '#NM'],
  ['CR0.MP and TS', 0x3bn, '9b', '#NM'],
] as const)('%s makes the x87 unavailable', (_name, cr0, code, exception) => {
  machine.state.set(STATE.CR0, cr0);
  expect(run(code)).toMatchObject({ exception });
});

it('FWAIT does not look at TS alone', () => {
  machine.state.set(STATE.CR0, 0x39n);
  expect(run('9b')).toBeUndefined();
});

describe('FXSAVE and XSAVE', () => {
  beforeEach(() => {
    machine.state.set(STATE.CR4, 0x4_0200n); // OSXSAVE OSFXSR
    machine.state.set(STATE.XCR0, 3n);
    machine.state.set32(STATE.MXCSR, 0x1f80);
    machine.state.gpr[2] = 0n;
    run('d9 e8');
    machine.state.set(STATE.XMM + 32, 0x1122_3344_5566_7788n);
  });

  it('the image has ST(0) at 32 and XMM1 at 176', () => {
    run('0f ae 00');
    expect(machine.memory.read(0x2000, 4)).toBe(0x3800_037fn);
    expect(machine.memory.read(0x2004, 1)).toBe(0x80n);
    expect(machine.memory.read(0x2018, 8)).toBe(0xffff_0000_1f80n);
    expect(machine.memory.read(0x2020, 8)).toBe(0x8000_0000_0000_0000n);
    expect(machine.memory.read(0x20b0, 8)).toBe(0x1122_3344_5566_7788n);
  });

  it('what is restored is what was saved', () => {
    run('48 0f ae 00', 'db e3');
    machine.state.set(STATE.XMM + 32, 0n);
    run('48 0f ae 08');
    expect(x87.get(0)).toBe(ONE);
    expect(machine.state.get(STATE.XMM + 32)).toBe(0x1122_3344_5566_7788n);
  });

  it.each([
    ['0f ae 00', 8n],
    ['0f ae 20', 32n],
  ])('%s wants alignment', (code, off) => {
    machine.state.gpr[0] = 0x2000n + off;
    expect(run(code)).toMatchObject({ exception: '#GP', code: 0 });
  });

  it('FXRSTOR refuses reserved bits of MXCSR', () => {
    run('0f ae 00');
    machine.memory.write(0x2018, 4, 0x1_0000n);
    expect(run('0f ae 08')).toMatchObject({ exception: '#GP' });
  });

  it('XSAVEC writes what is in use, compacted; XRSTOR initialises the rest', () => {
    machine.state.set(STATE.XMM + 32, 0n);
    machine.state.gpr[0] = 0x2003n; // EDX:EAX asks for both; not the address
    machine.state.gpr[3] = 0x3000n;
    run('0f c7 23'); // XSAVEC [rbx]
    expect(machine.memory.read(0x3200, 8)).toBe(1n);
    expect(machine.memory.read(0x3208, 8)).toBe((1n << 63n) | 3n);
    machine.state.set(STATE.XMM + 32, 5n);
    machine.state.set32(STATE.MXCSR, 0x1fbf);
    run('0f ae 2b'); // XRSTOR [rbx]
    expect(machine.state.get(STATE.XMM + 32)).toBe(0n);
    expect(machine.state.get32(STATE.MXCSR)).toBe(0x1f80);
  });

  it('XSAVES writes the compacted format of what is in use, XRSTORS brings it back and initialises the rest', () => {
    machine.state.gpr[0] = 0x2003n;
    machine.state.gpr[3] = 0x3000n;
    for (let at = 0x3000; at < 0x3240; at += 8) machine.memory.write(at, 8, ~0n & (2n ** 64n - 1n));
    run('0f c7 2b'); // XSAVES [rbx]
    expect(machine.memory.read(0x3200, 8)).toBe(3n);
    expect(machine.memory.read(0x3208, 8)).toBe((1n << 63n) | 3n);
    expect(machine.memory.read(0x30b0, 8)).toBe(0x1122_3344_5566_7788n);
    run('db e3');
    machine.state.set(STATE.XMM + 32, 0n);
    machine.state.set(STATE.XMM + 64, 7n);
    for (let at = 0x3210; at < 0x3240; at += 8) machine.memory.write(at, 8, 0n);
    run('0f c7 1b'); // XRSTORS [rbx]
    expect(x87.get(0)).toBe(ONE);
    expect(machine.state.get(STATE.XMM + 32)).toBe(0x1122_3344_5566_7788n);
    expect(machine.state.get(STATE.XMM + 64)).toBe(0n);
  });

  it('XSAVES leaves what is in its initial configuration as it lies in memory', () => {
    machine.state.set(STATE.XMM + 32, 0n);
    machine.state.gpr[0] = 0x2003n;
    machine.state.gpr[3] = 0x3000n;
    machine.memory.write(0x30b0, 8, 0x5a5an);
    run('0f c7 2b');
    expect(machine.memory.read(0x3200, 8)).toBe(1n);
    expect(machine.memory.read(0x30b0, 8)).toBe(0x5a5an);
  });

  it('XRSTORS takes the compacted format only', () => {
    machine.state.gpr[0] = 0x2003n;
    machine.state.gpr[3] = 0x3000n;
    run('0f ae 23'); // XSAVE [rbx]
    expect(run('0f c7 1b')).toMatchObject({ exception: '#GP', code: 0 });
    run('0f c7 2b');
    machine.memory.write(0x3208, 8, (1n << 63n) | 5n); // AVX, which XCR0 does not have
    expect(run('0f c7 1b')).toMatchObject({ exception: '#GP', code: 0 });
  });

  it('XSAVES and XRSTORS are for CPL 0', () => {
    machine.state.gpr[3] = 0x3000n;
    machine.state.set32(STATE.CPL, 3);
    expect(run('0f c7 2b')).toMatchObject({ exception: '#GP', code: 0 });
    expect(run('0f c7 1b')).toMatchObject({ exception: '#GP', code: 0 });
    machine.state.set32(STATE.CPL, 0);
  });

  it('XRSTOR refuses components that XCR0 does not have', () => {
    machine.state.gpr[3] = 0x3000n;
    run('0f ae 23');
    machine.memory.write(0x3200, 8, 4n);
    expect(run('0f ae 2b')).toMatchObject({ exception: '#GP' });
  });

  it('without CR4.OSXSAVE there is no XSAVE', () => {
    machine.state.set(STATE.CR4, 0x200n);
    expect(run('0f ae 20')).toMatchObject({ exception: '#UD' });
  });
});
