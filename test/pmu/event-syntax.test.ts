import { describe, expect, it } from 'vitest';
import { type EventRequest, EventSyntaxError, parseEvents } from '../../src/pmu/event-syntax.ts';
import { SAPPHIRE_RAPIDS_EVENTS } from '../../src/pmu/events.ts';

const parse = (text: string) => parseEvents(text, SAPPHIRE_RAPIDS_EVENTS);
const one = (text: string): EventRequest => parse(text)[0]![0]!;

describe('an event is read as perf reads it', () => {
  // biome-ignore format: a table
  it.each([
    ['cycles',                                  0x3cn],
    ['instructions',                            0xc0n],
    ['branches',                                0xc4n],
    ['branch-misses',                           0xc5n],
    ['cache-references',                        0x4f2en],
    ['cache-misses',                            0x412en],
    ['bus-cycles',                              0x013cn],
    ['ref-cycles',                              0x0300n],
    ['slots',                                   0x0400n],
    ['L1-dcache-loads',                         0x81d0n],
    ['L1-dcache-load-misses',                   0x0151n],
    ['dTLB-store-misses',                       0x0e13n],
    ['iTLB-load-misses',                        0x0e11n],
    ['branch-load-misses',                      0xc5n],
    ['r00c0',                                   0xc0n],
    ['r20c4',                                   0x20c4n],
    ['r18000c0',                                0x0180_00c0n],
    ['INST_RETIRED.ANY_P',                      0xc0n],
    ['inst_retired.any_p',                      0xc0n],
    ['INST_RETIRED.ANY',                        0x0100n],
    ['BR_INST_RETIRED.NEAR_TAKEN',              0x20c4n],
    ['INST_RETIRED.TOTAL_CYCLES',               0x0a80_00c0n],
    ['cpu/event=0xc4,umask=0x20/',              0x20c4n],
    ['cpu/event=192,cmask=1,inv,edge/',         0x0184_00c0n],
    ['cpu/event=0xc0,umask=0,any,pc/',          0x0028_00c0n],
    ['cpu/instructions,cmask=2/',               0x0200_00c0n],
    ['cpu/config=0x20c4/',                      0x20c4n],
  ])('%s selects %s', (text, config) => expect(one(text).config).toBe(config));

  it('keeps the name that was typed, or the one that name= gives', () => {
    expect(one('Inst_Retired.ANY_P:u').name).toBe('Inst_Retired.ANY_P:u');
    expect(one('cpu/event=0xc0,umask=0,name=work/').name).toBe('work');
  });

  it('knows which row it asks for, and that an unknown raw one has none', () => {
    expect(one('r20c4').row?.name).toBe('BR_INST_RETIRED.NEAR_TAKEN');
    expect(one('r18000c0').row?.name).toBe('INST_RETIRED.ANY_P');
    expect(one('r0a8000c0').row?.name).toBe('INST_RETIRED.TOTAL_CYCLES');
    expect(one('ref-cycles').row?.name).toBe('CPU_CLK_UNHALTED.REF_TSC');
    expect(one('r1234').row).toBeUndefined();
  });

  it('takes a sampling period', () => {
    expect(one('cpu/event=0xc0,period=1000/').period).toBe(1000n);
  });
});

describe('modifiers', () => {
  it('count everywhere when there are none', () => {
    const { user, kernel, host, guest, precise, pinned } = one('cycles');
    expect([user, kernel, host, guest, precise, pinned]).toEqual([
      ...[true, true, true, true],
      ...[0, false],
    ]);
  });

  // biome-ignore format: a table
  it.each([
    ['u',   { user: true,  kernel: false, host: true,  guest: true }],
    ['k',   { user: false, kernel: true,  host: true,  guest: true }],
    ['uk',  { user: true,  kernel: true,  host: true,  guest: true }],
    ['G',   { user: true,  kernel: true,  host: false, guest: true }],
    ['uH',  { user: true,  kernel: false, host: true,  guest: false }],
    ['GH',  { user: true,  kernel: true,  host: true,  guest: true }],
    ['pp',  { precise: 2 }],
    ['P',   { precise: 3 }],
    ['D',   { pinned: true }],
  ])('%s', (letters, expected) => {
    expect(one(`instructions:${letters}`)).toMatchObject(expected);
  });

  it('after a group are those of each member', () => {
    const [group] = parse('{instructions,branches:k}:u');
    expect(group!.map(({ user, kernel }) => [user, kernel])).toEqual([
      [true, false],
      [true, false],
    ]);
  });
});

it('reads lists and groups in order', () => {
  const groups = parse('cycles,{instructions,cpu/event=0xc4,umask=0x20/:u},r00c5');
  expect(groups.map((group) => group.map(({ name }) => name))).toEqual([
    ['cycles'],
    ['instructions', 'cpu/event=0xc4,umask=0x20/:u'],
    ['r00c5'],
  ]);
});

describe('what cannot be read says what, where and how it is called', () => {
  // biome-ignore format: a table
  it.each([
    ['instrucions',                'unknown-event', 0,  "unknown event 'instrucions'; did you mean instructions?"],
    ['INST_RETIRED.ANYP',          'unknown-event', 0,  "unknown event 'INST_RETIRED.ANYP'; did you mean INST_RETIRED.ANY_P?"],
    ['cycles,constructor',         'unknown-event', 7,  "unknown event 'constructor'"],
    ['msr/tsc/',                   'unknown-event', 0,  "no PMU 'msr': the only one is cpu"],
    ['cpu/event=0xc0,ldlat=3/',    'unknown-term',  15, "unknown term 'ldlat'; known are event, umask, cmask, edge, inv, pc, any, eq, config, name, period"],
    ['cpu/constructor=1/',         'unknown-term',  4,  "unknown term 'constructor'; known are event, umask, cmask, edge, inv, pc, any, eq, config, name, period"],
    ['cpu/event=0x1c0/',           'event-syntax',  10, 'event=0x1c0 does not fit its field'],
    ['cpu/edge=2/',                'event-syntax',  9,  'edge=0x2 does not fit its field'],
    ['cpu/event=twelve/',          'event-syntax',  10, "'twelve' is no number"],
    ['r4300c0',                    'event-syntax',  0,  '0x4300c0 sets bits that do not choose an event: 0x430000'],
    ['cycles:x',                   'event-syntax',  7,  "unknown modifier 'x'; known are u k h G H p P D e"],
    ['cycles:pppp',                'event-syntax',  7,  'at most three p'],
    ['{cycles,branches',           'event-syntax',  16, "expected } at the end of the group, found the end in '{cycles,branches'"],
    ['cpu/event=1',                'event-syntax',  11, "expected / after the terms, found the end in 'cpu/event=1'"],
    ['',                           'event-syntax',  0,  "expected a name, found the end in ''"],
    ['cycles,,branches',           'event-syntax',  7,  "expected a name, found ',' in 'cycles,,branches'"],
    ['cycles branches',            'event-syntax',  6,  "expected a comma or the end, found ' ' in 'cycles branches'"],
  ])('%s', (text, code, position, message) => {
    const thrown = (() => {
      try {
        return parse(text);
      } catch (error) {
        return error;
      }
    })();
    expect(thrown).toBeInstanceOf(EventSyntaxError);
    expect(thrown).toMatchObject({ code, position, message });
  });
});
