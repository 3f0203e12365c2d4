import { isSet } from '../../bits/bitfield.ts';
import { CR0 } from '../../cpu/control-registers.ts';
import type { Entry } from './entry.ts';
import { longMode, unrestricted, virtual8086 } from './guest-registers.ts';
import type { Rule } from './rule.ts';

const SDM = 'Checks on Guest Segment Registers';

const CODE_AND_DATA = ['CS', 'SS', 'DS', 'ES', 'FS', 'GS'] as const;
const DATA = ['DS', 'ES', 'FS', 'GS'] as const;
type Name = (typeof CODE_AND_DATA)[number] | 'TR' | 'LDTR';

const selector = (e: Entry, name: Name) => e.read32(`GUEST_${name}_SELECTOR`);
const base = (e: Entry, name: Name) => e.read(`GUEST_${name}_BASE`);
const limit = (e: Entry, name: Name) => e.read32(`GUEST_${name}_LIMIT`);
const rights = (e: Entry, name: Name) => e.read32(`GUEST_${name}_ACCESS_RIGHTS`);
const usable = (e: Entry, name: Name) => (rights(e, name) & 0x1_0000) === 0;
const type = (e: Entry, name: Name) => rights(e, name) & 15;
const dpl = (e: Entry, name: Name) => (rights(e, name) >>> 5) & 3;
const rpl = (e: Entry, name: Name) => selector(e, name) & 3;
const ti = (e: Entry, name: Name) => (selector(e, name) & 4) !== 0;
const s = (e: Entry, name: Name) => (rights(e, name) & 0x10) !== 0;
const p = (e: Entry, name: Name) => (rights(e, name) & 0x80) !== 0;
const high = (e: Entry, name: Name) => base(e, name) >> 32n;
/** A segment whose access rights count: CS always, the others when usable, outside virtual-8086 mode. */
const counts = (e: Entry, name: Name) => !virtual8086(e) && (name === 'CS' || usable(e, name));

/** Whether G agrees with the limit: 0 if any of bits 11:0 is 0, 1 if any of bits 31:20 is 1. */
function granularityAgrees(e: Entry, name: Name): boolean {
  const scaled = (rights(e, name) & 0x8000) !== 0;
  const bytes = limit(e, name);
  if ((bytes & 0xfff) !== 0xfff && scaled) return false;
  return scaled || bytes >>> 20 === 0;
}

/** DPL of CS against that of SS, by the type of CS. */
function codePrivilege(e: Entry): boolean {
  switch (type(e, 'CS')) {
    case 3:
      return dpl(e, 'CS') === 0;
    case 9:
    case 11:
      return dpl(e, 'CS') === dpl(e, 'SS');
    case 13:
    case 15:
      return dpl(e, 'CS') <= dpl(e, 'SS');
    default:
      return true;
  }
}

const stackOfRealMode = (e: Entry) => type(e, 'CS') === 3 || !isSet(e.read('GUEST_CR0'), CR0.PE);

const each = <N extends Name>(names: readonly N[], row: (name: N) => Rule): Rule[] =>
  names.map(row);

