/* COM1: registers, loopback, interrupts, and input: it answers each line it is sent. */
#include "kernel.h"

#define COM1 0x3f8

static volatile int interrupts;
static u8 reason;
static void serial(struct frame *frame)
{
    (void)frame;
    interrupts++;
    reason = in8(COM1 + 2) & 0x0f;
    apic_write(APIC_EOI, 0);
}

static int ready(void) { return in8(COM1 + 5) & 1; }

void run(void)
{
    enable_apic();
    handle(0x54, serial);
    route(4, 0x54);

    check(in8(COM1 + 5) == 0x60, "the transmitter is empty, nothing is received");
    out8(COM1 + 7, 0x5a);
    check(in8(COM1 + 7) == 0x5a, "the scratch register keeps its value");
    out8(COM1 + 3, 0x83), out8(COM1, 0x01), out8(COM1 + 1, 0x00), out8(COM1 + 3, 0x03);
    check(in8(COM1 + 3) == 0x03, "the line control register keeps its value");
    out8(COM1 + 3, 0x83);
    check(in8(COM1) == 0x01 && in8(COM1 + 1) == 0x00, "the divisor lies behind DLAB");
    out8(COM1 + 3, 0x03);
    out8(COM1 + 1, 0xff);
    check(in8(COM1 + 1) == 0x0f, "IER has four bits");
    out8(COM1 + 1, 0x00);
    out8(COM1 + 2, 0x01);
    check((in8(COM1 + 2) & 0xc0) == 0xc0, "FIFO enabled: a 16550A");
    out8(COM1 + 2, 0x00);
    check((in8(COM1 + 2) & 0xc0) == 0x00, "and disabled again");

    out8(COM1 + 4, 0x1a); /* in loopback nothing can be printed */
    u8 first = in8(COM1 + 6) & 0xf0;
    out8(COM1 + 4, 0x15);
    u8 second = in8(COM1 + 6) & 0xf0;
    out8(COM1, 0xa5);
    while (!ready())
        ;
    u8 received = in8(COM1);
    out8(COM1 + 4, 0x0b);
    in8(COM1 + 6);
    check(first == 0x90, "loopback wires OUT2 to DCD and RTS to CTS");
    check(second == 0x60, "and OUT1 to RI, DTR to DSR");
    check(received == 0xa5, "and the transmitter to the receiver");

    out8(COM1 + 1, 0x02);
    for (int i = 0; i < 100000 && !interrupts; i++)
        __asm__ volatile("sti; nop; cli");
    check(interrupts == 1 && reason == 0x02, "the empty transmitter interrupts");
    out8(COM1 + 1, 0x00);

    print("ready\n");
    interrupts = 0;
    out8(COM1 + 1, 0x01);
    while (!interrupts)
        wait_interrupt();
    char line[64];
    int length = 0;
    for (;;) {
        while (!ready())
            wait_interrupt();
        char c = in8(COM1);
        if (c == '\n')
            break;
        if (length < 63)
            line[length++] = c;
    }
    line[length] = 0;
    out8(COM1 + 1, 0x00);
    check(interrupts > 0, "received data interrupt");
    print("line of %d: %s\n", (u64)length, line);
}
