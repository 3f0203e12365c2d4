/** Modules that are kept: those of a few dozen kinds of machine. */
const MOST_MODULES = 2048;
const MODULES = new Map<string, WebAssembly.Module>();

/** Compiles code that `name` determines, or answers with what came of it before: processors alike have the same code. */
export function compile(name: string, code: () => Uint8Array): WebAssembly.Module {
  const known = MODULES.get(name);
  if (known) return known;
  if (MODULES.size === MOST_MODULES) MODULES.clear();
  const made = new WebAssembly.Module(code());
  MODULES.set(name, made);
  return made;
}
