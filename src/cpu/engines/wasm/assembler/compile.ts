/** Modules that are kept: those of a few dozen machines. */
const MOST_MODULES = 2048;
const MODULES = new Map<string, WebAssembly.Module>();
const BYTES = new TextDecoder('latin1');

/** Compiles code, or answers with what it was compiled to before: processors alike are made the same code. */
export function compile(code: Uint8Array): WebAssembly.Module {
  const key = BYTES.decode(code);
  const known = MODULES.get(key);
  if (known) return known;
  if (MODULES.size === MOST_MODULES) MODULES.clear();
  const made = new WebAssembly.Module(code);
  MODULES.set(key, made);
  return made;
}
