import { execFileSync, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Interpreter } from '../../../src/cpu/engines/wasm/interpreter.ts';
import { INTERPRETER } from '../../../src/cpu/state/layout.ts';
import { TestMachine } from '../../cpu/system/machine.ts';

const present = (command: string): boolean => {
  try {
    execFileSync('which', [command], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
};

export const AVAILABLE = {
  nasm: present('nasm'),
  qemu: present('qemu-system-x86_64'),
  bochs: present('bochs'),
} as const;

const LIMIT = 60_000;

/** What the program said on port E9H, by case: the text after its name. */
function outcomes(text: string): ReadonlyMap<string, string> {
  const lines = text.slice(0, text.lastIndexOf('END')).split('\n');
  const found = new Map<string, string>();
  for (const line of lines) {
    const at = line.indexOf(': v');
    if (at > 0) found.set(line.slice(0, at), line.slice(at + 2));
  }
  return found;
}

export function onQemu(disk: string): ReadonlyMap<string, string> {
  // biome-ignore format: a list
  const { stdout } = spawnSync('qemu-system-x86_64', [
    '-accel', 'tcg', '-cpu', 'max', '-m', '16', '-display', 'none', '-no-reboot', '-monitor', 'none', '-serial', 'none',
    '-drive', `file=${disk},format=raw,if=ide`, '-debugcon', 'stdio', '-device', 'isa-debug-exit,iobase=0xf4,iosize=4',
  ], { encoding: 'latin1', timeout: LIMIT });
  return outcomes(stdout);
}

export function onBochs(disk: string): ReadonlyMap<string, string> {
  const config = join(dirname(disk), 'bochsrc');
  writeFileSync(
    config,
    `megs: 32
cpu: model=tigerlake, ips=10000000, reset_on_triple_fault=0, ignore_bad_msrs=0
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
ata0-master: type=disk, path="${disk}", mode=flat, cylinders=20, heads=16, spt=63
boot: disk
port_e9_hack: enabled=1
log: ${join(dirname(disk), 'bochs.log')}
panic: action=fatal
display_library: rfb, options="timeout=0"
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
speaker: enabled=0
`,
  );
  // Its debugger wants to be told to go on, through a pipe and no socket, which is what Node would give it.
  const { stdout } = spawnSync('sh', ['-c', `echo c | bochs -q -f ${config}`], {
    encoding: 'latin1',
    timeout: LIMIT,
    cwd: dirname(disk),
  });
  return outcomes(stdout);
}

/** Our machine on one of its engines. */
export function onOurs(
  program: Uint8Array,
  engine: 'oracle' | 'interpreter' = 'interpreter',
): ReadonlyMap<string, string> {
  const machine = new TestMachine(
    engine === 'oracle'
      ? {}
      : { engine: (core) => new Interpreter(core), reserved: INTERPRETER.SIZE },
  );
  machine.memory.load(0x7e00, program);
  const real = { base: 0n, limit: 0xffff, rights: 0x93, selector: 0 };
  machine.state.setSegment('CS', real);
  machine.state.rip = 0x7e00n;
  machine.run(10_000_000);
  const text = machine.written
    .filter(({ port }) => port === 0xe9)
    .map(({ value }) => String.fromCharCode(value & 0xff))
    .join('');
  return outcomes(text);
}
