/*
 * beside EVENTS CONFIG COMMAND ARGUMENT: runs a command beside EVENTS events of the host that are pinned to processor 0,
 * as `perf stat -C 0 -e …:D` opens them, and tells how many of them perf has put into ERROR by the time it ends.
 * CONFIG is a generic hardware event by number: 1 instructions, 4 branches.
 */
#include <linux/perf_event.h>

#include "system-calls.h"

enum { MOST = 64 };

static u64 number(const char *text) {
  u64 value = 0;
  while (*text) value = value * 10 + (u64)(*text++ - '0');
  return value;
}

__attribute__((used)) static void start(u64 *stack) {
  if (stack[0] != 5) end_with("usage: beside EVENTS CONFIG COMMAND ARGUMENT\n", 2);
  static u64 fds[MOST];
  u64 events = number((const char *)stack[2]), lost = 0;
  struct perf_event_attr attr = {.size = PERF_ATTR_SIZE_VER0, .config = number((const char *)stack[3]), .pinned = 1};
  for (u64 i = 0; i < events && i < MOST; i++) {
    fds[i] = must("perf_event_open", syscall6(PERF_EVENT_OPEN, (u64)&attr, ~0ul, 0, ~0ul, 0, 0));
  }
  u64 child = must("fork", syscall6(FORK, 0, 0, 0, 0, 0, 0));
  if (child == 0) {
    u64 none = 0;
    must("execve", syscall6(EXECVE, stack[4], (u64)(stack + 4), (u64)&none, 0, 0, 0));
  }
  must("wait4", syscall6(WAIT4, child, 0, 0, 0, 0, 0));
  for (u64 i = 0; i < events && i < MOST; i++) {
    u64 count;
    /* The end of the file is ERROR. */
    if (must("read", syscall6(READ, fds[i], (u64)&count, 8, 0, 0, 0)) == 0) lost++;
  }
  print("beside: ");
  print_decimal(lost);
  print(" of ");
  print_decimal(events);
  print(" events in ERROR\n");
  end(0);
}

ENTRY
