import { describe, expect, it } from 'vitest';
import { Oracle } from '../../src/cpu/engines/oracle/oracle.ts';
import { STATE } from '../../src/cpu/state/layout.ts';
import { Hardware } from '../../src/machine/hardware.ts';
import { profileNamed } from '../../src/machine/profiles.ts';

const REGION = 0x1_0000;
const VMCS = 0x1_1000;
const DATA = 0x5000;
const bytesOf = (hex: string) =>
  Uint8Array.from(hex.split(' '), (byte) => Number.parseInt(byte, 16));

/** Guest code that is itself the hypervisor: 64-bit, CPL 0, paging on, VMX allowed; vector v stops at 8000H + 16 v. */
class Root {
  readonly hardware = new Hardware({
    profile: profileNamed('sapphire-rapids'),
    memorySize: 1 << 20,
    engine: (core) => new Oracle(core),
    io: { read: () => 0, write: () => undefined },
    seed: 'root',
  });

  constructor() {
    const { memory, state } = this;
    memory.write(0x2000, 8, 0x3007n);
    memory.write(0x3000, 8, 0x87n);
    memory.write(0xb008, 8, 0x00af_9b00_0000_ffffn);
    memory.write(0xb010, 8, 0x00cf_9300_0000_ffffn);
    memory.write(0xb018, 8, 0x0000_8b00_d000_0067n); // TSS at D000H
    memory.write(0xd004, 8, 0x9000n);
    for (let vector = 0; vector < 32; vector++) {
      memory.write(0xc000 + vector * 16, 8, 0x8e00_0008_8000n + BigInt(vector * 16));
      memory.write(0x8000 + vector * 16, 1, 0xf4n);
    }
    state.set(STATE.CR0, 0x8000_0033n);
    state.set(STATE.CR3, 0x2000n);
    state.set(STATE.CR4, 0x2020n);
    state.set(STATE.EFER, 0x500n);
    state.set(STATE.GDTR_BASE, 0xb000n);
    state.set32(STATE.GDTR_LIMIT, 0x7f);
    state.set(STATE.IDTR_BASE, 0xc000n);
    state.set32(STATE.IDTR_LIMIT, 0xfff);
    state.setSegment('TR', { selector: 0x18, base: 0xd000n, limit: 0x67, rights: 0x8b });
    this.mode(0xa09b, 0);
    state.gpr[4] = 0x7000n;
    this.processor.msrs.wrmsr(0x3a, 5n);
    memory.write(REGION, 4, 0x12n);
    memory.write(VMCS, 4, 0x12n);
  }

  get memory() {
    return this.hardware.memory;
  }

  get processor() {
    return this.hardware.current;
  }

  get state() {
    return this.processor.state;
  }

  mode(codeRights: number, cpl: number): this {
    const limit = 0xffff_ffff;
    this.state.setSegment('CS', {
      selector: 8 | cpl,
      base: 0n,
      limit,
      rights: codeRights | (cpl << 5),
    });
    for (const name of ['SS', 'DS', 'ES'] as const) {
      this.state.setSegment(name, {
        selector: 0x10 | cpl,
        base: 0n,
        limit,
        rights: 0xc093 | (cpl << 5),
      });
    }
    this.state.set32(STATE.CPL, cpl);
    return this;
  }

  /** In VMX operation, by TypeScript. */
  on(): this {
    expect(this.processor.vmx.vmxon(BigInt(REGION))).toBe('VMsucceed');
    return this;
  }

  /** Runs code until HLT. */
  run(hex: string): this {
    this.memory.load(0x6000, bytesOf(`${hex} f4`));
    this.state.rip = 0x6000n;
    this.state.set32(STATE.ACTIVITY, 0);
    const stop = this.processor.cpu.run(1000);
    expect(stop.reason).toBe('halted');
    return this;
  }

  /** The arithmetic flags that a VMX instruction leaves. */
  get flags(): string {
    const rflags = this.processor.cpu.core.rflags;
    const names = [
      ['CF', 0n],
      ['PF', 2n],
      ['AF', 4n],
      ['ZF', 6n],
      ['SF', 7n],
      ['OF', 11n],
    ] as const;
    return names
      .filter(([, bit]) => ((rflags >> bit) & 1n) === 1n)
      .map(([name]) => name)
      .join(' ');
  }

