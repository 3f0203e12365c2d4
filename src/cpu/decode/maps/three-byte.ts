import type { OpcodeMap } from '../grammar.ts';

/** An MMX and SSE instruction of SSSE3. */
const ssse3 = <const M extends string>(m: M) =>
  ({ np: `${m} Pq,Qq ^SSSE3`, p66: `${m} Vx,Wx ^SSSE3` }) as const;

/** An instruction of SSE4.1 on two XMM operands. */
const sse41 = <const M extends string>(m: M) => ({ p66: `${m} Vx,Wx ^SSE4.1` }) as const;

/** Sign or zero extension of so much of the source. */
const extend = <const M extends string, const W extends 'Wq' | 'Wd' | 'Ww'>(m: M, source: W) =>
  ({ p66: `${m} Vx,${source} ^SSE4.1` }) as const;

const aes = <const M extends string>(m: M) => ({ p66: `${m} Vx,Wx ^AES` }) as const;

/** Vol. 2, "Three-byte Opcode Map": after 0FH 38H. */
// biome-ignore format: a table
export const THREE_BYTE_38 = {
  0: [ssse3('PSHUFB'), ssse3('PHADDW'), ssse3('PHADDD'), ssse3('PHADDSW'), ssse3('PMADDUBSW'), ssse3('PHSUBW'), ssse3('PHSUBD'), ssse3('PHSUBSW')],
  8: [ssse3('PSIGNB'), ssse3('PSIGNW'), ssse3('PSIGND'), ssse3('PMULHRSW'), '', '', '', ''],
  16: [{ p66: 'PBLENDVB Vx,Wx,XMM0 ^SSE4.1' }, '', '', '', { p66: 'BLENDVPS Vx,Wx,XMM0 ^SSE4.1' }, { p66: 'BLENDVPD Vx,Wx,XMM0 ^SSE4.1' }, '', sse41('PTEST')],
  24: ['', '', '', '', ssse3('PABSB'), ssse3('PABSW'), ssse3('PABSD'), ''],
  32: [extend('PMOVSXBW', 'Wq'), extend('PMOVSXBD', 'Wd'), extend('PMOVSXBQ', 'Ww'), extend('PMOVSXWD', 'Wq'), extend('PMOVSXWQ', 'Wd'), extend('PMOVSXDQ', 'Wq'), '', ''],
  40: [sse41('PMULDQ'), sse41('PCMPEQQ'), { p66: 'MOVNTDQA Vx,Mx ^SSE4.1' }, sse41('PACKUSDW'), '', '', '', ''],
  48: [extend('PMOVZXBW', 'Wq'), extend('PMOVZXBD', 'Wd'), extend('PMOVZXBQ', 'Ww'), extend('PMOVZXWD', 'Wq'), extend('PMOVZXWQ', 'Wd'), extend('PMOVZXDQ', 'Wq'), '', { p66: 'PCMPGTQ Vx,Wx ^SSE4.2' }],
  56: [sse41('PMINSB'), sse41('PMINSD'), sse41('PMINUW'), sse41('PMINUD'), sse41('PMAXSB'), sse41('PMAXSD'), sse41('PMAXUW'), sse41('PMAXUD')],
  64: [sse41('PMULLD'), sse41('PHMINPOSUW'), '', '', '', '', '', ''],
  128: [{ p66: 'INVEPT Gr,Mx ^VMX' }, { p66: 'INVVPID Gr,Mx ^VMX' }, { p66: 'INVPCID Gr,Mx ^INVPCID' }, '', '', '', '', ''],
  200: [{ np: 'SHA1NEXTE Vx,Wx ^SHA' }, { np: 'SHA1MSG1 Vx,Wx ^SHA' }, { np: 'SHA1MSG2 Vx,Wx ^SHA' }, { np: 'SHA256RNDS2 Vx,Wx,XMM0 ^SHA' }, { np: 'SHA256MSG1 Vx,Wx ^SHA' }, { np: 'SHA256MSG2 Vx,Wx ^SHA' }, '', ''],
  216: ['', '', '', aes('AESIMC'), aes('AESENC'), aes('AESENCLAST'), aes('AESDEC'), aes('AESDECLAST')],
  240: [
    { np: 'MOVBE Gv,Mv ^MOVBE', p66: 'MOVBE Gv,Mv ^MOVBE', f2: 'CRC32 Gy,Eb ^SSE4.2' },
    { np: 'MOVBE Mv,Gv ^MOVBE', p66: 'MOVBE Mv,Gv ^MOVBE', f2: 'CRC32 Gy,Ev ^SSE4.2' },
    '', '', '', '',
    { p66: 'ADCX Gy,Ey ^ADX', f3: 'ADOX Gy,Ey ^ADX' },
    '',
  ],
} as const satisfies OpcodeMap;

