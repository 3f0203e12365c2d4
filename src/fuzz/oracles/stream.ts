import type { FuzzCase } from '../case.ts';
import type { Chamber } from '../chamber.ts';
import { atStep, type Violation } from '../finding.ts';
import { registerName } from '../registers.ts';
import { opposite, secretValue, tellingRegisters } from '../secret.ts';

const text = (value: unknown): string =>
  JSON.stringify(value, (_key, part: unknown) => (typeof part === 'bigint' ? `${part}n` : part));

/** The VM's state as migration would send it, under one secret of the host and under its opposite. */
export function checkStream(chamber: Chamber, fuzzed: FuzzCase): Violation[] {
  const { vm } = chamber.guest;
  const [one, other] = [fuzzed.host.secret, opposite(fuzzed.host.secret)].map((secret) => {
    chamber.reset(fuzzed);
    chamber.prepare({ ...fuzzed, host: { ...fuzzed.host, secret } });
    return text(vm.save());
  }) as [string, string];
  if (one === other) return [];
  const telling = tellingRegisters(chamber.processor).find(([address, mask]) =>
    one.includes(`${secretValue(fuzzed.host.secret, address) & mask}n`),
  );
  return [
    {
      ...atStep(fuzzed, 0, {
        oracle: 'stream',
        expected: 'a saved VM that holds nothing of its host',
        actual: 'a value of the host in the saved state',
        channel: 25,
      }),
      register: telling ? registerName(telling[0]) : 'unknown',
      instruction: 'KVM_GET_MSRS',
    },
  ];
}
