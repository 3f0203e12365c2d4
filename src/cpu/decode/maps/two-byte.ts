import { all8, type OpcodeMap } from '../grammar.ts';

/** An MMX instruction that SSE2 widened. */
const packed = <const M extends string>(m: M) =>
  ({ np: `${m} Pq,Qq ^MMX`, p66: `${m} Vx,Wx ^SSE2` }) as const;

/** The same where the MMX form came with SSE. */
const packedSse = <const M extends string>(m: M) =>
  ({ np: `${m} Pq,Qq ^SSE`, p66: `${m} Vx,Wx ^SSE2` }) as const;

/** Interleaving low halves: MMX reads 32 bits of memory. */
const unpackLow = <const M extends string>(m: M) =>
  ({ np: `${m} Pq,Qd ^MMX`, p66: `${m} Vx,Wx ^SSE2` }) as const;

/** Shifts by an immediate: groups 12, 13 and 14. */
const shiftBy = <const M extends string>(m: M) =>
  ({ np: `${m} Nq,Ib ^MMX`, p66: `${m} Ux,Ib ^SSE2` }) as const;

/** Packed single, packed double. */
const floats = <const M extends string>(m: M) =>
  ({ np: `${m}PS Vx,Wx ^SSE`, p66: `${m}PD Vx,Wx ^SSE2` }) as const;

/** Packed and scalar, single and double. */
const float4 = <const M extends string>(m: M) =>
  ({
    np: `${m}PS Vx,Wx ^SSE`,
    p66: `${m}PD Vx,Wx ^SSE2`,
    f3: `${m}SS Vd,Wd ^SSE`,
    f2: `${m}SD Vq,Wq ^SSE2`,
  }) as const;

const NOP = 'NOP Ev';

/** Group 7's register forms stand apart: most are instructions without operands. */
// biome-ignore format: a table
const GROUP_7 = { group: [
  { mem: 'SGDT Ms', register: { np: { rm: ['', 'VMCALL ^VMX', 'VMLAUNCH ^VMX', 'VMRESUME ^VMX', 'VMXOFF ^VMX'] } } },
  { mem: 'SIDT Ms', register: { np: { rm: ['MONITOR [rAX] ^MONITOR', 'MWAIT ^MONITOR', 'CLAC ^SMAP', 'STAC ^SMAP'] } } },
  { mem: 'LGDT Ms', register: { np: { rm: ['XGETBV ^XSAVE', 'XSETBV ^XSAVE', '', '', 'VMFUNC ^VMX'] } } },
  { mem: 'LIDT Ms', register: '' },
  'SMSW Rv/Mw',
  { mem: '', register: { np: { rm: ['SERIALIZE ^SERIALIZE', '', '', '', '', '', 'RDPKRU ^PKU', 'WRPKRU ^PKU'] } } },
  'LMSW Ew',
  { mem: 'INVLPG Mb', register: { rm: ['SWAPGS ^o64', 'RDTSCP ^RDTSCP'] } },
] } as const;

/** Group 9. */
// biome-ignore format: a table
const GROUP_9 = {
  mem: { group: [
    '',
    { w0: 'CMPXCHG8B Mq ^lock', w1: 'CMPXCHG16B Mx ^lock ^CX16' },
    '',
    { np: { w0: 'XRSTORS M576 ^XSAVES', w1: 'XRSTORS64 M576 ^XSAVES' } },
    { np: { w0: 'XSAVEC M576 ^XSAVEC',  w1: 'XSAVEC64 M576 ^XSAVEC' } },
    { np: { w0: 'XSAVES M576 ^XSAVES',  w1: 'XSAVES64 M576 ^XSAVES' } },
    { np: 'VMPTRLD Mq ^VMX', p66: 'VMCLEAR Mq ^VMX', f3: 'VMXON Mq ^VMX' },
    { np: 'VMPTRST Mq ^VMX' },
  ] },
  register: { group: [
    '', '', '', '', '', '',
    { np: 'RDRAND Rv ^RDRAND', p66: 'RDRAND Rv ^RDRAND' },
    { np: 'RDSEED Rv ^RDSEED', p66: 'RDSEED Rv ^RDSEED', f3: 'RDPID Rr ^RDPID' },
  ] },
} as const;