  /** The exception whose handler ended the run, with its error code. */
  get exception(): number | undefined {
    const rip = Number(this.state.rip);
    return rip >= 0x8000 && rip < 0x8200 ? (rip - 0x8001) / 16 : undefined;
  }
}

const SET_FLAGS = 'b8 ff 00 00 00 fe c0 9e'; // MOV EAX; INC AL; SAHF with all but OF
const VMXON = 'f3 0f c7 34 25 00 50 00 00'; // VMXON [5000H]
const VMPTRLD = '0f c7 34 25 00 50 00 00';
const VMCLEAR = '66 0f c7 34 25 00 50 00 00';

// biome-ignore format: a table
const ALL = [
  ['VMXOFF', '0f 01 c4'], ['VMCLEAR', VMCLEAR], ['VMPTRLD', VMPTRLD], ['VMPTRST', '0f c7 3c 25 00 50 00 00'],
  ['VMREAD', '0f 78 c8'], ['VMWRITE', '0f 79 c8'], ['VMLAUNCH', '0f 01 c2'], ['VMRESUME', '0f 01 c3'], ['VMCALL', '0f 01 c1'],
  ['INVEPT', '66 0f 38 80 04 25 00 50 00 00'], ['INVVPID', '66 0f 38 81 04 25 00 50 00 00'],
] as const;