/** After 0FH 3AH: all of these end in an immediate byte. */
// biome-ignore format: a table
export const THREE_BYTE_3A = {
  8: [
    { p66: 'ROUNDPS Vx,Wx,Ib ^SSE4.1' }, { p66: 'ROUNDPD Vx,Wx,Ib ^SSE4.1' }, { p66: 'ROUNDSS Vd,Wd,Ib ^SSE4.1' }, { p66: 'ROUNDSD Vq,Wq,Ib ^SSE4.1' },
    { p66: 'BLENDPS Vx,Wx,Ib ^SSE4.1' }, { p66: 'BLENDPD Vx,Wx,Ib ^SSE4.1' }, { p66: 'PBLENDW Vx,Wx,Ib ^SSE4.1' },
    { np: 'PALIGNR Pq,Qq,Ib ^SSSE3', p66: 'PALIGNR Vx,Wx,Ib ^SSSE3' },
  ],
  16: [
    '', '', '', '', { p66: 'PEXTRB Rd/Mb,Vx,Ib ^SSE4.1' }, { p66: 'PEXTRW Rd/Mw,Vx,Ib ^SSE4.1' },
    { p66: { w0: 'PEXTRD Ed,Vx,Ib ^SSE4.1', w1: 'PEXTRQ Eq,Vx,Ib ^SSE4.1' } },
    { p66: 'EXTRACTPS Ed,Vx,Ib ^SSE4.1' },
  ],
  32: [
    { p66: 'PINSRB Vx,Rd/Mb,Ib ^SSE4.1' },
    { p66: 'INSERTPS Vx,Ux/Md,Ib ^SSE4.1' },
    { p66: { w0: 'PINSRD Vx,Ed,Ib ^SSE4.1', w1: 'PINSRQ Vx,Eq,Ib ^SSE4.1' } },
    '', '', '', '', '',
  ],
  64: [{ p66: 'DPPS Vx,Wx,Ib ^SSE4.1' }, { p66: 'DPPD Vx,Wx,Ib ^SSE4.1' }, { p66: 'MPSADBW Vx,Wx,Ib ^SSE4.1' }, '', { p66: 'PCLMULQDQ Vx,Wx,Ib ^PCLMULQDQ' }, '', '', ''],
  96: [
    { p66: { w0: 'PCMPESTRM Vx,Wx,Ib ^SSE4.2', w1: 'PCMPESTRM64 Vx,Wx,Ib ^SSE4.2' } },
    { p66: { w0: 'PCMPESTRI Vx,Wx,Ib ^SSE4.2', w1: 'PCMPESTRI64 Vx,Wx,Ib ^SSE4.2' } },
    { p66: 'PCMPISTRM Vx,Wx,Ib ^SSE4.2' }, { p66: 'PCMPISTRI Vx,Wx,Ib ^SSE4.2' },
    '', '', '', '',
  ],
  200: ['', '', '', '', { np: 'SHA1RNDS4 Vx,Wx,Ib ^SHA' }, '', '', ''],
  216: ['', '', '', '', '', '', '', { p66: 'AESKEYGENASSIST Vx,Wx,Ib ^AES' }],
} as const satisfies OpcodeMap;
