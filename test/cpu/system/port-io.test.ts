import { describe, expect, it } from 'vitest';
import { STATE } from '../../../src/cpu/state/layout.ts';
import { AT, TestMachine } from './machine.ts';

/** CPL 3 with a TSS whose I/O permission bitmap at 68H has `bits` for ports 80H–97H clear where they are clear. */
function user(listing: string, bitmap?: number): TestMachine {
  const machine = new TestMachine().long().load(AT.CODE, `${listing}\n ebfe`);
  machine.haltingHandlers(13).user();
  const { state } = machine;
  if (bitmap !== undefined) {
    state.setSegment('TR', { ...state.segment('TR'), limit: 0x7f });
    machine.memory.write(AT.TSS + 0x68 + 16, 4, BigInt(bitmap));
  }
  return machine;
}

describe('IN and OUT', () => {
  it('move one, two or four bytes between the accumulator and a port', () => {
    const machine = new TestMachine().long();
    machine.load(
      AT.CODE,
      'e480 66ed ed e680 66ef ef f4 ; in al, 80H; in ax, dx; in eax, dx; out 80H, al; out dx, ax; out dx, eax',
    );
    machine.ports.set(0x80, 0x1122_3344).set(0x1234, 0x5566_7788);
    machine.state.gpr[0] = 0xaaaa_aaaa_aaaa_aaaan;
    machine.state.gpr[2] = 0x1234n;

    machine.run(1);
    expect(machine.state.gpr[0]).toBe(0xaaaa_aaaa_aaaa_aa44n);
    machine.run(1);
    expect(machine.state.gpr[0]).toBe(0xaaaa_aaaa_aaaa_7788n);
    machine.run();
    expect(machine.state.gpr[0]).toBe(0x5566_7788n);
    expect(machine.written).toEqual([
      { port: 0x80, size: 1, value: 0x88 },
      { port: 0x1234, size: 2, value: 0x7788 },
      { port: 0x1234, size: 4, value: 0x5566_7788 },
    ]);
  });

  // biome-ignore format: a table
  it.each<[string, string, number | undefined, boolean]>([
    ['a TSS without a bitmap',                       'e680',   undefined,    false],
    ['a clear bit',                                  'e680',   0,            true],
    ['the bit of the port set',                      'e680',   0b1,          false],
    ['the bit of another port set',                  'e680',   0b10,         true],
    ['four ports, one of whose bits is set',         'e780',   0b1000,       false],
    ['four ports across a byte of the bitmap',       'e786',   0x200,        false],
  ])('at CPL 3 beyond IOPL, %s', (_what, listing, bitmap, allowed) => {
    const machine = user(listing, bitmap);
    machine.run(5);
    expect(machine.handled).toBe(allowed ? undefined : 13);
    expect(machine.written.length).toBe(allowed ? 1 : 0);
  });

  it('at CPL 3 with IOPL 3 ask no bitmap', () => {
    const machine = user('e680');
    machine.state.set(STATE.RFLAGS_SYSTEM, 0x3002n);
    machine.run(5);
    expect(machine.written.length).toBe(1);
  });
});

describe('INS and OUTS', () => {
  it('REP OUTSB writes rCX bytes, one tick each and one retired instruction', () => {
    const machine = new TestMachine().long().load(AT.CODE, 'f36e f4').load(AT.DATA, '61626364');
    machine.state.gpr[1] = 4n;
    machine.state.gpr[2] = 0xe9n;
    machine.state.gpr[6] = BigInt(AT.DATA);

    machine.run();

    expect(machine.written.map(({ value }) => value)).toEqual([0x61, 0x62, 0x63, 0x64]);
    expect(machine.state.gpr[6]).toBe(BigInt(AT.DATA + 4));
    expect(machine.state.total('instructions')).toBe(2n);
    expect(machine.state.total('repIterations')).toBe(3n);
    expect(machine.state.total('ticks')).toBe(5n);
  });

  it('REP INSD with DF set fills downwards', () => {
    const machine = new TestMachine().long().load(AT.CODE, 'fd f36d f4 ; std; rep insd');
    machine.ports.set(0x1f0, 0x0bad_cafe);
    machine.state.gpr[1] = 2n;
    machine.state.gpr[2] = 0x1f0n;
    machine.state.gpr[7] = BigInt(AT.DATA + 4);

    machine.run();

    expect(machine.memory.read(AT.DATA, 8)).toBe(0x0bad_cafe_0bad_cafen);
    expect(machine.state.gpr[7]).toBe(BigInt(AT.DATA - 4));
    expect(machine.state.gpr[1]).toBe(0n);
  });

  it('REP with rCX = 0 does nothing and retires', () => {
    const machine = new TestMachine().long().load(AT.CODE, 'f36e f4');
    machine.run();
    expect(machine.written).toEqual([]);
    expect(machine.state.total('instructions')).toBe(2n);
  });

  it('INSB to a page that is not there faults before the port is read', () => {
    const machine = new TestMachine().long().load(AT.CODE, '6c').haltingHandlers(14);
    machine.state.gpr[7] = 0x1000_0000n;
    machine.run();
    expect(machine.handled).toBe(14);
    expect(machine.state.get(STATE.CR2)).toBe(0x1000_0000n);
  });
});
