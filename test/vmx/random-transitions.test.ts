import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { EngineFactory } from '../../src/cpu/engines/engine.ts';
import { Oracle } from '../../src/cpu/engines/oracle/oracle.ts';
import { Interpreter } from '../../src/cpu/engines/wasm/interpreter.ts';
import { CODE, EPT, Guest } from './guest.ts';

/** Two address spaces of the guest, each with a page table for the four linear pages, and two EPTs with one each. */
const LINEAR = 0x4000_0000n;
const PML4S = [0x3000, 0x3_0000] as const;
const PAGE_TABLES = [0x3_1000, 0x3_2000] as const;
const EPTS = [0x2_0000, 0x3_8000] as const;
const EPT_TABLES = [EPT.PT, 0x3_b000] as const;
const FRAMES = [0x6_0000, 0x6_1000, 0x6_2000, 0x6_3000] as const;

/** Rights of a mapping, from a number: mostly present, mostly writable. */
const pte = (kind: number) =>
  [0x7, 0x7, 0x7, 0x5, 0x3, 0x1, 0x107, 0x0][kind & 7]! | (kind === 9 ? 0x60 : 0);
const epte = (kind: number) => [0x37, 0x37, 0x37, 0x35, 0x33, 0x31, 0x37, 0x0][kind & 7]!;

const page = fc.nat(3);
const side = fc.nat(1);
const kind = fc.nat(9);
const action = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('run' as const), from: page, to: page, code: page }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('map' as const),
      side,
      page,
      frame: page,
      kind,
      how: fc.nat(3),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('ept' as const),
      side,
      page,
      frame: page,
      kind,
      how: fc.nat(2),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('guest' as const),
      vpid: fc.nat(2),
      ept: fc.nat(2),
      space: side,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('rights' as const),
      wp: fc.boolean(),
      smep: fc.nat(7).map((n) => n === 0),
      user: fc.boolean(),
    }),
  },
);
type Action = typeof action extends fc.Arbitrary<infer T> ? T : never;

class World {
  readonly #guest: Guest;
  readonly seen: unknown[] = [];

  constructor(engine: EngineFactory) {
    const guest = new Guest(
      { EXCEPTION_BITMAP: 1 << 14, PRIMARY_CONTROLS: 0x8400_6172n, GUEST_CR4: 0x2_2020n },
      undefined,
      engine,
    );
    this.#guest = guest;
    const { memory } = guest;
    for (const i of [0, 1] as const) {
      const directory = 0x3_3000 + i * 0x1000;
      memory.write(PML4S[i], 8, BigInt(0x3_5000 + i * 0x1000) | 0x27n);
      memory.write(0x3_5000 + i * 0x1000, 8, 0xe7n);
      memory.write(0x3_5008 + i * 0x1000, 8, BigInt(directory) | 0x27n);
      memory.write(directory, 8, BigInt(PAGE_TABLES[i]) | 0x27n);
    }
    memory.write(EPTS[1], 8, 0x3_9007n);
    memory.write(0x3_9000, 8, 0x3_a007n);
    memory.write(0x3_a000, 8, BigInt(EPT_TABLES[1]) | 7n);
    for (let i = 0; i < 512; i++) memory.write(EPT_TABLES[1] + i * 8, 8, BigInt(i << 12) | 0x37n);
    // mov al,[rbx]; mov [rcx],dl; jmp rsi
    guest.code('8a 03 88 11 ff e6');
    for (const [i, frame] of FRAMES.entries()) {
      memory.write(frame, 8, BigInt(i) + 0x10n);
      guest.code(`b6 ${(0x40 + i).toString(16)} 0f 01 c1`, frame + 0x800); // mov dh,40H + i; vmcall
      for (const table of PAGE_TABLES) memory.write(table + i * 8, 8, BigInt(frame | 7));
    }
    this.do({ do: 'guest', vpid: 1, ept: 1, space: 0 });
  }

  do(action: Action): void {
    const { memory, vmx, state } = this.#guest;
    switch (action.do) {
      case 'run': {
        const at = (page: number) => LINEAR + BigInt(page << 12);
        state.gpr[3] = at(action.from);
        state.gpr[1] = at(action.to) + 8n;
        state.gpr[6] = at(action.code) + 0x800n;
        state.gpr[2] = (state.gpr[2]! + 1n) & 0xffn;
        this.#guest.set({ GUEST_RIP: CODE });
        this.seen.push(this.#guest.exit(), [...state.gpr]);
        return;
      }
      case 'map': {
        const entry = BigInt(FRAMES[action.frame]! | pte(action.kind));
        memory.write(PAGE_TABLES[action.side]! + action.page * 8, 8, entry);
        const linear = LINEAR + BigInt(action.page << 12);
        for (const vpid of action.how === 2 ? [0n] : [1n, 2n]) {
          // By address, by VPID, all.
          vmx.invvpid(action.how === 3 ? 1 : action.how, vpid, linear);
        }
        return;
      }
      case 'ept': {
        const entry = BigInt(FRAMES[action.frame]! | epte(action.kind));
        memory.write(EPT_TABLES[action.side]! + (FRAMES[action.page]! >> 12) * 8, 8, entry);
        if (action.how === 0) vmx.invept(2, 0n);
        else vmx.invept(1, BigInt(EPTS[action.side]! | 0x1e));
        return;
      }
      case 'guest':
        this.#guest.set({
          SECONDARY_CONTROLS: (action.vpid === 0 ? 0 : 0x20) | (action.ept === 0 ? 0 : 2),
          VIRTUAL_PROCESSOR_IDENTIFIER: action.vpid,
          EPT_POINTER: BigInt(EPTS[action.ept === 2 ? 1 : 0] | (action.ept === 2 ? 0x5e : 0x1e)),
          GUEST_CR3: BigInt(PML4S[action.space]! | action.space),
        });
        return;
      case 'rights': {
        const rpl = action.user ? 3 : 0;
        this.#guest.set({
          GUEST_CR0: action.wp ? 0x8001_0031n : 0x8000_0031n,
          GUEST_CR4: action.smep ? 0x12_2020n : 0x2_2020n,
          GUEST_CS_SELECTOR: 8 | rpl,
          GUEST_SS_SELECTOR: 16 | rpl,
          GUEST_CS_ACCESS_RIGHTS: action.user ? 0xa0fb : 0xa09b,
          GUEST_SS_ACCESS_RIGHTS: action.user ? 0xc0f3 : 0xc093,
        });
      }
    }
  }
}

it('a guest sees the same on both engines, whatever its hypervisor does between VM exit and VM entry', () => {
  fc.assert(
    fc.property(fc.array(action, { minLength: 150, maxLength: 250 }), (actions) => {
      const oracle = new World((core) => new Oracle(core));
      const interpreter = new World((core) => new Interpreter(core));
      for (const action of actions) {
        oracle.do(action);
        interpreter.do(action);
        expect(interpreter.seen.at(-1)).toEqual(oracle.seen.at(-1));
        expect(interpreter.seen.at(-2)).toEqual(oracle.seen.at(-2));
      }
    }),
    { numRuns: 12 },
  );
}, 60_000);
