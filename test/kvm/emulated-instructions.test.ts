import { describe, expect, it } from 'vitest';
import { GuestCode } from '../../src/lab/scenarios/guest-code.ts';
import { bareReadings, hostedReadings } from './bare-differential.ts';

const program = (start: GuestCode, ...bytes: number[]) =>
  Uint8Array.from([...start.bytes, ...bytes, ...new GuestCode().end().bytes]);
const [CPUID, NOP, PUSHF, POPF] = [[0x31, 0xc0, 0x0f, 0xa2], 0x90, 0x9c, 0x9d] as const;
/** OR and AND of the flags on the stack: TF on, TF off. */
const [SET_TF, CLEAR_TF] = [
  [0x81, 0x0c, 0x24, 0x00, 0x01, 0x00, 0x00],
  [0x81, 0x24, 0x24, 0xff, 0xfe, 0xff, 0xff],
] as const;
/** MOV ESI; MOV DX, the report port; MOV ECX; REP OUTSD. */
const repOuts = (from: number, count: number) => [
  ...[0xbe, from & 0xff, (from >> 8) & 0xff, (from >> 16) & 0xff, 0],
  ...[0x66, 0xba, 0x00, 0x20],
  ...[0xb9, count, 0, 0, 0],
  ...[0xf3, 0x6f],
];

describe.each(['emulated', 'mediated'] as const)(
  'instructions that KVM carries out (%s)',
  (design) => {
    it('end in a debug trap under TF, like the others', () => {
      const start = new GuestCode().onInterrupts([[1, (handler) => handler.reportInterrupted()]]);
      const code = program(
        start,
        ...[PUSHF, ...SET_TF, POPF],
        ...[...CPUID, NOP, ...CPUID],
        ...[PUSHF, ...CLEAR_TF, POPF, NOP],
      );
      const first = start.here + 9;
      // XOR, CPUID, NOP, XOR, CPUID, PUSHF, AND, and POPF, which clears TF after itself.
      const ends = [2, 4, 5, 7, 9, 10, 17].map((at) => BigInt(first + at));
      const bare = bareReadings(code);
      expect(bare.slice(0, ends.length)).toEqual(ends);
      expect(hostedReadings(code, design)).toEqual(bare);
    });

    it('write strings to ports, an element at a time, and retire once', () => {
      const code = program(new GuestCode(), ...repOuts(0x10_0000, 6));
      // The program's own first 24 bytes.
      const own = new DataView(code.buffer).getBigUint64.bind(new DataView(code.buffer));
      const expected = [0, 8, 16].map((at) => own(at, true));
      expect(bareReadings(code)).toEqual(expected);
      expect(hostedReadings(code, design)).toEqual(expected);
    });
  },
);
