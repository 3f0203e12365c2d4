import { describe, expect, it } from 'vitest';
import { Interpreter } from '../../../../src/cpu/engines/wasm/interpreter.ts';
import { STATE } from '../../../../src/cpu/state/layout.ts';
import { CODE, DATA, Twin } from '../twins.ts';

/** An interpreter that gives a block its own handler after two branches to it, in 64-bit mode. */
function machine(hex: string, beside?: Twin): Twin {
  const start = { codeSize: 8, paging: true, user: false } as const;
  const twin = new Twin((core) => new Interpreter(core, undefined, 2), start, beside);
  twin.memory.load(CODE, bytes(hex));
  twin.state.rip = BigInt(CODE);
  twin.state.gpr[4] = 0x30000n;
  return twin;
}

const bytes = (hex: string) =>
  Uint8Array.from(hex.trim().split(/\s+/), (byte) => Number.parseInt(byte, 16));

const HLT = { reason: 'system', insn: { op: 'HLT' } };

describe('the interpreter', () => {
  it('stops at every tick of a hot loop', () => {
    // mov ecx,1000; add rax,rcx; dec ecx; jnz $-5; hlt
    const loop = 'b9 e8 03 00 00 48 01 c8 ff c9 75 f9 f4';
    for (let fuel = 1; fuel <= 20; fuel++) {
      const { engine, state } = machine(loop);
      engine.run(301); // 100 rounds
      expect(engine.run(fuel)).toEqual({ reason: 'slice' });
      expect(state.total('instructions')).toBe(BigInt(301 + fuel));
      expect(state.total('branches')).toBe(BigInt(100 + Math.floor(fuel / 3)));
      expect(state.gpr[1]).toBe(BigInt(1000 - 100 - Math.floor((fuel + 1) / 3)));
      expect(state.rip).toBe(BigInt(CODE + [5, 8, 10][fuel % 3]!));
      expect(engine.run(1e6)).toMatchObject(HLT);
      expect(state.gpr[0]).toBe(500500n);
      expect(state.total('instructions')).toBe(3001n);
    }
  });

  it('executes what a hot block has written over its own next instruction', () => {
    // mov ecx,100; L: mov [rip+1],cl; mov al,0; add ebx,eax; dec ecx; jnz L; hlt
    const { engine, state } = machine(
      'b9 64 00 00 00 88 0d 01 00 00 00 b0 00 01 c3 ff c9 75 f2 f4',
    );
    expect(engine.run(1e6)).toMatchObject(HLT);
    expect(state.gpr[3]).toBe(5050n);
    expect(state.total('instructions')).toBe(501n);
  });

  it('executes what a string instruction has written over the branch target', () => {
    // mov edi,L+1; mov al,7; stosb; L: mov bl,0; hlt
    const { engine, state } = machine('bf 09 00 01 00 b0 07 aa b3 00 f4');
    expect(engine.run(100)).toMatchObject(HLT);
    expect(state.gpr[3]).toBe(7n);
  });

  it('takes back nothing but the faulting instruction of a hot block', () => {
    // L: inc rax; mov [rdi],rax; add rdi,8; jmp L: until the page that is read-only
    const { engine, state } = machine('48 ff c0 48 89 07 48 83 c7 08 eb f4');
    state.gpr[7] = BigInt(DATA);
    expect(engine.run(1e6)).toMatchObject({
      reason: 'fault',
      fault: { exception: '#PF', code: 3, address: 0x24000n },
    });
    expect(state.rip).toBe(BigInt(CODE + 3));
    expect(state.gpr[0]).toBe(2049n);
    expect(state.total('instructions')).toBe(2048n * 4n + 1n);
    expect(state.total('branches')).toBe(2048n);
  });

  it('shows a device exact totals and ends the slice after the instruction that asked for it', () => {
    // L: inc rax; mov ecx,[rdi]; inc rbx; jmp L
    const twin = machine('48 ff c0 8b 0f 48 ff c3 eb f6');
    const { engine, state, memory } = twin;
    const seen: bigint[] = [];
    let calls = 0;
    // Page 27H of the data area leads to a device.
    memory.attach(0x27000, 4096, {
      read: () => {
        seen.push(state.total('instructions'));
        if (++calls === 50) engine.endSlice();
        return 5n;
      },
      write: () => {},
    });
    state.gpr[7] = 0x27000n;
    expect(engine.run(1e6)).toEqual({ reason: 'slice' });
    expect(calls).toBe(50);
    expect(seen.slice(0, 3)).toEqual([1n, 5n, 9n]);
    expect(state.total('instructions')).toBe(49n * 4n + 2n);
    expect(state.rip).toBe(BigInt(CODE + 5));
    expect(state.gpr[1]).toBe(5n);
  });

  it('finds a device again without a walk, until its page is flushed', () => {
    // L: mov ecx,[rdi]; mov [rdi+4],ecx; jmp L
    const { engine, state, memory } = machine('8b 0f 89 4f 04 eb f9');
    const writes: bigint[] = [];
    memory.attach(0x27000, 4096, {
      read: (offset) => BigInt(offset) + 7n,
      write: (_offset, _size, value) => {
        writes.push(value);
      },
    });
    state.gpr[7] = 0x27010n;
    engine.run(30);
    const entry = 0x3f000 + 8 * 0x27;
    memory.write(entry, 8, BigInt(DATA | 0x67)); // RAM from now on, but nobody has been told
    engine.run(30);
    expect(writes).toEqual(Array.from({ length: 20 }, () => 0x17n));
    memory.write(DATA + 0x10, 4, 99n);
    engine.flush({ linear: 0x27000n });
    engine.run(3);
    expect(writes).toHaveLength(20);
    expect(memory.read(DATA + 0x14, 4)).toBe(99n);
  });

  it('sees code that a device wrote into memory', () => {
    // L: mov al,1; jmp L
    const { engine, state, memory } = machine('b0 01 eb fc');
    engine.run(100);
    memory.load(CODE + 1, Uint8Array.of(9));
    engine.run(2);
    expect(state.gpr[0]).toBe(9n);
  });

  it('fetches through a changed page table once translations are flushed', () => {
    const { engine, state, memory } = machine('b0 01 eb fc');
    memory.load(DATA, bytes('b0 02 eb fc'));
    engine.run(10);
    const entry = 0x3f000 + 8 * (CODE >> 12);
    memory.write(entry, 8, BigInt(DATA | 0x67));
    engine.flush({ linear: BigInt(CODE) });
    engine.run(4);
    expect(state.gpr[0]).toBe(2n);
  });

  it('calls code that was written just before, on a page of data', () => {
    // L: mov byte [rdi],0xc3; call rdi; add rdi,64; dec ecx; jnz L; hlt
    const { engine, state } = machine('c6 07 c3 ff d7 48 83 c7 40 ff c9 75 f3 f4');
    state.gpr[7] = BigInt(DATA);
    state.gpr[1] = 256n;
    expect(engine.run(1e6)).toMatchObject(HLT);
    expect(state.total('nearReturns')).toBe(256n);
    expect(state.total('nearIndirectCalls')).toBe(256n);
    expect(state.get(STATE.RIP)).toBe(BigInt(CODE + 13));
  });

  it('sees code that another processor wrote', () => {
    // Both: L: mov al,1; jmp L
    const one = machine('b0 01 eb fc');
    const two = machine('b0 01 eb fc', one);
    one.engine.run(100);
    two.engine.run(100);
    // One goes on at: mov byte [rdi],9; jmp to itself
    one.memory.load(DATA, bytes('c6 07 09 eb fe'));
    one.state.gpr[7] = BigInt(CODE + 1);
    one.state.rip = BigInt(DATA);
    one.engine.run(10);
    two.engine.run(10);
    expect(two.state.gpr[0]).toBe(9n);
    expect(two.state.total('instructions')).toBe(110n);
    expect(one.state.total('instructions')).toBe(110n);
  });
});
