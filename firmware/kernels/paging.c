/* 4-level paging: translation, rights, accessed and dirty bits, large pages, invalidation. */
#include "kernel.h"

#define P 1ul
#define W 2ul
#define U 4ul
#define A 0x20ul
#define D 0x40ul
#define PS 0x80ul
#define G 0x100ul
#define NX (1ul << 63)

/* Linear addresses from here are mapped by tables of this kernel: the 9th GiB. */
#define BASE 0x200000000ul
static volatile u64 directory[512] __attribute__((aligned(4096)));
static volatile u64 table[512] __attribute__((aligned(4096)));
static volatile u8 pages[8][4096] __attribute__((aligned(4096)));

static u64 target;

static volatile u8 *linear(int page) { return (volatile u8 *)(BASE + 4096ul * page); }
static void map(int page, u64 flags)
{
    table[page] = (u64)pages[page] | flags;
    invlpg(linear(page));
}

static void load(void) { __asm__ volatile("mov (%0), %%eax" ::"r"(target) : "eax", "memory"); }
static void store(void) { __asm__ volatile("movl $1, (%0)" ::"r"(target) : "memory"); }
static void modify(void) { __asm__ volatile("lock addl $0, (%0)" ::"r"(target) : "memory", "cc"); }
static void call(void) { __asm__ volatile("call *%0" ::"r"(target) : "memory"); }
static void user_load(void) { load(); __asm__ volatile("int $0x80"); }
static void user_store(void) { store(); __asm__ volatile("int $0x80"); }
static void user_call(void) { call(); __asm__ volatile("int $0x80"); }

static void access(const char *what, void (*body)(void), int user, volatile void *at)
{
    target = (u64)at;
    int raised = user ? attempt_user(body) : attempt(body);
    if (!raised)
        print("%s: done\n", what);
    else
        print("%s: vector %d, error code %x, CR2 +%x\n", what, caught.vector, caught.error,
              caught.vector == 14 ? caught_address - BASE : 0);
}

static void row(const char *flags_text, u64 flags)
{
    map(1, flags);
    print("-- %s\n", flags_text);
    access("load", load, 0, linear(1) + 4);
    access("store", store, 0, linear(1) + 4);
    access("modify", modify, 0, linear(1) + 4);
    access("call", call, 0, linear(1));
    access("load at CPL 3", user_load, 1, linear(1) + 4);
    access("store at CPL 3", user_store, 1, linear(1) + 4);
    access("call at CPL 3", user_call, 1, linear(1));
    print("accessed %d dirty %d\n", table[1] >> 5 & 1, table[1] >> 6 & 1);
}

void run(void)
{
    /* The kernel's own pages for CPL 3 too. */
    volatile u64 *low = (volatile u64 *)(page_map[0] & ~0xffful);
    page_map[0] |= U;
    for (int i = 0; i < 4; i++)
        low[i] |= U;
    for (int i = 0; i < 512; i++)
        page_directories[i] |= U;
    low[8] = (u64)directory | P | W | U;
    directory[0] = (u64)table | P | W | U;
    for (int i = 0; i < 8; i++)
        pages[i][0] = 0xc3;
    write_cr3(read_cr3());

    print("== rights of a page of 4 KiB\n");
    row("absent", 0);
    row("present", P);
    row("present writable", P | W);
    row("present user", P | U);
    row("present writable user", P | W | U);
    row("present writable user no-execute", P | W | U | NX);
    row("reserved bit in the address", P | W | U | 1ul << 51);

    print("== without CR0.WP\n");
    write_cr0(read_cr0() & ~0x10000ul);
    row("present", P);
    row("present user", P | U);
    write_cr0(read_cr0() | 0x10000);

    print("== rights in the directory\n");
    map(1, P | W | U);
    directory[0] = (u64)table | P | U;
    write_cr3(read_cr3());
    access("store", store, 0, linear(1));
    directory[0] = (u64)table | P | W;
    write_cr3(read_cr3());
    access("load at CPL 3", user_load, 1, linear(1));
    directory[0] = (u64)table | P | W | U | NX;
    write_cr3(read_cr3());
    access("call", call, 0, linear(1));
    directory[0] = (u64)table | P | W | U | PS;
    write_cr3(read_cr3());
    access("load, reserved bits in a large page", load, 0, linear(1));
    directory[0] = (u64)table | P | W | U;
    write_cr3(read_cr3());

    print("== accessed and dirty\n");
    map(2, P | W);
    directory[0] &= ~A;
    write_cr3(read_cr3());
    (void)*(volatile u8 *)linear(2);
    print("after a load: page %x directory %x\n", table[2] & 0xfff, directory[0] & 0xfff);
    *(volatile u8 *)linear(2) = 0xc3;
    print("after a store: page %x\n", table[2] & 0xfff);
    directory[1] = 0x200000 | P | W | PS;
    *(volatile u32 *)(BASE + 0x200000 + 0x1ffffc);
    print("large page after a load: %x\n", directory[1] & 0xfff);
    *(volatile u32 *)(BASE + 0x200000 + 0x1ffffc) = 0x1234;
    print("large page after a store: %x\n", directory[1] & 0xfff);
    check(*(volatile u32 *)0x3ffffc == 0x1234, "a large page maps its 2 MiB");
    low[9] = 0 | P | W | PS;
    check(*(volatile u32 *)(BASE + 0x40000000 + 0x3ffffc) == 0x1234, "a page of 1 GiB maps all of it");

    print("== translation and invalidation\n");
    map(3, P | W);
    map(4, P | W);
    pages[3][8] = 3;
    pages[4][8] = 4;
    check(linear(3)[8] == 3 && linear(4)[8] == 4, "two pages, two frames");
    table[3] = (u64)pages[4] | P | W;
    invlpg(linear(3));
    check(linear(3)[8] == 4, "INVLPG lets a changed entry be seen");
    table[3] = 0;
    write_cr3(read_cr3());
    access("load after unmapping and MOV to CR3", load, 0, linear(3));
    write_cr4(read_cr4() | 0x80);
    map(5, P | W | G);
    pages[5][8] = 5;
    check(linear(5)[8] == 5, "a global page");
    table[5] = (u64)pages[4] | P | W | G;
    write_cr4(read_cr4() & ~0x80ul);
    check(linear(5)[8] == 4, "turning CR4.PGE off forgets global pages too");

    print("== an access across two pages\n");
    map(6, P | W);
    table[7] = 0;
    invlpg(linear(7));
    access("load", load, 0, linear(6) + 4094);
    access("store", store, 0, linear(6) + 4094);
    check(pages[6][4094] == 0, "a store that faults on its second page has not touched the first");
    map(7, P);
    access("store", store, 0, linear(6) + 4094);
    check(pages[6][4094] == 0, "nor one whose second page is read-only");
    map(7, P | W);
    *(volatile u32 *)(linear(6) + 4094) = 0x44332211;
    check(pages[6][4094] == 0x11 && pages[6][4095] == 0x22 && pages[7][0] == 0x33 && pages[7][1] == 0x44,
          "a store across two pages reaches both");
}
