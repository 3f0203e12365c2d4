import { ByteWriter } from './byte-writer.ts';
import {
  MEMORY_OPCODES,
  type MemoryOpcode,
  OPCODES,
  type Opcode,
  TYPES,
  type Type,
} from './opcodes.ts';

const END = 0x0b;
const VOID = 0x40;

/** A place control can branch to, valid inside the construct it was handed out for. */
export interface Label {
  readonly depth: number;
}

/** Writes the body of one function; constructs nest as callbacks, so every body is well formed. */
export class FunctionWriter {
  readonly parameters: readonly Type[];
  readonly results: readonly Type[];
  readonly #code = new ByteWriter();
  readonly #locals: Type[] = [];
  #depth = 0;

  constructor(parameters: readonly Type[], results: readonly Type[]) {
    this.parameters = parameters;
    this.results = results;
  }

  /** A new local variable. */
  local(type: Type): number {
    return this.parameters.length + this.#locals.push(type) - 1;
  }

  get(local: number): this {
    this.#code.u8(0x20).unsigned(local);
    return this;
  }

  set(local: number): this {
    this.#code.u8(0x21).unsigned(local);
    return this;
  }

  tee(local: number): this {
    this.#code.u8(0x22).unsigned(local);
    return this;
  }

  i32(value: number): this {
    this.#code.u8(0x41).signed(value);
    return this;
  }

  i64(value: number | bigint): this {
    this.#code.u8(0x42);
    if (typeof value === 'number' && (value | 0) === value) this.#code.signed(value);
    else this.#code.signed64(BigInt.asIntN(64, BigInt(value)));
    return this;
  }

  v128(bytes: Uint8Array): this {
    this.#code.u8(0xfd).unsigned(0x0c).bytes(bytes);
    return this;
  }

  op(...names: Opcode[]): this {
    for (const name of names) this.#opcode(OPCODES[name]);
    return this;
  }

  /** A load or store at the address on the stack plus `offset`. */
  memory(name: MemoryOpcode, offset: number): this {
    this.#opcode(MEMORY_OPCODES[name]);
    this.#code.u8(0).unsigned(offset);
    return this;
  }

  /** `i8x16.shuffle` with its sixteen lane numbers. */
  shuffle(lanes: readonly number[]): this {
    this.#code.u8(0xfd).unsigned(0x0d);
    for (const lane of lanes) this.#code.u8(lane);
    return this;
  }

  /** `extract_lane` or `replace_lane` of i64x2. */
  lane64(action: 'extract' | 'replace', lane: number): this {
    this.#code
      .u8(0xfd)
      .unsigned(action === 'extract' ? 0x1d : 0x1e)
      .u8(lane);
    return this;
  }

  /** `if`: the condition is on the stack; with `otherwise`, both arms leave `result`. */
  if(result: Type | undefined, then: () => void, otherwise?: () => void): this {
    this.#code.u8(0x04).u8(result === undefined ? VOID : TYPES[result]);
    this.#depth++;
    then();
    if (otherwise) {
      this.#code.u8(0x05);
      otherwise();
    }
    this.#depth--;
    this.#code.u8(END);
    return this;
  }

  /** `block`: a branch to the label leaves it. */
  block(body: (label: Label) => void): this {
    return this.#construct(0x02, body);
  }

  /** `loop`: a branch to the label starts it again. */
  loop(body: (label: Label) => void): this {
    return this.#construct(0x03, body);
  }

  branch(label: Label): this {
    this.#code.u8(0x0c).unsigned(this.#depth - label.depth);
    return this;
  }

  branchIf(label: Label): this {
    this.#code.u8(0x0d).unsigned(this.#depth - label.depth);
    return this;
  }

  /** Branches to the label whose position in `labels` is on the stack, to `otherwise` beyond them. */
  branchTable(labels: readonly Label[], otherwise: Label): this {
    this.#code.u8(0x0e).unsigned(labels.length);
    for (const label of [...labels, otherwise]) this.#code.unsigned(this.#depth - label.depth);
    return this;
  }

  call(index: number): this {
    this.#code.u8(0x10).unsigned(index);
    return this;
  }

  /** Calls the function of type `type` whose table index is on the stack. */
  callIndirect(type: number): this {
    this.#code.u8(0x11).unsigned(type).unsigned(0);
    return this;
  }

  /** The same as a tail call. */
  returnCallIndirect(type: number): this {
    this.#code.u8(0x13).unsigned(type).unsigned(0);
    return this;
  }

  /** The encoded function: locals in runs of one type, code, end. */
  encode(): Uint8Array {
    const locals = new ByteWriter();
    let runs = 0;
    for (let at = 0; at < this.#locals.length; runs++) {
      const type = this.#locals[at]!;
      let end = at;
      while (this.#locals[end] === type) end++;
      locals.unsigned(end - at).u8(TYPES[type]);
      at = end;
    }
    const head = new ByteWriter().unsigned(runs).bytes(locals.written());
    return new ByteWriter()
      .unsigned(head.length + this.#code.length + 1)
      .bytes(head.written())
      .bytes(this.#code.written())
      .u8(END)
      .written();
  }

  #construct(opcode: number, body: (label: Label) => void): this {
    this.#code.u8(opcode).u8(VOID);
    const label = { depth: ++this.#depth };
    body(label);
    this.#depth--;
    this.#code.u8(END);
    return this;
  }

  #opcode(code: number): void {
    if (code > 0xff) this.#code.u8(code >> 8).unsigned(code & 0xff);
    else this.#code.u8(code);
  }
}
