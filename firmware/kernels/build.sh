#!/bin/sh
# Builds the test kernels with Debian's gcc into DIRECTORY (here unless told). QEMU wants the 32-bit container.
set -eu
cd "$(dirname "$0")"
out="${1:-.}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
flags="-O2 -Wall -Wextra -Werror -std=gnu11 -ffreestanding -fno-pic -fno-stack-protector -fcf-protection=none \
  -mno-red-zone -mgeneral-regs-only -mcmodel=small -fno-asynchronous-unwind-tables -fno-ident -fno-builtin"
gcc -c start.S -o "$work/start.o"
gcc $flags -c runtime.c -o "$work/runtime.o"
for name in apic clocks console counters exceptions ipi paging timers x2apic; do
  gcc $flags -c $name.c -o "$work/$name.o"
  ld -nostdlib -static -z noexecstack --no-warn-rwx-segments --build-id=none -T kernel.ld -o "$work/$name.elf64" \
    "$work/start.o" "$work/runtime.o" "$work/$name.o"
  objcopy --strip-all -O elf32-i386 "$work/$name.elf64" "$out/$name.elf"
  chmod -x "$out/$name.elf"
done
