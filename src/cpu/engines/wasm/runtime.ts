import type { FlagKind, IntegerSize } from '../../emit.ts';
import { FLAG_KINDS } from '../../flags.ts';
import { INTERPRETER, STATE } from '../../state/layout.ts';
import { compile } from './assembler/compile.ts';
import { FunctionWriter } from './assembler/function-writer.ts';
import { IMPORT_MODULE, ModuleBuilder } from './assembler/module-builder.ts';
import type { Type } from './assembler/opcodes.ts';
import { ConditionWriter } from './condition.ts';
import { divideSigned, divideUnsigned } from './division.ts';
import type { HandlerMode } from './mode.ts';
import { accessRam } from './ram-access.ts';
import { RECORD, STUB } from './record.ts';
import { PARAMETER } from './register-emit.ts';
import {
  HANDLER_PARAMETERS,
  HANDLER_RESULTS,
  LEAVE,
  RUNTIME_FUNCTIONS,
  RUNTIME_NAMES,
  type RuntimeFunction,
  type RuntimeIndices,
} from './runtime-functions.ts';
import { settle } from './settle.ts';
import { WasmEmit } from './wasm-emit.ts';

/** What the runtime asks of TypeScript: the slow paths. They throw `Fault` or `VmExit` through generated code. */
export interface SlowPaths {
  refill(low: number, high: number, access: number, write: number): number;
  load(linear: bigint, access: number): bigint;
  store(linear: bigint, access: number, value: bigint): void;
  update(linear: bigint, access: number): number;
  storeBack(): void;
  probe(linear: bigint, access: number): void;
  trap(vector: number, code: number): void;
  assist(number: number): void;
  vector(number: number): void;
  system(): number;
}

/** Everything that generated code shares: one instance per CPU. */
export interface Runtime {
  readonly functions: Readonly<Record<RuntimeFunction, unknown>>;
  /** Runs from a record on with the state block's state; returns one of `LEAVE`. */
  enter(record: number): number;
  /** Adds what was counted since the last time to the totals; FUEL_START becomes FUEL. */
  settle(): void;
}

const STUB_MODE: HandlerMode = {
  codeSize: 8,
  stackSize: 8,
  virtual8086: false,
  flat: 0,
  linearWidth: 48,
  armed: false,
  observed: undefined,
};

/** Slow paths that come with a handler's parameters. */
const PUBLISHING = ['load', 'store', 'update', 'probe', 'trap', 'assist', 'system'] as const;
/** Slow paths called as they are. */
const PLAIN = ['storeBack', 'vector'] as const;

export function buildRuntime(
  memory: WebAssembly.Memory,
  table: WebAssembly.Table,
  base: number,
  slowPaths: SlowPaths,
): Runtime {
  const pages = memory.buffer.byteLength / 65536;
  const module = compile(`runtime ${pages} ${base}`, () => runtimeCode(pages, base));
  const { exports } = new WebAssembly.Instance(module, {
    [IMPORT_MODULE]: { memory, table, ...slowPaths },
  });
  return {
    functions: Object.fromEntries(
      RUNTIME_NAMES.map((name) => [name, exports[name]]),
    ) as Runtime['functions'],
    enter: exports['enter'] as Runtime['enter'],
    settle: exports['settle'] as Runtime['settle'],
  };
}

function runtimeCode(pages: number, base: number): Uint8Array {
  const module = new ModuleBuilder();
  module.importMemory('memory', pages);
  module.importTable('table');
  const imports = Object.fromEntries(
    [...PUBLISHING, ...PLAIN].map((name) => {
      const [parameters, results] = RUNTIME_FUNCTIONS[name];
      const own = parameters.slice(
        (PLAIN as readonly string[]).includes(name) ? 0 : HANDLER_PARAMETERS.length,
      );
      return [name, module.importFunction(name, own, results)];
    }),
  ) as Record<(typeof PUBLISHING)[number] | (typeof PLAIN)[number], number>;

  const refill = module.importFunction('refill', ['i32', 'i32', 'i32', 'i32'], ['i32']);
  const indices: Partial<Record<RuntimeFunction, number>> = {};
  const define = (name: RuntimeFunction, f: FunctionWriter) => {
    indices[name] = module.add(f, name);
  };
  define('divideUnsigned', divideUnsigned());
  define('divideSigned', divideSigned(indices.divideUnsigned!));
  define('leave', leave(base));
  for (const name of PUBLISHING) define(name, publishing(base, name, imports[name], refill));
  for (const name of PLAIN) define(name, plain(name, imports[name]));
  for (let pair = 0; pair < 8; pair++) {
    define(
      `condition${pair}` as RuntimeFunction,
      byFlagKind((writer) => writer.condition(2 * pair)),
    );
  }
  define(
    'statusFlags',
    byFlagKind((writer) => writer.statusFlags()),
  );

  const type = module.type(HANDLER_PARAMETERS, HANDLER_RESULTS);
  const stubs = stubHandlers(indices as RuntimeIndices, base, type);
  module.fillTable(
    0,
    stubs.map((f) => module.add(f)),
  );
  module.add(enter(base, type), 'enter');
  module.add(settle(base), 'settle');

  return module.build();
}

