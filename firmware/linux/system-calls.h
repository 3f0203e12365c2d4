/* Linux's system calls, as far as programs without a C library here use them. */
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long u64;

enum { READ, WRITE, OPEN, MMAP = 9, IOCTL = 16, FORK = 57, EXECVE = 59, EXIT = 60, WAIT4 = 61, PERF_EVENT_OPEN = 298 };

static inline long syscall6(long number, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f) {
  register u64 r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

static inline void print(const char *text) {
  u64 length = 0;
  while (text[length]) length++;
  syscall6(WRITE, 1, (u64)text, length, 0, 0, 0);
}

static inline void print_decimal(u64 value) {
  char digits[21] = {0};
  char *at = digits + 20;
  do *--at = (char)('0' + value % 10);
  while (value /= 10);
  print(at);
}

static inline void end(int status) {
  for (;;) syscall6(EXIT, (u64)status, 0, 0, 0, 0, 0);
}

static inline void end_with(const char *text, int status) {
  print(text);
  end(status);
}

/* A system call that has to succeed; else its name and errno are told. */
static inline u64 must(const char *what, long result) {
  if (result >= 0) return (u64)result;
  print(what);
  print(": error ");
  print_decimal((u64)-result);
  end_with("\n", 2);
  return 0;
}

/* The entry of a program, which calls start() with what the kernel has put on the stack. */
#define ENTRY __asm__(".globl _start\n_start: xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call start\n");
