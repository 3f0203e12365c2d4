/** A guest of `bench/guests`. */
export interface BenchGuest {
  readonly name: string;
  readonly title: string;
  /** Whether it counts in the geometric mean: plain computing, no paging or system instructions to speak of. */
  readonly computing: boolean;
  /** Ticks it takes: what every engine must count. */
  readonly instructions: number;
}

// biome-ignore format: a table
export const GUESTS: readonly BenchGuest[] = [
  { name: 'alu',      title: 'ALU loop',        computing: true,  instructions: 96_000_007 },
  { name: 'sieve',    title: 'sieve',           computing: true,  instructions: 67_669_484 },
  { name: 'crc32',    title: 'CRC32',           computing: true,  instructions: 67_651_849 },
  { name: 'calls',    title: 'recursive calls', computing: true,  instructions: 37_031_243 },
  { name: 'heapsort', title: 'heap sort',       computing: true,  instructions: 67_423_386 },
  { name: 'chase',    title: 'pointer chase',   computing: true,  instructions: 60_917_511 },
  { name: 'branchy',  title: 'branchy',         computing: true,  instructions: 77_503_102 },
  { name: 'strings',  title: 'string moves',    computing: false, instructions: 2_804 },
  { name: 'pages',    title: 'page touch',      computing: false, instructions: 16_388_004 },
  { name: 'rdmsr',    title: 'RDMSR loop',      computing: false, instructions: 6_000_005 },
];
