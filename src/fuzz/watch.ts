import { bit, isSet } from '../bits/bitfield.ts';
import type { Chamber } from './chamber.ts';
import { openedToL2 } from './nested-bitmap.ts';
import { RIGHTS } from './oracles/rights.ts';
import { guestShape, hostShape } from './oracles/shapes.ts';
import { Provenance } from './provenance.ts';

// biome-ignore format: a table
const MSR = { PERFEVTSEL0: 0x186, FIXED_CTR_CTRL: 0x38d, GLOBAL_CTRL: 0x38f, PEBS_ENABLE: 0x3f1, LVTPC: 0x834 } as const;
const SELECT = { EN: 1n << 22n, LEVELS: 3n << 16n } as const;
/** INST_RETIRED and BR_INST_RETIRED, by event and unit mask; and the bit of the fixed counter of the first. */
const RETIRED: ReadonlySet<bigint> = new Set([0x00c0n, 0x00c4n]);
const FIXED = 32;
const ANY_LEVEL_FIXED = 3n;
const MEDIATED_PMI_VECTOR = 0xf5n;
const VECTOR_AND_MODE = 0x7ffn;

const LISTS = [
  ['VM_EXIT_MSR_STORE_COUNT', 'VM_EXIT_MSR_STORE_ADDRESS'],
  ['VM_EXIT_MSR_LOAD_COUNT', 'VM_EXIT_MSR_LOAD_ADDRESS'],
  ['VM_ENTRY_MSR_LOAD_COUNT', 'VM_ENTRY_MSR_LOAD_ADDRESS'],
] as const;
type ListAddress = (typeof LISTS)[number][1];

/**
 * Watches the boundary between host and guest of a chamber: whose values the guest reads, what counts on either side
 * of VM entry and exit, where the physical LVTPC points. What is not as it is to be goes to `chamber.foreign`.
 */
export function watch(chamber: Chamber): Provenance {
  const { processor, guest, parts } = chamber;
  const { vcpu } = guest;
  const shape = guestShape(parts.profile, parts.design, parts.exposure);
  const host = hostShape(parts.profile);
  const mediated = vcpu.vpmu.design.kind === 'mediated';
  // Where the guest reaches GLOBAL_CTRL itself it has whatever counters the host has.
  const own = RIGHTS[parts.design]!.globalCtrl === 'direct' ? host : shape;
  const guests = own.gp | (own.fixed << 32n) | (own.metrics ? 1n << 48n : 0n);
  const provenance = new Provenance(processor, vcpu, ({ kind, address, owner }) =>
    chamber.tell({ what: `reads a value of the ${owner}`, kind, address }),
  );
  const read = (address: number): bigint => {
    const value = processor.msrs.rdmsr(address);
    return typeof value === 'bigint' ? value : 0n;
  };
  const inGuestRam = (field: ListAddress) => {
    const { ram } = guest;
    const at = chamber.machine.hardware.memory.offset(Number(vcpu.read(field)));
    return at >= ram.ramBase && at < ram.ramBase + ram.ramSize;
  };
  const counters = Array.from({ length: FIXED }, (_, at) => at).filter((at) =>
    isSet(own.gp, bit(at)),
  );
  /** Whether some counter that the guest is entered with counts what retires, at any privilege level. */
  const countsRetired = (): boolean => {
    const open = vcpu.read('GUEST_IA32_PERF_GLOBAL_CTRL');
    if (isSet(open, bit(FIXED)) && (read(MSR.FIXED_CTR_CTRL) & ANY_LEVEL_FIXED) !== 0n) return true;
    return counters.some((at) => {
      if (!isSet(open, bit(at))) return false;
      const select = read(MSR.PERFEVTSEL0 + at);
      return (
        isSet(select, SELECT.EN) && isSet(select, SELECT.LEVELS) && RETIRED.has(select & 0xffffn)
      );
    });
  };
  let unknown = 0;
  let fast = 0;
  chamber.onEntry = () => {
    const { unknownNmis } = chamber.host;
    if (unknownNmis > unknown) {
      chamber.tell({ what: 'took an interrupt that nobody on the host knows', address: MSR.LVTPC });
    }
    unknown = unknownNmis;
    for (const [count, address] of LISTS) {
      if (vcpu.read(count) === 0n || !inGuestRam(address)) continue;
      chamber.tell({ what: 'enters with a list of MSRs in memory of the guest', address: 0 });
    }
    const opened = openedToL2(chamber);
    if (opened !== undefined) {
      chamber.tell({
        what: 'lets the guest’s guest reach what exits for the guest',
        address: opened,
      });
    }
    if (!mediated) return;
    if (vcpu.statistics.fastpath > fast && countsRetired()) {
      const what = 'answered in the fastpath though a counter counts what retires';
      chamber.tell({ what, address: MSR.GLOBAL_CTRL });
    }
    const lvtpc = read(MSR.LVTPC) & VECTOR_AND_MODE;
    if (lvtpc !== MEDIATED_PMI_VECTOR) {
      chamber.tell({ what: 'enters with the LVTPC of the host', address: MSR.LVTPC });
    }
  };
  chamber.onExit = () => {
    if (!mediated) return;
    fast = vcpu.statistics.fastpath;
    const open = vcpu.read('GUEST_IA32_PERF_GLOBAL_CTRL');
    if ((open & ~guests) !== 0n) {
      chamber.tell({ what: 'ran with counters of the host open', address: MSR.GLOBAL_CTRL });
    }
    if ((open & read(MSR.PEBS_ENABLE)) !== 0n && shape.pebs === 'none') {
      chamber.tell({ what: 'ran with PEBS of the host armed', address: MSR.PEBS_ENABLE });
    }
    if (read(MSR.GLOBAL_CTRL) !== 0n) {
      chamber.tell({ what: 'left with counters open', address: MSR.GLOBAL_CTRL });
    }
  };
  return provenance;
}