/** Group 15. */
// biome-ignore format: a table
const GROUP_15 = {
  mem: { group: [
    { np: { w0: 'FXSAVE M512 ^FXSR',  w1: 'FXSAVE64 M512 ^FXSR' } },
    { np: { w0: 'FXRSTOR M512 ^FXSR', w1: 'FXRSTOR64 M512 ^FXSR' } },
    { np: 'LDMXCSR Md ^SSE' },
    { np: 'STMXCSR Md ^SSE' },
    { np: { w0: 'XSAVE M576 ^XSAVE',  w1: 'XSAVE64 M576 ^XSAVE' } },
    { np: { w0: 'XRSTOR M576 ^XSAVE', w1: 'XRSTOR64 M576 ^XSAVE' } },
    { np: { w0: 'XSAVEOPT M576 ^XSAVEOPT', w1: 'XSAVEOPT64 M576 ^XSAVEOPT' }, p66: 'CLWB Mb ^CLWB' },
    { np: 'CLFLUSH Mb ^CLFLUSH', p66: 'CLFLUSHOPT Mb ^CLFLUSHOPT' },
  ] },
  register: { group: [
    { f3: 'RDFSBASE Ry ^o64 ^FSGSBASE' },
    { f3: 'RDGSBASE Ry ^o64 ^FSGSBASE' },
    { f3: 'WRFSBASE Ry ^o64 ^FSGSBASE' },
    { f3: 'WRGSBASE Ry ^o64 ^FSGSBASE' },
    '',
    { np: 'LFENCE ^SSE2' },
    { np: 'MFENCE ^SSE2' },
    { np: 'SFENCE ^SSE' },
  ] },
} as const;

