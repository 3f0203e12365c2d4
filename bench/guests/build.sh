#!/bin/sh
# Assembles the guests; their binaries are committed beside the sources.
set -eu
cd "$(dirname "$0")"
for source in *.asm; do
  nasm -f bin -o "${source%.asm}.bin" "$source"
done
