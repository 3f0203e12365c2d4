#!/bin/sh
# Builds the programs for Linux that are written in C with Debian's gcc into DIRECTORY (here unless told).
set -eu
cd "$(dirname "$0")"
for name in beside kvm-run; do
  gcc -O2 -Wall -Wextra -Werror -std=gnu11 -ffreestanding -fno-builtin -fno-stack-protector -fcf-protection=none \
    -fno-asynchronous-unwind-tables -fno-ident -fno-pic -no-pie -nostdlib -static -s \
    -Wl,--build-id=none -Wl,-z,noseparate-code -Wl,-z,noexecstack $name.c -o "${1:-.}/$name.elf"
done
