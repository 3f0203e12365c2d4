import type { PortBus } from './port-bus.ts';

export const DEBUG_EXIT_PORT = 0xf4;
export const DEBUG_CONSOLE_PORT = 0xe9;

/** The process status that the isa-debug-exit device gives for a written value. */
export const debugExitStatus = (value: number): number => ((value << 1) | 1) & 0xff;

/** isa-debug-exit: a write of any size ends the machine with the value written. */
export function attachDebugExit(bus: PortBus, exit: (value: number) => void): void {
  bus.attach(DEBUG_EXIT_PORT, 4, {
    read: () => 0,
    write: (_offset, _size, value) => exit(value),
  });
}

/** The Bochs debug console: each byte written is output; a read gives E9H, by which it is found. */
export function attachDebugConsole(bus: PortBus, output: (byte: number) => void): void {
  bus.attachBytes(DEBUG_CONSOLE_PORT, 1, {
    read: () => DEBUG_CONSOLE_PORT,
    write: (_, byte) => output(byte),
  });
}
