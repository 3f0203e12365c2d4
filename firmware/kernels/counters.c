/* Four processors count at the same time, each on the counters of its own: exact counts, one overflow each. */
#include "kernel.h"

enum { PMC0 = 0xc1, PMC1 = 0xc2, EVTSEL0 = 0x186, EVTSEL1 = 0x187, STATUS = 0x38e, GLOBAL = 0x38f, RESET = 0x390 };
enum { PMI_VECTOR = 0x50, OVERFLOW_AFTER = 1000 };

static volatile int ready, done, go;
static volatile u64 instructions[8], branches[8], interrupts[8], status[8];

static int me(void) { return apic_read(APIC_ID) >> 24; }

static void overflowed(struct frame *frame)
{
    (void)frame;
    wrmsr(GLOBAL, 0);
    interrupts[me()]++;
    status[me()] |= rdmsr(STATUS);
    wrmsr(RESET, 3);
    apic_write(APIC_EOI, 0);
    apic_write(APIC_LVT_PMI, PMI_VECTOR);
}

/* Opens the counters, turns, closes them: 2 * turns + 5 instructions count, the opening WRMSR among them. */
static void region(u64 turns)
{
    __asm__ volatile("mov %2, %%ecx; xor %%edx, %%edx; mov $3, %%eax; wrmsr\n"
                     "mov %0, %%rsi\n"
                     "1: dec %%rsi; jnz 1b\n"
                     "mov %2, %%ecx; xor %%edx, %%edx; xor %%eax, %%eax; wrmsr"
                     : "+r"(turns) : "r"(turns), "i"(GLOBAL) : "rax", "rcx", "rdx", "rsi", "memory");
}

static void count(int number)
{
    u64 turns = 1000 * (number + 1);
    wrmsr(GLOBAL, 0);
    wrmsr(EVTSEL0, 0x4300c0);
    wrmsr(EVTSEL1, 0x4300c4);
    wrmsr(PMC0, 0);
    wrmsr(PMC1, 0);
    __atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
    while (!go)
        ;
    region(turns);
    instructions[number] = rdmsr(PMC0);
    branches[number] = rdmsr(PMC1);

    wrmsr(EVTSEL1, 0);
    wrmsr(EVTSEL0, 0x5300c0);
    wrmsr(PMC0, (u32)-OVERFLOW_AFTER);
    apic_write(APIC_LVT_PMI, PMI_VECTOR);
    sti();
    region(turns);
    cli();
    __atomic_add_fetch(&done, 1, __ATOMIC_SEQ_CST);
}

void processor_main(int number)
{
    (void)number;
    load_idt();
    apic_write(APIC_SIVR, 0x1ff);
    count(me());
    for (;;)
        wait_interrupt();
}

void run(void)
{
    handle(PMI_VECTOR, overflowed);
    enable_apic();
    int others = start_processors();
    while (ready < others)
        ;
    go = 1;
    count(0);
    while (done < others + 1)
        ;
    for (int i = 0; i <= others; i++) {
        print("processor %d: %d instructions, %d branches, then %d PMI, GLOBAL_STATUS %x\n", (u64)i, instructions[i],
              branches[i], interrupts[i], status[i]);
        check(instructions[i] == 2000ul * (i + 1) + 5 && branches[i] == 1000ul * (i + 1), "as many as retired");
    }
}
