// Runs every test kernel on QEMU TCG and records its console beside it. What the kernels print on our machine is held
// against these transcripts (test/machine/kernels.test.ts). Needs qemu-system-x86_64; run it after changing a kernel.
import { spawn, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const FOLDER = fileURLToPath(new URL('.', import.meta.url));
/** Processors and console input by kernel; those of timers count time in instructions, so that it is exact. */
const EXACT_TIME = ['-icount', 'shift=1,sleep=off', '-rtc', 'clock=vm'];
const KERNELS = {
  apic: {},
  clocks: { options: EXACT_TIME },
  console: { input: 'one line\n' },
  exceptions: {},
  ipi: { cpus: 4 },
  paging: {},
  timers: { options: EXACT_TIME },
};
const LIMIT_MS = 120_000;

if (spawnSync('qemu-system-x86_64', ['--version']).status !== 0) {
  console.log(`SKIP: QEMU is not installed, not run: ${Object.keys(KERNELS).join(', ')}`);
  process.exit(0);
}

for (const [name, { cpus = 1, input, options = [] }] of Object.entries(KERNELS)) {
  const text = await run(`${FOLDER}${name}.elf`, cpus, options, input);
  writeFileSync(`${FOLDER}${name}.qemu.txt`, text);
  console.log(`${name}: ${text.split('\n').length - 1} lines`);
}

/** The console of one run, without what the firmware printed. */
function run(image, cpus, options, input) {
  return new Promise((resolve, reject) => {
    const qemu = spawn('qemu-system-x86_64', [
      ...['-machine', 'q35,accel=tcg', '-cpu', 'max', '-smp', `${cpus}`, '-m', '128'],
      ...['-display', 'none', '-monitor', 'none', '-serial', 'stdio', '-no-reboot', '-net', 'none'],
      ...['-device', 'isa-debug-exit,iobase=0xf4,iosize=4'],
      ...options,
      ...['-kernel', image],
    ]);
    let output = '';
    const timer = setTimeout(() => qemu.kill(), LIMIT_MS);
    qemu.stdout.on('data', (bytes) => {
      output += bytes.toString('latin1');
      if (input && /^ready\r?$/m.test(output)) {
        qemu.stdin.write(input);
        input = undefined;
      }
    });
    qemu.on('error', reject);
    qemu.on('close', () => {
      clearTimeout(timer);
      const lines = output.replaceAll('\r', '').split('Booting from ROM..').at(-1);
      resolve(lines.replace(/^\n+/, ''));
    });
  });
}