/** Vol. 2, "Two-byte Opcode Map": after 0FH. */
// biome-ignore format: a table
export const TWO_BYTE = {
  0: [
    { group: ['SLDT Rv/Mw', 'STR Rv/Mw', 'LLDT Ew', 'LTR Ew', 'VERR Ew', 'VERW Ew'] },
    GROUP_7,
    'LAR Gv,Ew', 'LSL Gv,Ew', '', 'SYSCALL ^o64', 'CLTS', 'SYSRET ^o64 ^y',
  ],
  8: ['INVD', { f3: 'WBNOINVD ^WBNOINVD', otherwise: 'WBINVD' }, '', 'UD2', '', { mem: { group: [NOP, 'PREFETCHW Mb', NOP, NOP, NOP, NOP, NOP, NOP] }, register: NOP }, '', ''],
  16: [
    { np: 'MOVUPS Vx,Wx ^SSE', p66: 'MOVUPD Vx,Wx ^SSE2', f3: 'MOVSS Vd,Wd ^SSE', f2: 'MOVSD Vq,Wq ^SSE2' },
    { np: 'MOVUPS Wx,Vx ^SSE', p66: 'MOVUPD Wx,Vx ^SSE2', f3: 'MOVSS Wd,Vd ^SSE', f2: 'MOVSD Wq,Vq ^SSE2' },
    { np: { mem: 'MOVLPS Vq,Mq ^SSE', register: 'MOVHLPS Vq,Uq ^SSE' }, p66: 'MOVLPD Vq,Mq ^SSE2', f3: 'MOVSLDUP Vx,Wx ^SSE3', f2: 'MOVDDUP Vx,Wq ^SSE3' },
    { np: 'MOVLPS Mq,Vq ^SSE', p66: 'MOVLPD Mq,Vq ^SSE2' },
    floats('UNPCKL'),
    floats('UNPCKH'),
    { np: { mem: 'MOVHPS Vq,Mq ^SSE', register: 'MOVLHPS Vq,Uq ^SSE' }, p66: 'MOVHPD Vq,Mq ^SSE2', f3: 'MOVSHDUP Vx,Wx ^SSE3' },
    { np: 'MOVHPS Mq,Vq ^SSE', p66: 'MOVHPD Mq,Vq ^SSE2' },
  ],
  24: [
    { mem: { group: ['PREFETCHNTA Mb', 'PREFETCHT0 Mb', 'PREFETCHT1 Mb', 'PREFETCHT2 Mb', NOP, NOP, NOP, NOP] }, register: NOP },
    NOP, NOP, NOP, NOP, NOP,
    { f3: { mem: NOP, register: { group: [NOP, NOP, NOP, NOP, NOP, NOP, NOP, { rm: [NOP, NOP, 'ENDBR64', 'ENDBR32', NOP, NOP, NOP, NOP] }] } }, otherwise: NOP },
    NOP,
  ],
  32: ['MOVCR Rr,Cr', 'MOVDR Rr,Dr', 'MOVCR Cr,Rr', 'MOVDR Dr,Rr', '', '', '', ''],
  40: [
    floats('MOVA'),
    { np: 'MOVAPS Wx,Vx ^SSE', p66: 'MOVAPD Wx,Vx ^SSE2' },
    { np: 'CVTPI2PS Vq,Qq ^SSE', p66: 'CVTPI2PD Vx,Qq ^SSE2', f3: 'CVTSI2SS Vd,Ey ^SSE', f2: 'CVTSI2SD Vq,Ey ^SSE2' },
    { np: 'MOVNTPS Mx,Vx ^SSE', p66: 'MOVNTPD Mx,Vx ^SSE2' },
    { np: 'CVTTPS2PI Pq,Wq ^SSE', p66: 'CVTTPD2PI Pq,Wx ^SSE2', f3: 'CVTTSS2SI Gy,Wd ^SSE', f2: 'CVTTSD2SI Gy,Wq ^SSE2' },
    { np: 'CVTPS2PI Pq,Wq ^SSE', p66: 'CVTPD2PI Pq,Wx ^SSE2', f3: 'CVTSS2SI Gy,Wd ^SSE', f2: 'CVTSD2SI Gy,Wq ^SSE2' },
    { np: 'UCOMISS Vd,Wd ^SSE', p66: 'UCOMISD Vq,Wq ^SSE2' },
    { np: 'COMISS Vd,Wd ^SSE', p66: 'COMISD Vq,Wq ^SSE2' },
  ],
  48: ['WRMSR', 'RDTSC', 'RDMSR', 'RDPMC', 'SYSENTER', 'SYSEXIT ^y', '', ''],
  64: all8('CMOVCC Gv,Ev'),
  72: all8('CMOVCC Gv,Ev'),
  80: [
    { np: 'MOVMSKPS Gd,Ux ^SSE', p66: 'MOVMSKPD Gd,Ux ^SSE2' },
    float4('SQRT'),
    { np: 'RSQRTPS Vx,Wx ^SSE', f3: 'RSQRTSS Vd,Wd ^SSE' },
    { np: 'RCPPS Vx,Wx ^SSE', f3: 'RCPSS Vd,Wd ^SSE' },
    floats('AND'), floats('ANDN'), floats('OR'), floats('XOR'),
  ],
  88: [
    float4('ADD'),
    float4('MUL'),
    { np: 'CVTPS2PD Vx,Wq ^SSE2', p66: 'CVTPD2PS Vx,Wx ^SSE2', f3: 'CVTSS2SD Vq,Wd ^SSE2', f2: 'CVTSD2SS Vd,Wq ^SSE2' },
    { np: 'CVTDQ2PS Vx,Wx ^SSE2', p66: 'CVTPS2DQ Vx,Wx ^SSE2', f3: 'CVTTPS2DQ Vx,Wx ^SSE2' },
    float4('SUB'), float4('MIN'), float4('DIV'), float4('MAX'),
  ],
  96: [unpackLow('PUNPCKLBW'), unpackLow('PUNPCKLWD'), unpackLow('PUNPCKLDQ'), packed('PACKSSWB'), packed('PCMPGTB'), packed('PCMPGTW'), packed('PCMPGTD'), packed('PACKUSWB')],
  104: [
    packed('PUNPCKHBW'), packed('PUNPCKHWD'), packed('PUNPCKHDQ'), packed('PACKSSDW'),
    { p66: 'PUNPCKLQDQ Vx,Wx ^SSE2' },
    { p66: 'PUNPCKHQDQ Vx,Wx ^SSE2' },
    { np: { w0: 'MOVD Pq,Ed ^MMX', w1: 'MOVQ Pq,Eq ^MMX' }, p66: { w0: 'MOVD Vx,Ed ^SSE2', w1: 'MOVQ Vx,Eq ^SSE2' } },
    { np: 'MOVQ Pq,Qq ^MMX', p66: 'MOVDQA Vx,Wx ^SSE2', f3: 'MOVDQU Vx,Wx ^SSE2' },
  ],
  112: [
    { np: 'PSHUFW Pq,Qq,Ib ^SSE', p66: 'PSHUFD Vx,Wx,Ib ^SSE2', f3: 'PSHUFHW Vx,Wx,Ib ^SSE2', f2: 'PSHUFLW Vx,Wx,Ib ^SSE2' },
    { group: ['', '', shiftBy('PSRLW'), '', shiftBy('PSRAW'), '', shiftBy('PSLLW')] },
    { group: ['', '', shiftBy('PSRLD'), '', shiftBy('PSRAD'), '', shiftBy('PSLLD')] },
    { group: ['', '', shiftBy('PSRLQ'), { p66: 'PSRLDQ Ux,Ib ^SSE2' }, '', '', shiftBy('PSLLQ'), { p66: 'PSLLDQ Ux,Ib ^SSE2' }] },
    packed('PCMPEQB'), packed('PCMPEQW'), packed('PCMPEQD'),
    { np: 'EMMS ^MMX' },
  ],
  120: [
    { np: 'VMREAD Er,Gr ^VMX' }, { np: 'VMWRITE Gr,Er ^VMX' }, '', '',
    { p66: 'HADDPD Vx,Wx ^SSE3', f2: 'HADDPS Vx,Wx ^SSE3' },
    { p66: 'HSUBPD Vx,Wx ^SSE3', f2: 'HSUBPS Vx,Wx ^SSE3' },
    { np: { w0: 'MOVD Ed,Pq ^MMX', w1: 'MOVQ Eq,Pq ^MMX' }, p66: { w0: 'MOVD Ed,Vx ^SSE2', w1: 'MOVQ Eq,Vx ^SSE2' }, f3: 'MOVQ Vq,Wq ^SSE2' },
    { np: 'MOVQ Qq,Pq ^MMX', p66: 'MOVDQA Wx,Vx ^SSE2', f3: 'MOVDQU Wx,Vx ^SSE2' },
  ],
  128: all8('JCC Jz ^f64'),
  136: all8('JCC Jz ^f64'),
  144: all8('SETCC Eb'),
  152: all8('SETCC Eb'),
  160: ['PUSHSEG FS ^d64', 'POPSEG FS ^d64', 'CPUID', 'BT Ev,Gv', 'SHLD Ev,Gv,Ib', 'SHLD Ev,Gv,CL', '', ''],
  168: ['PUSHSEG GS ^d64', 'POPSEG GS ^d64', '', 'BTS Ev,Gv ^lock', 'SHRD Ev,Gv,Ib', 'SHRD Ev,Gv,CL', GROUP_15, 'IMUL Gv,Ev'],
  176: ['CMPXCHG Eb,Gb ^lock', 'CMPXCHG Ev,Gv ^lock', 'LSS Gv,Mp', 'BTR Ev,Gv ^lock', 'LFS Gv,Mp', 'LGS Gv,Mp', 'MOVZX Gv,Eb', 'MOVZX Gv,Ew'],
  184: [
    { f3: 'POPCNT Gv,Ev ^POPCNT' },
    'UD1 Gv,Ev',
    { group: ['', '', '', '', 'BT Ev,Ib', 'BTS Ev,Ib ^lock', 'BTR Ev,Ib ^lock', 'BTC Ev,Ib ^lock'] },
    'BTC Ev,Gv ^lock',
    { f3: 'TZCNT Gv,Ev ^BMI1', otherwise: 'BSF Gv,Ev' },
    { f3: 'LZCNT Gv,Ev ^LZCNT', otherwise: 'BSR Gv,Ev' },
    'MOVSX Gv,Eb', 'MOVSX Gv,Ew',
  ],
  192: [
    'XADD Eb,Gb ^lock', 'XADD Ev,Gv ^lock',
    { np: 'CMPPS Vx,Wx,Ib ^SSE', p66: 'CMPPD Vx,Wx,Ib ^SSE2', f3: 'CMPSS Vd,Wd,Ib ^SSE', f2: 'CMPSD Vq,Wq,Ib ^SSE2' },
    { np: 'MOVNTI My,Gy ^SSE2' },
    { np: 'PINSRW Pq,Rd/Mw,Ib ^SSE', p66: 'PINSRW Vx,Rd/Mw,Ib ^SSE2' },
    { np: 'PEXTRW Gd,Nq,Ib ^SSE', p66: 'PEXTRW Gd,Ux,Ib ^SSE2' },
    { np: 'SHUFPS Vx,Wx,Ib ^SSE', p66: 'SHUFPD Vx,Wx,Ib ^SSE2' },
    GROUP_9,
  ],
  200: all8('BSWAP Zv'),
  208: [
    { p66: 'ADDSUBPD Vx,Wx ^SSE3', f2: 'ADDSUBPS Vx,Wx ^SSE3' },
    packed('PSRLW'), packed('PSRLD'), packed('PSRLQ'),
    { np: 'PADDQ Pq,Qq ^SSE2', p66: 'PADDQ Vx,Wx ^SSE2' },
    packed('PMULLW'),
    { p66: 'MOVQ Wq,Vq ^SSE2', f3: 'MOVQ2DQ Vx,Nq ^SSE2', f2: 'MOVDQ2Q Pq,Uq ^SSE2' },
    { np: 'PMOVMSKB Gd,Nq ^SSE', p66: 'PMOVMSKB Gd,Ux ^SSE2' },
  ],
  216: [packed('PSUBUSB'), packed('PSUBUSW'), packedSse('PMINUB'), packed('PAND'), packed('PADDUSB'), packed('PADDUSW'), packedSse('PMAXUB'), packed('PANDN')],
  224: [
    packedSse('PAVGB'), packed('PSRAW'), packed('PSRAD'), packedSse('PAVGW'), packedSse('PMULHUW'), packed('PMULHW'),
    { p66: 'CVTTPD2DQ Vx,Wx ^SSE2', f3: 'CVTDQ2PD Vx,Wq ^SSE2', f2: 'CVTPD2DQ Vx,Wx ^SSE2' },
    { np: 'MOVNTQ Mq,Pq ^SSE', p66: 'MOVNTDQ Mx,Vx ^SSE2' },
  ],
  232: [packed('PSUBSB'), packed('PSUBSW'), packedSse('PMINSW'), packed('POR'), packed('PADDSB'), packed('PADDSW'), packedSse('PMAXSW'), packed('PXOR')],
  240: [
    { f2: 'LDDQU Vx,Mx ^SSE3' },
    packed('PSLLW'), packed('PSLLD'), packed('PSLLQ'),
    { np: 'PMULUDQ Pq,Qq ^SSE2', p66: 'PMULUDQ Vx,Wx ^SSE2' },
    packed('PMADDWD'), packedSse('PSADBW'),
    { np: 'MASKMOVQ Pq,Nq,[rDI] ^SSE', p66: 'MASKMOVDQU Vx,Ux,[rDI] ^SSE2' },
  ],
  248: [
    packed('PSUBB'), packed('PSUBW'), packed('PSUBD'),
    { np: 'PSUBQ Pq,Qq ^SSE2', p66: 'PSUBQ Vx,Wx ^SSE2' },
    packed('PADDB'), packed('PADDW'), packed('PADDD'), 'UD0 Gv,Ev',
  ],
} as const satisfies OpcodeMap;