/** Vol. 3, "Checks on Guest Segment Registers", in its order: selectors, bases, limits, access rights. */
// biome-ignore format: a table
export const SEGMENT_RULES: readonly Rule[] = [
  { rule: 'guest TR selector has TI 0', sdm: SDM, ok: (e) => !ti(e, 'TR') },
  { rule: 'guest LDTR selector has TI 0', sdm: SDM, ok: (e) => !usable(e, 'LDTR') || !ti(e, 'LDTR') },
  { rule: 'guest SS selector has the RPL of CS', sdm: SDM, ok: (e) => virtual8086(e) || unrestricted(e) || rpl(e, 'SS') === rpl(e, 'CS') },

  ...each(CODE_AND_DATA, (name) => ({ rule: `guest ${name} base is its selector times 16 in virtual-8086 mode`, sdm: SDM, ok: (e) => !virtual8086(e) || base(e, name) === BigInt(selector(e, name)) << 4n })),
  ...each(['TR', 'FS', 'GS'], (name) => ({ rule: `guest ${name} base is canonical`, sdm: SDM, ok: (e) => e.isCanonical(base(e, name)) })),
  { rule: 'guest LDTR base is canonical', sdm: SDM, ok: (e) => !usable(e, 'LDTR') || e.isCanonical(base(e, 'LDTR')) },
  { rule: 'guest CS base bits 63:32 are 0', sdm: SDM, ok: (e) => high(e, 'CS') === 0n },
  ...each(['SS', 'DS', 'ES'], (name) => ({ rule: `guest ${name} base bits 63:32 are 0`, sdm: SDM, ok: (e) => !usable(e, name) || high(e, name) === 0n })),

  ...each(CODE_AND_DATA, (name) => ({ rule: `guest ${name} limit is FFFFH in virtual-8086 mode`, sdm: SDM, ok: (e) => !virtual8086(e) || limit(e, name) === 0xffff })),

  ...each(CODE_AND_DATA, (name) => ({ rule: `guest ${name} access rights are F3H in virtual-8086 mode`, sdm: SDM, ok: (e) => !virtual8086(e) || rights(e, name) === 0xf3 })),
  { rule: 'guest CS type is accessed code, or 3 of an unrestricted guest', sdm: SDM, ok: (e) => virtual8086(e) || (type(e, 'CS') & 9) === 9 || (unrestricted(e) && type(e, 'CS') === 3) },
  { rule: 'guest SS type is 3 or 7', sdm: SDM, ok: (e) => !counts(e, 'SS') || type(e, 'SS') === 3 || type(e, 'SS') === 7 },
  ...each(DATA, (name) => ({ rule: `guest ${name} type is accessed`, sdm: SDM, ok: (e) => !counts(e, name) || (type(e, name) & 1) === 1 })),
  ...each(DATA, (name) => ({ rule: `guest ${name} type is readable if it is code`, sdm: SDM, ok: (e) => !counts(e, name) || (type(e, name) & 8) === 0 || (type(e, name) & 2) !== 0 })),
  ...each(CODE_AND_DATA, (name) => ({ rule: `guest ${name} has S 1`, sdm: SDM, ok: (e) => !counts(e, name) || s(e, name) })),
  { rule: 'guest CS DPL fits its type and SS DPL', sdm: SDM, ok: (e) => virtual8086(e) || codePrivilege(e) },
  { rule: 'guest SS DPL is its RPL', sdm: SDM, ok: (e) => virtual8086(e) || unrestricted(e) || dpl(e, 'SS') === rpl(e, 'SS') },
  { rule: 'guest SS DPL is 0 if CS type is 3 or CR0.PE is 0', sdm: SDM, ok: (e) => virtual8086(e) || !stackOfRealMode(e) || dpl(e, 'SS') === 0 },
  ...each(DATA, (name) => ({ rule: `guest ${name} DPL is at least its RPL`, sdm: SDM, ok: (e) => !counts(e, name) || unrestricted(e) || type(e, name) > 11 || dpl(e, name) >= rpl(e, name) })),
  ...each(CODE_AND_DATA, (name) => ({ rule: `guest ${name} has P 1`, sdm: SDM, ok: (e) => !counts(e, name) || p(e, name) })),
  ...each(CODE_AND_DATA, (name) => ({ rule: `guest ${name} access-rights bits 11:8 are 0`, sdm: SDM, ok: (e) => !counts(e, name) || (rights(e, name) & 0xf00) === 0 })),
  { rule: 'guest CS has D 0 in 64-bit code', sdm: SDM, ok: (e) => virtual8086(e) || !longMode(e) || (rights(e, 'CS') & 0x6000) !== 0x6000 },
  ...each(CODE_AND_DATA, (name) => ({ rule: `guest ${name} granularity agrees with its limit`, sdm: SDM, ok: (e) => !counts(e, name) || granularityAgrees(e, name) })),
  ...each(CODE_AND_DATA, (name) => ({ rule: `guest ${name} access-rights bits 31:17 are 0`, sdm: SDM, ok: (e) => !counts(e, name) || rights(e, name) >>> 17 === 0 })),

  { rule: 'guest TR type is a busy TSS of the mode', sdm: SDM, ok: (e) => type(e, 'TR') === 11 || (!longMode(e) && type(e, 'TR') === 3) },
  { rule: 'guest TR has S 0', sdm: SDM, ok: (e) => !s(e, 'TR') },
  { rule: 'guest TR has P 1', sdm: SDM, ok: (e) => p(e, 'TR') },
  { rule: 'guest TR access-rights bits 11:8 are 0', sdm: SDM, ok: (e) => (rights(e, 'TR') & 0xf00) === 0 },
  { rule: 'guest TR granularity agrees with its limit', sdm: SDM, ok: (e) => granularityAgrees(e, 'TR') },
  { rule: 'guest TR is usable', sdm: SDM, ok: (e) => usable(e, 'TR') },
  { rule: 'guest TR access-rights bits 31:17 are 0', sdm: SDM, ok: (e) => rights(e, 'TR') >>> 17 === 0 },
  { rule: 'guest LDTR type is 2', sdm: SDM, ok: (e) => !usable(e, 'LDTR') || type(e, 'LDTR') === 2 },
  { rule: 'guest LDTR has S 0', sdm: SDM, ok: (e) => !usable(e, 'LDTR') || !s(e, 'LDTR') },
  { rule: 'guest LDTR has P 1', sdm: SDM, ok: (e) => !usable(e, 'LDTR') || p(e, 'LDTR') },
  { rule: 'guest LDTR access-rights bits 11:8 are 0', sdm: SDM, ok: (e) => !usable(e, 'LDTR') || (rights(e, 'LDTR') & 0xf00) === 0 },
  { rule: 'guest LDTR granularity agrees with its limit', sdm: SDM, ok: (e) => !usable(e, 'LDTR') || granularityAgrees(e, 'LDTR') },
  { rule: 'guest LDTR access-rights bits 31:17 are 0', sdm: SDM, ok: (e) => !usable(e, 'LDTR') || rights(e, 'LDTR') >>> 17 === 0 },
];
