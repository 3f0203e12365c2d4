/*
 * kvm-run IMAGE: runs a guest image of ours in a virtual machine of Linux's KVM, as a static program without a C library.
 *
 * The guest gets one vCPU with an interrupt controller in the kernel and everything that KVM supports in CPUID, and is
 * entered at its ELF64 entry in 64-bit mode, the first 4 GiB mapped one to one. What it writes to COM1 goes to stdout;
 * what it writes to the debug-exit device ends the program: status 0 when that was 0.
 */
#include <elf.h>
#include <linux/kvm.h>

#include "system-calls.h"

enum { COM1 = 0x3f8, COM1_LSR = COM1 + 5, DEBUG_EXIT = 0xf4 };
enum { GDT = 0x1000, PML4 = 0x2000, PDPT = 0x3000, PD = 0x4000, STACK_TOP = 0x90000 };

#define RAM_SIZE (16ul << 20)
#define CPUID_ENTRIES 128

#define IOCTL_MUST(fd, request, argument) \
  must(#request, syscall6(IOCTL, (u64)(fd), request, (u64)(argument), 0, 0, 0))

static u8 *map(u64 length, u64 flags, u64 fd) {
  return (u8 *)must("mmap", syscall6(MMAP, 0, length, 3, flags, fd, 0));
}

static struct {
  struct kvm_cpuid2 head;
  struct kvm_cpuid_entry2 entries[CPUID_ENTRIES];
} cpuid;

/* Copies the image's segments to where they ask to be; its entry. */
static u64 load(const char *path, u8 *ram) {
  static u8 image[1 << 20];
  u64 fd = must(path, syscall6(OPEN, (u64)path, 0, 0, 0, 0, 0));
  u64 length = 0, got;
  while ((got = must("read", syscall6(READ, fd, (u64)image + length, sizeof image - length, 0, 0, 0)))) length += got;
  Elf64_Ehdr *header = (Elf64_Ehdr *)image;
  Elf64_Phdr *segment = (Elf64_Phdr *)(image + header->e_phoff);
  for (int i = 0; i < header->e_phnum; i++, segment++) {
    if (segment->p_type != PT_LOAD) continue;
    for (u64 at = 0; at < segment->p_filesz; at++) ram[segment->p_paddr + at] = image[segment->p_offset + at];
  }
  return header->e_entry;
}

static void map_4_gib(u8 *ram) {
  *(u64 *)(ram + PML4) = PDPT | 3;
  for (u64 g = 0; g < 4; g++) {
    ((u64 *)(ram + PDPT))[g] = (PD + g * 0x1000) | 3;
    for (u64 m = 0; m < 512; m++) ((u64 *)(ram + PD))[g * 512 + m] = g << 30 | m << 21 | 0x83;
  }
}

static void enter_at(u64 vcpu, u64 entry, u8 *ram) {
  struct kvm_sregs sregs;
  struct kvm_segment code = {.limit = ~0u, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1};
  struct kvm_segment data = {.limit = ~0u, .selector = 16, .type = 3, .present = 1, .db = 1, .s = 1, .g = 1};
  IOCTL_MUST(vcpu, KVM_GET_SREGS, &sregs);
  ((u64 *)(ram + GDT))[1] = 0x00af9b000000ffff;
  ((u64 *)(ram + GDT))[2] = 0x00cf93000000ffff;
  sregs.cs = code;
  sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
  sregs.gdt.base = GDT;
  sregs.gdt.limit = 23;
  sregs.cr0 = 0x80000031;
  sregs.cr3 = PML4;
  sregs.cr4 = 0x20;
  sregs.efer = 0x500;
  IOCTL_MUST(vcpu, KVM_SET_SREGS, &sregs);
  struct kvm_regs regs = {.rip = entry, .rsp = STACK_TOP, .rflags = 2};
  IOCTL_MUST(vcpu, KVM_SET_REGS, &regs);
}

/* One access of the guest to a port; true when it ends the run, with `status`. */
static int port_io(struct kvm_run *run, int *status) {
  u8 *data = (u8 *)run + run->io.data_offset;
  u64 length = (u64)run->io.size * run->io.count;
  if (run->io.direction == KVM_EXIT_IO_IN) {
    for (u64 at = 0; at < length; at++) data[at] = run->io.port == COM1_LSR ? 0x60 : 0xff;
  } else if (run->io.port == COM1) {
    syscall6(WRITE, 1, (u64)data, length, 0, 0, 0);
  } else if (run->io.port == DEBUG_EXIT) {
    *status = *data;
    return 1;
  }
  return 0;
}

static int run_guest(u64 vcpu, struct kvm_run *run, u64 *exits) {
  int status;
  for (;; ++*exits) {
    IOCTL_MUST(vcpu, KVM_RUN, 0);
    if (run->exit_reason == KVM_EXIT_IO) {
      if (port_io(run, &status)) return status;
      continue;
    }
    print("kvm-run: exit ");
    print_decimal(run->exit_reason);
    print(", hardware reason ");
    print_decimal(run->hw.hardware_exit_reason);
    print("\n");
    return 3;
  }
}

__attribute__((used)) static void start(u64 *stack) {
  if (stack[0] != 2) end_with("usage: kvm-run IMAGE\n", 2);
  u64 kvm = must("/dev/kvm", syscall6(OPEN, (u64) "/dev/kvm", 2, 0, 0, 0, 0));
  u64 vm = IOCTL_MUST(kvm, KVM_CREATE_VM, 0);
  u8 *ram = map(RAM_SIZE, 0x22, ~0ul);
  struct kvm_userspace_memory_region region = {.memory_size = RAM_SIZE, .userspace_addr = (u64)ram};
  IOCTL_MUST(vm, KVM_SET_TSS_ADDR, 0xfffbd000);
  IOCTL_MUST(vm, KVM_SET_USER_MEMORY_REGION, &region);
  IOCTL_MUST(vm, KVM_CREATE_IRQCHIP, 0);
  u64 vcpu = IOCTL_MUST(vm, KVM_CREATE_VCPU, 0);
  cpuid.head.nent = CPUID_ENTRIES;
  IOCTL_MUST(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid);
  IOCTL_MUST(vcpu, KVM_SET_CPUID2, &cpuid);
  struct kvm_run *run = (struct kvm_run *)map(IOCTL_MUST(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), 1, vcpu);
  map_4_gib(ram);
  enter_at(vcpu, load((const char *)stack[2], ram), ram);
  u64 exits = 0;
  int status = run_guest(vcpu, run, &exits);
  print("kvm-run: status ");
  print_decimal((u64)status);
  print(" after ");
  print_decimal(exits);
  print(" exits to user space\n");
  end(status);
}

ENTRY
