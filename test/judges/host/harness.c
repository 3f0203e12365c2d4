// Runs test cases on the processor it runs on: loads a case's registers through a signal frame, lets it execute so many
// instructions by single-stepping, and reports registers, memory and fault. Cases on stdin, results on stdout, both as
// the structs below (see case.ts). Linux on x86-64; `harness fpu` adds 512 bytes of FXSAVE state to each.
#define _GNU_SOURCE
#include <asm/ldt.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define CODE 0x10000000UL   // one page, then nothing
#define DATA 0x20000000UL   // a read-only page, two writable ones, then nothing
#define PAGE 4096
#define BATCH 4096
#define TF 0x100
#define CODE16 0x07         // LDT segments of 16-bit cases, on the same pages
#define DATA16 0x0f
#define FLAT 0x2b

struct test {
  uint8_t code_size, steps, code_length, pad;
  uint32_t code_at, patch_at, patch_length;
  uint8_t code[64], patch[64];
  uint64_t gpr[16], rflags;
};

struct result {
  uint64_t gpr[16], rip, rflags, cr2;
  uint32_t vector, error, changed_at, changed_length;
  uint8_t changed[256];
};

static const int GPR[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                            REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

static struct test tests[BATCH];
static struct result results[BATCH];
static uint8_t fx_in[BATCH][512], fx_out[BATCH][512];
static uint8_t template[3 * PAGE];
static uint8_t *code; // the code page under another address, where it may be written
static int count, current, steps, running, fpu;
static ucontext_t home;
static uint8_t home_fx[512];

static void load(ucontext_t *uc, const struct test *t) {
  greg_t *g = uc->uc_mcontext.gregs;
  memset(code, 0xcc, PAGE);
  memcpy(code + t->code_at, t->code, t->code_length);
  memcpy((uint8_t *)DATA + t->patch_at, t->patch, t->patch_length);
  for (int i = 0; i < 16; i++) g[GPR[i]] = t->gpr[i];
  int small = t->code_size == 2;
  uint64_t cs = small ? CODE16 : t->code_size == 8 ? 0x33 : 0x23, data = small ? DATA16 : FLAT;
  g[REG_RIP] = (small ? 0 : CODE) + t->code_at;
  g[REG_EFL] = t->rflags | TF;
  g[REG_CSGSFS] = cs | data << 48;
  __asm__ volatile("mov %0, %%ds\n\tmov %0, %%es" : : "r"(data)); // not part of a signal frame
  if (fpu) {
    memcpy(uc->uc_mcontext.fpregs, fx_in[current], 464); // the rest of the area is the kernel's
    uint64_t *xstate_bv = (uint64_t *)((uint8_t *)uc->uc_mcontext.fpregs + 512);
    *xstate_bv |= 3;
  }
  steps = t->steps;
}

static void save(const ucontext_t *uc, const struct test *t, struct result *r) {
  const greg_t *g = uc->uc_mcontext.gregs;
  for (int i = 0; i < 16; i++) r->gpr[i] = g[GPR[i]];
  r->rip = g[REG_RIP];
  r->rflags = g[REG_EFL];
  r->vector = g[REG_TRAPNO];
  r->error = g[REG_ERR];
  r->cr2 = g[REG_TRAPNO] == 14 ? g[REG_CR2] : 0;
  if (fpu) memcpy(fx_out[current], uc->uc_mcontext.fpregs, 512);

  // The patch goes into the template while the pages are compared, so that only what the case changed is found.
  uint8_t *data = (uint8_t *)DATA, kept[64];
  memcpy(kept, template + t->patch_at, t->patch_length);
  memcpy(template + t->patch_at, t->patch, t->patch_length);
  int low = PAGE, high = 3 * PAGE;
  while (low < high && *(uint64_t *)(data + low) == *(uint64_t *)(template + low)) low += 8;
  while (high > low && *(uint64_t *)(data + high - 8) == *(uint64_t *)(template + high - 8)) high -= 8;
  r->changed_at = low;
  r->changed_length = high - low;
  memset(r->changed, 0, sizeof r->changed);
  memcpy(r->changed, data + low, high - low < 256 ? high - low : 256);
  memcpy(template + t->patch_at, kept, t->patch_length);
  memcpy(data + low, template + low, high - low);
  memcpy(data + t->patch_at, kept, t->patch_length);
}

static void handler(int signal, siginfo_t *info, void *context) {
  // A case may have set AC, which would fault here, or NT and ID, which are not part of a signal frame either.
  __asm__ volatile("pushf\n\tandq $~0x244000, (%%rsp)\n\tpopf" : : : "cc", "memory");
  ucontext_t *uc = context;
  (void)signal;
  (void)info;
  if (!running) {
    memcpy(home.uc_mcontext.gregs, uc->uc_mcontext.gregs, sizeof home.uc_mcontext.gregs);
    if (fpu) memcpy(home_fx, uc->uc_mcontext.fpregs, 464);
    running = 1;
    current = 0;
  } else {
    if (uc->uc_mcontext.gregs[REG_TRAPNO] == 1 && --steps > 0) return;
    save(uc, &tests[current], &results[current]);
    current++;
  }
  if (current < count) {
    load(uc, &tests[current]);
    return;
  }
  running = 0;
  memcpy(uc->uc_mcontext.gregs, home.uc_mcontext.gregs, sizeof home.uc_mcontext.gregs);
  if (fpu) memcpy(uc->uc_mcontext.fpregs, home_fx, 464);
}

static void segment(int number, unsigned base, unsigned limit, int contents) {
  struct user_desc it = {.entry_number = number, .base_addr = base, .limit = limit, .contents = contents, .useable = 1};
  if (syscall(SYS_modify_ldt, 1, &it, sizeof it) != 0) exit(2);
}

static void *map(unsigned long at, size_t length, int protection, int fd) {
  int flags = (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED) | MAP_POPULATE | (at ? MAP_FIXED_NOREPLACE : 0);
  void *p = mmap((void *)at, length, protection, flags, fd, 0);
  if (p == MAP_FAILED || (at && p != (void *)at)) exit(2);
  return p;
}

int main(int argc, char **argv) {
  fpu = argc > 1 && strcmp(argv[1], "fpu") == 0;
  int fd = memfd_create("code", 0);
  if (fd < 0 || ftruncate(fd, PAGE) != 0) exit(2);
  map(CODE, PAGE, PROT_READ | PROT_EXEC, fd);
  code = map(0, PAGE, PROT_READ | PROT_WRITE, fd);
  uint8_t *data = map(DATA, 3 * PAGE, PROT_READ | PROT_WRITE, -1);
  uint32_t x = 0x9e3779b9;
  for (int i = 0; i < 3 * PAGE; i++) {
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    template[i] = data[i] = x >> 24;
  }
  mprotect(data, PAGE, PROT_READ);

  stack_t stack = {.ss_sp = malloc(1 << 20), .ss_size = 1 << 20};
  sigaltstack(&stack, NULL);
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
  const int signals[] = {SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
  for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++) sigaction(signals[i], &action, NULL);
  segment(CODE16 >> 3, CODE, 0xffff, MODIFY_LDT_CONTENTS_CODE);
  segment(DATA16 >> 3, DATA, 3 * PAGE - 1, MODIFY_LDT_CONTENTS_DATA);

  for (;;) {
    for (count = 0; count < BATCH; count++) {
      if (fread(&tests[count], sizeof *tests, 1, stdin) != 1) break;
      if (fpu && fread(fx_in[count], 512, 1, stdin) != 1) break;
    }
    if (count == 0) return 0;
    __asm__ volatile("int3" : : : "memory");
    for (int i = 0; i < count; i++) {
      fwrite(&results[i], sizeof *results, 1, stdout);
      if (fpu) fwrite(fx_out[i], 512, 1, stdout);
    }
  }
}