/** Stores a handler's parameters to the state block. */
function publish(f: FunctionWriter, base: number): void {
  f.i32(0)
    .get(PARAMETER.RECORD)
    .memory('i32.store', base + INTERPRETER.RECORD);
  f.i32(0)
    .get(PARAMETER.FUEL)
    .op('i64.extend_i32_u')
    .memory('i64.store', base + STATE.FUEL);
  f.i32(0)
    .get(PARAMETER.KIND)
    .memory('i32.store', base + STATE.FLAG_KIND);
  f.i32(0)
    .get(PARAMETER.X)
    .memory('i64.store', base + STATE.FLAG_X);
  f.i32(0)
    .get(PARAMETER.Y)
    .memory('i64.store', base + STATE.FLAG_Y);
}

function leave(base: number): FunctionWriter {
  const f = new FunctionWriter(...RUNTIME_FUNCTIONS.leave);
  publish(f, base);
  f.i32(0)
    .get(5)
    .memory('i64.store', base + STATE.RIP);
  f.get(6);
  return f;
}

/** A slow path: publishes the state before the instruction and calls TypeScript with the rest of its parameters. */
function publishing(
  base: number,
  name: RuntimeFunction,
  target: number,
  refill: number,
): FunctionWriter {
  const [parameters, results]: readonly [readonly Type[], readonly Type[]] =
    RUNTIME_FUNCTIONS[name];
  const f = new FunctionWriter(parameters, results);
  publish(f, base);
  f.i32(0)
    .get(PARAMETER.RECORD)
    .memory('i64.load', RECORD.RIP)
    .memory('i64.store', base + STATE.RIP);
  if (name === 'load' || name === 'store' || name === 'update') accessRam(f, base, name, refill);
  for (let i = HANDLER_PARAMETERS.length; i < parameters.length; i++) f.get(i);
  f.call(target);
  return f;
}

function plain(name: RuntimeFunction, target: number): FunctionWriter {
  const [parameters, results]: readonly [readonly Type[], readonly Type[]] =
    RUNTIME_FUNCTIONS[name];
  const f = new FunctionWriter(parameters, results);
  for (let i = 0; i < parameters.length; i++) f.get(i);
  f.call(target);
  return f;
}

/** A function of (kind, x, y) that evaluates flags of whatever kind. */
function byFlagKind(write: (writer: ConditionWriter) => void): FunctionWriter {
  const f = new FunctionWriter(...RUNTIME_FUNCTIONS.statusFlags);
  const cases = (Object.keys(FLAG_KINDS) as FlagKind[]).flatMap((kind) =>
    ([1, 2, 4, 8] as const).map((size: IntegerSize) => ({ kind, size })),
  );
  const nest = (depth: number, labels: Parameters<FunctionWriter['branchTable']>[0]): void => {
    if (depth < 0) {
      f.get(0)
        .i32(0xff)
        .op('i32.and')
        .branchTable([...labels].reverse(), labels[0]!);
      return;
    }
    f.block((label) => nest(depth - 1, [...labels, label]));
    write(
      new ConditionWriter(f, { ...cases[depth]!, carry: true, locals: { kind: 0, x: 1, y: 2 } }),
    );
    f.op('return');
  };
  nest(cases.length - 1, []);
  f.op('unreachable');
  return f;
}

/** Handlers of the stubs, in the order of their table indices. */
function stubHandlers(runtime: RuntimeIndices, base: number, type: number): FunctionWriter[] {
  const write = (body: (e: WasmEmit, f: FunctionWriter) => void) => {
    const f = new FunctionWriter(HANDLER_PARAMETERS, HANDLER_RESULTS);
    const e = new WasmEmit(f, runtime, base, STUB_MODE, type);
    e.ticks = 0;
    body(e, f);
    f.op('unreachable');
    return f;
  };
  const stubs: FunctionWriter[] = [];
  stubs[STUB.LINK] = write((e) => e.leaveBefore(LEAVE.LINK));
  stubs[STUB.GOTO] = write((e) => e.goEdge());
  stubs[STUB.CROSS] = write((e) => e.goRip(e.ownRip()));
  stubs[STUB.STALE] = write((e) => e.leaveBefore(LEAVE.MISS));
  stubs[STUB.PLAIN] = write((e) => {
    e.checkHorizon();
    e.leaveBefore(LEAVE.SYSTEM);
  });
  stubs[STUB.SYSTEM] = write((e) => {
    e.checkHorizon();
    e.callSystem();
  });
  return stubs;
}

function enter(base: number, type: number): FunctionWriter {
  const f = new FunctionWriter(['i32'], ['i32']);
  f.get(0);
  f.i32(0).memory('i32.load', base + STATE.FUEL);
  f.i32(0).memory('i32.load', base + STATE.FLAG_KIND);
  f.i32(0).memory('i64.load', base + STATE.FLAG_X);
  f.i32(0).memory('i64.load', base + STATE.FLAG_Y);
  f.get(0).memory('i32.load', RECORD.HANDLER).callIndirect(type);
  return f;
}
