/* What the test kernels share: printing, verdicts, interrupts, registers, the local APIC. */
#ifndef KERNEL_H
#define KERNEL_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

struct frame {
    u64 r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    u64 vector, error, rip, cs, rflags, rsp, ss;
};

/* The test: each kernel defines it. */
void run(void);

/* Printing on COM1; `print` takes %s, %d, %x and %c. */
void print(const char *format, ...);
/* PASS or FAIL and the text; counts for the summary. */
void check(int good, const char *format, ...);

/* Interrupts. A vector without handler is an exception that ends what `attempt` runs, or the kernel. */
typedef void handler(struct frame *);
void handle(int vector, handler *function);
/* Makes a vector's gate not present. */
void hide_gate(int vector);
int attempt(void (*body)(void));
void enter_user(void (*body)(void), void *stack);
/* Runs body at CPL 3; 1 if an exception ended it. */
int attempt_user(void (*body)(void));
/* The exception that ended the last attempt. */
extern struct frame caught;
extern u64 caught_address;
extern u64 page_map[512], page_directories[2048];
extern u8 trampoline[], trampoline_end[];
extern u32 next_processor;

/* An application processor's way to the common IDT. */
void load_idt(void);

void finish(void) __attribute__((noreturn));

static inline void out8(u16 port, u8 value) { __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }
static inline void out32(u16 port, u32 value) { __asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port)); }
static inline u8 in8(u16 port)
{
    u8 value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static inline u32 in32(u16 port)
{
    u32 value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static inline u64 rdmsr(u32 msr)
{
    u32 low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return (u64)high << 32 | low;
}
static inline void wrmsr(u32 msr, u64 value)
{
    __asm__ volatile("wrmsr" ::"c"(msr), "a"((u32)value), "d"((u32)(value >> 32)) : "memory");
}
static inline u64 rdtsc(void)
{
    u32 low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (u64)high << 32 | low;
}
static inline void sti(void) { __asm__ volatile("sti" ::: "memory"); }
static inline void cli(void) { __asm__ volatile("cli" ::: "memory"); }
/* Enables interrupts and halts until one came, with interrupts off again. */
static inline void wait_interrupt(void) { __asm__ volatile("sti; hlt; cli" ::: "memory"); }
static inline u64 read_cr0(void) { u64 v; __asm__ volatile("mov %%cr0, %0" : "=r"(v)); return v; }
static inline void write_cr0(u64 v) { __asm__ volatile("mov %0, %%cr0" ::"r"(v) : "memory"); }
static inline u64 read_cr2(void) { u64 v; __asm__ volatile("mov %%cr2, %0" : "=r"(v)); return v; }
static inline u64 read_cr3(void) { u64 v; __asm__ volatile("mov %%cr3, %0" : "=r"(v)); return v; }
static inline void write_cr3(u64 v) { __asm__ volatile("mov %0, %%cr3" ::"r"(v) : "memory"); }
static inline u64 read_cr4(void) { u64 v; __asm__ volatile("mov %%cr4, %0" : "=r"(v)); return v; }
static inline void write_cr4(u64 v) { __asm__ volatile("mov %0, %%cr4" ::"r"(v) : "memory"); }
static inline u64 read_cr8(void) { u64 v; __asm__ volatile("mov %%cr8, %0" : "=r"(v)); return v; }
static inline void write_cr8(u64 v) { __asm__ volatile("mov %0, %%cr8" ::"r"(v) : "memory"); }
static inline void invlpg(volatile void *at) { __asm__ volatile("invlpg (%0)" ::"r"(at) : "memory"); }

/* The local APIC in xAPIC mode. */
enum {
    APIC_ID = 0x20, APIC_VERSION = 0x30, APIC_TPR = 0x80, APIC_PPR = 0xa0, APIC_EOI = 0xb0, APIC_LDR = 0xd0,
    APIC_DFR = 0xe0, APIC_SIVR = 0xf0, APIC_ISR = 0x100, APIC_TMR = 0x180, APIC_IRR = 0x200, APIC_ESR = 0x280,
    APIC_ICR = 0x300, APIC_ICR_HIGH = 0x310, APIC_LVT_TIMER = 0x320, APIC_LVT_THERMAL = 0x330, APIC_LVT_PMI = 0x340,
    APIC_LVT_LINT0 = 0x350, APIC_LVT_LINT1 = 0x360, APIC_LVT_ERROR = 0x370, APIC_INITIAL = 0x380,
    APIC_CURRENT = 0x390, APIC_DIVIDE = 0x3e0,
};
static inline u32 apic_read(int offset) { return *(volatile u32 *)(0xfee00000ul + offset); }
static inline void apic_write(int offset, u32 value) { *(volatile u32 *)(0xfee00000ul + offset) = value; }
/* Both i8259 masked, the APIC enabled with spurious vector FFH. */
void enable_apic(void);
/* A redirection entry of the I/O APIC, destination APIC 0. */
void route(int pin, u32 low);
u32 io_apic_read(int index);
void io_apic_write(int index, u32 value);

/* Starts the application processors; each calls processor_main with its number from 1. */
int start_processors(void);
void processor_main(int number);

static inline int bits_of(int offset, int vector) { return apic_read(offset + (vector >> 5) * 16) >> (vector & 31) & 1; }

#endif