describe('the VMX instructions of guest code', () => {
  it.each(ALL)('%s is #UD outside VMX operation', (_name, code) => {
    expect(new Root().run(code).exception).toBe(6);
  });

  it.each([...ALL, ['VMXON', VMXON] as const])('%s is #UD in compatibility mode', (_name, code) => {
    const root = new Root().on().mode(0xc09b, 0);
    expect(
      root.run(
        code.replace(' 04 25 ', ' 05 ').replace(' 34 25 ', ' 35 ').replace(' 3c 25 ', ' 3d '),
      ).exception,
    ).toBe(6);
  });

  it.each([...ALL, ['VMXON', VMXON] as const])('%s is #GP(0) at CPL 3', (_name, code) => {
    const root = new Root().on().mode(0xa09b, 3);
    expect(root.run(code).exception).toBe(13);
    expect(root.memory.read(Number(root.state.gpr[4]), 8)).toBe(0n);
  });

  it.each(ALL)('%s is no instruction of real-address mode', (_name, code) => {
    const root = new Root().on();
    root.state.set(STATE.CR0, 0x30n);
    root.state.set(STATE.EFER, 0n);
    root.mode(0x9b, 0);
    root.state.set(STATE.IDTR_BASE, 0n);
    root.memory.write(6 * 4, 4, 0x8060n);
    expect(
      root.run(
        code
          .replace(' 34 25 00 50 00 00', ' 36 00 50')
          .replace(' 3c 25 00 50 00 00', ' 3e 00 50')
          .replace(' 04 25 00 50 00 00', ' 06 00 50'),
      ).exception,
    ).toBe(6);
  });

  it('VMFUNC is #UD in root operation', () => {
    expect(new Root().on().run('0f 01 d4').exception).toBe(6);
  });

  describe('VMXON', () => {
    const at = (address: number) => {
      const root = new Root();
      root.memory.write(DATA, 8, BigInt(address));
      return root;
    };

    it('enters VMX operation and clears the arithmetic flags', () => {
      const root = at(REGION).run(`${SET_FLAGS} ${VMXON}`);
      expect(root.processor.vmx.operation).toBe(true);
      expect(root.flags).toBe('');
    });

    it('is VMfailInvalid for a bad region, and in root operation without a current VMCS', () => {
      expect(at(0x1_0008).run(VMXON).flags).toBe('CF');
      expect(at(0x2_0000).run(VMXON).flags).toBe('CF');
      expect(at(REGION).run(`${VMXON} ${VMXON}`).flags).toBe('CF');
    });

    // biome-ignore format: a table
    it.each([
      ['unlocked',                 0n],
      ['locked without VMX',       1n],
      ['VMX allowed but unlocked', 4n],
    ])('is #GP(0) with IA32_FEATURE_CONTROL %s', (_name, value) => {
      const root = at(REGION);
      root.processor.vmx.restore({ ...root.processor.vmx.save(), featureControl: value });
      expect(root.run(VMXON).exception).toBe(13);
    });

    it('is #UD without CR4.VMXE and #GP(0) without CR0.NE', () => {
      const noVmxe = at(REGION);
      noVmxe.state.set(STATE.CR4, 0x20n);
      expect(noVmxe.run(VMXON).exception).toBe(6);
      const noNe = at(REGION);
      noNe.state.set(STATE.CR0, 0x8000_0013n);
      expect(noNe.run(VMXON).exception).toBe(13);
    });

    it('in root operation fails without reading its operand', () => {
      expect(new Root().on().run('f3 0f c7 34 25 00 00 00 40').flags).toBe('CF');
    });

    it('faults on its operand like any load', () => {
      const root = new Root();
      root.memory.write(0x2000, 8, 0x3007n);
      expect(root.run('f3 0f c7 34 25 00 00 00 40').exception).toBe(14);
      expect(root.processor.vmx.operation).toBe(false);
    });
  });

  it('CR4.VMXE and CR0.NE cannot be cleared in VMX operation', () => {
    expect(new Root().on().run('b8 20 00 00 00 0f 22 e0').exception).toBe(13);
    expect(new Root().on().run('b8 13 00 00 80 0f 22 c0').exception).toBe(13);
  });

  it('VMXOFF leaves VMX operation', () => {
    const root = new Root().on().run('0f 01 c4');
    expect(root.processor.vmx.operation).toBe(false);
    expect(root.run('0f 01 c4').exception).toBe(6);
  });

  it('VMPTRLD, VMPTRST, VMWRITE and VMREAD do what they say', () => {
    const root = new Root().on();
    root.memory.write(DATA, 8, BigInt(VMCS));
    // VMPTRST [5008]; VMWRITE RCX(681E) ← RBX; VMREAD RDX ← RCX; VMREAD [5010] ← RCX
    root.run(
      `${VMCLEAR} ${VMPTRLD} 0f c7 3c 25 08 50 00 00 b9 1e 68 00 00 bb 34 12 00 00 0f 79 cb 0f 78 ca 0f 78 0c 25 10 50 00 00`,
    );
    expect(root.flags).toBe('');
    expect(root.memory.read(DATA + 8, 8)).toBe(BigInt(VMCS));
    expect(root.state.gpr[2]).toBe(0x1234n);
    expect(root.memory.read(DATA + 16, 8)).toBe(0x1234n);
  });

  it('VMREAD of a field that does not exist sets ZF and the error number', () => {
    const root = new Root().on();
    root.memory.write(DATA, 8, BigInt(VMCS));
    root.run(`${VMCLEAR} ${VMPTRLD} b9 fe 0f 00 00 0f 78 ca`);
    expect(root.flags).toBe('ZF');
    expect(root.processor.vmx.vmread(0x4400)).toBe(12n);
  });

  it('VMCALL in root operation is error 1', () => {
    const root = new Root().on();
    expect(root.run('0f 01 c1').flags).toBe('CF');
    root.memory.write(DATA, 8, BigInt(VMCS));
    expect(root.run(`${VMCLEAR} ${VMPTRLD} 0f 01 c1`).flags).toBe('ZF');
    expect(root.processor.vmx.vmread(0x4400)).toBe(1n);
  });

  it('VMLAUNCH without a current VMCS, and of one with bad controls, goes on to the next instruction', () => {
    const root = new Root().on();
    expect(root.run('0f 01 c2').flags).toBe('CF');
    root.memory.write(DATA, 8, BigInt(VMCS));
    root.run(`${VMCLEAR} ${VMPTRLD} 0f 01 c2`);
    expect(root.flags).toBe('ZF');
    expect(root.processor.vmx.vmread(0x4400)).toBe(7n);
    expect(root.state.rip).toBe(0x6000n + 9n + 8n + 3n + 1n);
  });
});
