/* Four processors: start-up, interprocessor interrupts of every kind, locks, memory order as programs rely on it. */
#include "kernel.h"

static volatile int running, got[8], nmis[8], stop;
static volatile u64 shared;
static volatile int lock;

static int me(void) { return apic_read(APIC_ID) >> 24; }
static void note(struct frame *frame)
{
    (void)frame;
    __atomic_add_fetch(&got[me()], 1, __ATOMIC_SEQ_CST);
    apic_write(APIC_EOI, 0);
}
static void note_nmi(struct frame *frame)
{
    (void)frame;
    __atomic_add_fetch(&nmis[me()], 1, __ATOMIC_SEQ_CST);
}

static void add(int times)
{
    for (int i = 0; i < times; i++) {
        while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE))
            ;
        shared++;
        __atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
    }
}

void processor_main(int number)
{
    (void)number;
    load_idt();
    apic_write(APIC_SIVR, 0x1ff);
    apic_write(APIC_LDR, 1u << (24 + me()));
    __atomic_add_fetch(&running, 1, __ATOMIC_SEQ_CST);
    add(1000);
    __atomic_add_fetch(&running, 1, __ATOMIC_SEQ_CST);
    sti();
    while (!stop)
        ;
    cli();
    __atomic_add_fetch(&running, 1, __ATOMIC_SEQ_CST);
    for (;;)
        wait_interrupt();
}

static int arrived(void)
{
    int sum = 0;
    for (int i = 0; i < 8; i++)
        sum += got[i] + nmis[i];
    return sum;
}

/* Waits for as many arrivals as are expected, then a little for one too many. */
static void send(const char *what, int receivers, u32 high, u32 low)
{
    for (int i = 0; i < 8; i++)
        got[i] = nmis[i] = 0;
    apic_write(APIC_ICR_HIGH, high << 24);
    apic_write(APIC_ICR, low);
    sti();
    while (arrived() < receivers)
        ;
    for (volatile int wait = 0; wait < 20000; wait++)
        ;
    cli();
    print("%s: interrupts %d %d %d %d, NMIs %d %d %d %d\n", what, (u64)got[0], (u64)got[1], (u64)got[2], (u64)got[3],
          (u64)nmis[0], (u64)nmis[1], (u64)nmis[2], (u64)nmis[3]);
}

void run(void)
{
    handle(0x60, note);
    handle(2, note_nmi);
    enable_apic();
    apic_write(APIC_LDR, 1u << 24);
    check(rdmsr(0x1b) & 0x100, "this is the bootstrap processor");
    int others = start_processors();
    print("%d others\n", (u64)others);
    add(1000);
    while (running < 2 * others)
        ;
    check(shared == 1000ul * (others + 1), "a spin lock keeps every increment");

    send("to one", 1, 2, 0x4060);
    send("to itself by ID", 1, 0, 0x4060);
    send("to nobody", 0, 7, 0x4060);
    send("to all by ID", 4, 0xff, 0x4060);
    send("self", 1, 0, 0x44060);
    send("all", 4, 0, 0x84060);
    send("all but self", 3, 0, 0xc4060);
    send("logical 1 and 3", 2, 0x0a, 0x4860);
    send("logical none", 0, 0x10, 0x4860);
    send("NMI to one", 1, 3, 0x4400);
    send("NMI to all but self", 3, 0, 0xc4400);

    stop = 1;
    while (running < 3 * others)
        ;
    send("to halted processors", 3, 0, 0xc4060);
    check(got[1] == 1 && got[2] == 1 && got[3] == 1, "an interrupt ends HLT on every processor");
}
