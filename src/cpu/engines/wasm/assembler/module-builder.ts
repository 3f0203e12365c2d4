import { ByteWriter } from './byte-writer.ts';
import type { FunctionWriter } from './function-writer.ts';
import { TYPES, type Type } from './opcodes.ts';

/** The name of the module all imports come from. */
export const IMPORT_MODULE = 'e';

const SECTION = { TYPE: 1, IMPORT: 2, FUNCTION: 3, EXPORT: 7, ELEMENT: 9, CODE: 10 } as const;
const KIND = { FUNCTION: 0, TABLE: 1, MEMORY: 2 } as const;
const FUNCREF = 0x70;

/** Puts functions together to a WebAssembly module; imports must be declared before functions. */
export class ModuleBuilder {
  readonly #types = new Map<string, number>();
  readonly #typeBytes = new ByteWriter();
  readonly #imports = new ByteWriter();
  #importCount = 0;
  #importedFunctions = 0;
  readonly #functions: { readonly type: number; readonly writer: FunctionWriter }[] = [];
  readonly #exports: { readonly name: string; readonly index: number }[] = [];
  readonly #elements: { readonly offset: number; readonly functions: readonly number[] }[] = [];

  /** The index of a function type. */
  type(parameters: readonly Type[], results: readonly Type[]): number {
    const key = `${parameters} -> ${results}`;
    const known = this.#types.get(key);
    if (known !== undefined) return known;
    this.#types.set(key, this.#types.size);
    this.#typeBytes.u8(0x60);
    for (const list of [parameters, results]) {
      this.#typeBytes.unsigned(list.length);
      for (const type of list) this.#typeBytes.u8(TYPES[type]);
    }
    return this.#types.size - 1;
  }

  importMemory(name: string, pages: number): void {
    this.#import(name, KIND.MEMORY).u8(1).unsigned(pages).unsigned(pages);
  }

  importTable(name: string): void {
    this.#import(name, KIND.TABLE).u8(FUNCREF).u8(0).unsigned(0);
  }

  importFunction(name: string, parameters: readonly Type[], results: readonly Type[]): number {
    this.#import(name, KIND.FUNCTION).unsigned(this.type(parameters, results));
    return this.#importedFunctions++;
  }

  /** Adds a function, under `name` if it is to be exported; returns its index. */
  add(writer: FunctionWriter, name?: string): number {
    const index = this.#importedFunctions + this.#functions.length;
    this.#functions.push({ type: this.type(writer.parameters, writer.results), writer });
    if (name !== undefined) this.#exports.push({ name, index });
    return index;
  }

  /** Has the functions put into the imported table from `offset` on. */
  fillTable(offset: number, functions: readonly number[]): void {
    this.#elements.push({ offset, functions });
  }

  build(): Uint8Array {
    const out = new ByteWriter().bytes(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
    const section = (id: number, count: number, write: (into: ByteWriter) => void) => {
      const body = new ByteWriter().unsigned(count);
      write(body);
      out.u8(id).unsigned(body.length).bytes(body.written());
    };
    section(SECTION.TYPE, this.#types.size, (s) => s.bytes(this.#typeBytes.written()));
    section(SECTION.IMPORT, this.#importCount, (s) => s.bytes(this.#imports.written()));
    section(SECTION.FUNCTION, this.#functions.length, (s) => {
      for (const { type } of this.#functions) s.unsigned(type);
    });
    section(SECTION.EXPORT, this.#exports.length, (s) => {
      for (const { name, index } of this.#exports) s.name(name).u8(KIND.FUNCTION).unsigned(index);
    });
    section(SECTION.ELEMENT, this.#elements.length, (s) => {
      for (const { offset, functions } of this.#elements) {
        s.unsigned(0).u8(0x41).signed(offset).u8(0x0b).unsigned(functions.length);
        for (const index of functions) s.unsigned(index);
      }
    });
    section(SECTION.CODE, this.#functions.length, (s) => {
      for (const { writer } of this.#functions) s.bytes(writer.encode());
    });
    return out.written();
  }

  #import(name: string, kind: number): ByteWriter {
    this.#importCount++;
    return this.#imports.name(IMPORT_MODULE).name(name).u8(kind);
  }
}
