import type { LocalApic } from './local-apic.ts';
import { type ApicMessage, DELIVERY, SHORTHAND } from './message.ts';

/** What carries interrupt messages to the local APICs of a machine. */
export class ApicBus {
  readonly #apics: LocalApic[] = [];

  attach(apic: LocalApic): void {
    this.#apics.push(apic);
  }

  /** Delivers to whom the message names; `sender` is left out where the shorthand says so. Nobody is no error. */
  send(message: ApicMessage, sender?: LocalApic): void {
    const named = this.#apics.filter((apic) => isNamed(apic, message, sender));
    const chosen = message.mode === DELIVERY.LOWEST_PRIORITY ? lowestPriority(named) : named;
    for (const apic of chosen) apic.deliver(message);
  }
}

function isNamed(apic: LocalApic, message: ApicMessage, sender: LocalApic | undefined): boolean {
  if (message.shorthand === SHORTHAND.ALL) return true;
  if (message.shorthand === SHORTHAND.OTHERS) return apic !== sender;
  return apic.isDestination(message);
}

/** The one with the lowest processor priority; of equals, the first. */
function lowestPriority(apics: readonly LocalApic[]): readonly LocalApic[] {
  const [first, ...rest] = apics.filter((apic) => apic.takesInterrupts());
  if (!first) return [];
  return [rest.reduce((a, b) => (b.processorPriority < a.processorPriority ? b : a), first)];
}
