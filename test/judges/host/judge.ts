import type { Insn } from '../../../src/cpu/insn.ts';
import type { Case, Outcome } from './case.ts';
import { difference } from './compare.ts';
import { forgiven, pushesSegment } from './differences.ts';
import { type Generated, Generator } from './generate.ts';
import type { Host } from './host.ts';
import { Model } from './model.ts';
import { popsInPart, undefinedFlags, undefinedResult, upperHalvesUndefined } from './undefined.ts';

const BATCH = 4096;

/** Compares our instructions with those of the processor we run on. */
export class Judge {
  readonly #host: Host;
  readonly #model = new Model();
  readonly #generator: Generator;

  constructor(host: Host, codeSize: 2 | 4 | 8, wanted: (insn: Insn) => boolean) {
    this.#host = host;
    this.#generator = new Generator({
      codeSize,
      wanted,
      last: (insn) =>
        undefinedFlags(insn, undefined) !== 0n || upperHalvesUndefined(insn) || pushesSegment(insn),
      features: host.features,
    });
  }

  get forms(): number {
    return this.#generator.forms;
  }

  /** The first case of `count` that differs, shrunk, in words. */
  find(seed: string, count: number): string | undefined {
    for (let from = 0; from < count; from += BATCH) {
      const length = Math.min(BATCH, count - from);
      const batch = Array.from({ length }, (_, i) =>
        this.#generator.generate(`${seed}-${from + i}`),
      );
      const outcomes = this.#host.run(batch.map(({ it }) => it));
      for (const [i, generated] of batch.entries()) {
        if (this.#differs(generated, outcomes[i]!) === undefined) continue;
        const smallest = this.#shrink(generated);
        const [outcome] = this.#host.run([smallest.it]);
        return describe(`${seed}-${from + i}`, smallest, this.#differs(smallest, outcome!));
      }
    }
    return undefined;
  }

  #differs({ it, insns }: Generated, theirs: Outcome): string | undefined {
    const last = insns.at(-1)!;
    const cl = insns.length === 1 ? it.gpr[1]! : undefined;
    if (undefinedResult(last, cl) || popsInPart(insns, theirs.vector)) return undefined;
    const mask = undefinedFlags(last, cl);
    const lowHalves = insns.some(upperHalvesUndefined);
    const ours = this.#model.run(it, insns);
    const found = difference(it, theirs, ours, mask, lowHalves);
    if (found === undefined) return undefined;
    const left = forgiven({ it, insns, theirs, ours }, this.#host.vendor);
    return difference(it, theirs, left, mask, lowHalves);
  }

  /** Fewer instructions, then plainer registers, as long as there is a difference. */
  #shrink(generated: Generated): Generated {
    let smallest = generated;
    const attempt = (it: Partial<Case>, insns = smallest.insns) => {
      const smaller = { it: { ...smallest.it, ...it }, insns };
      const [outcome] = this.#host.run([smaller.it]);
      if (this.#differs(smaller, outcome!) !== undefined) smallest = smaller;
    };
    for (let length = generated.insns.length - 1; length > 0; length--) {
      const insns = smallest.insns.slice(0, length);
      const bytes = insns.reduce((sum, insn) => sum + insn.length, 0);
      const steps = Math.min(smallest.it.steps, insns[0]!.rep ? smallest.it.steps : length);
      attempt({ code: smallest.it.code.slice(0, bytes), steps }, insns);
    }
    for (let i = 0; i < 16; i++) attempt({ gpr: smallest.it.gpr.with(i, 0n) });
    attempt({ rflags: 0x202n });
    return smallest;
  }
}

const hex = (value: bigint) => value.toString(16);

function describe(seed: string, { it, insns }: Generated, what: string | undefined): string {
  const code = Buffer.from(it.code).toString('hex');
  const registers = it.gpr.map((value, i) => (value === 0n ? '' : `${i}=${hex(value)}`));
  return [
    `seed ${seed}: ${what}`,
    `${it.codeSize * 8}-bit code ${code} (${insns.map(({ op, size }) => `${op} of ${size}`).join(', ')}), ${it.steps} steps`,
    `registers ${registers.filter((text) => text !== '').join(' ')}, flags ${hex(it.rflags)}`,
    `memory at +${it.patchAt.toString(16)} ${Buffer.from(it.patch).toString('hex')}`,
  ].join('\n');
}
