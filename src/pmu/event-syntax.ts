import { extract, insert, isSet } from '../bits/bitfield.ts';
import { CounterpointError } from '../bits/error.ts';
import { hex } from '../bits/hex.ts';
import { PERFEVTSEL } from '../msr/pmu.ts';
import { configNamed, EVENT_CHOICE, eventOf, likeliest } from './event-names.ts';
import type { EventRow } from './events.ts';

/** What follows the colon: where to count, and how. Nothing is added that was not written. */
export interface EventModifiers {
  readonly user: boolean;
  readonly kernel: boolean;
  readonly host: boolean;
  readonly guest: boolean;
  /** 0 is no PEBS. */
  readonly precise: 0 | 1 | 2 | 3;
  readonly pinned: boolean;
  readonly exclusive: boolean;
}

/** One event as asked for. */
export interface EventRequest extends EventModifiers {
  /** As it was typed, or as its `name=` term says. */
  readonly name: string;
  /** The bits of IA32_PERFEVTSELx that choose the event. */
  readonly config: bigint;
  /** Events between samples, where `period=` says. */
  readonly period?: bigint;
  /** What the model knows under this encoding; undefined: it will count 0. */
  readonly row: EventRow | undefined;
}

/** Events that count together or not at all; a single event is a group of one. */
export type EventGroup = readonly EventRequest[];

/** An event list that cannot be read. `code` is `event-syntax`, `unknown-event` or `unknown-term`. */
export class EventSyntaxError extends CounterpointError {
  /** Where in the text, in characters from 0. */
  readonly position: number;

  constructor(code: string, message: string, position: number) {
    super(code, message);
    this.name = 'EventSyntaxError';
    this.position = position;
  }
}

/**
 * Reads events as `perf stat -e` does: `instructions:u`, `r00c0`, `cpu/event=0xc4,umask=0x20/`, Intel's names in any
 * case, groups in braces, lists with commas.
 * @throws EventSyntaxError
 */
export function parseEvents(text: string, events: readonly EventRow[]): readonly EventGroup[] {
  return new EventReader(text, events).list();
}

/** Terms of `cpu/…/` that set a field; in_tx, ldlat and the like are not modelled. */
// biome-ignore format: a table
const TERMS: ReadonlyMap<string, bigint> = new Map([
  ['event', PERFEVTSEL.EVENT],  ['umask', PERFEVTSEL.UMASK],  ['cmask', PERFEVTSEL.CMASK],     ['edge', PERFEVTSEL.EDGE],
  ['inv',   PERFEVTSEL.INV],    ['pc',    PERFEVTSEL.PC],     ['any', PERFEVTSEL.ANY_THREAD],  ['eq',   PERFEVTSEL.EQ],
]);

const EVERYWHERE: EventModifiers = {
  user: true,
  kernel: true,
  host: true,
  guest: true,
  precise: 0,
  pinned: false,
  exclusive: false,
};

class EventReader {
  readonly #text: string;
  readonly #events: readonly EventRow[];
  #at = 0;

  constructor(text: string, events: readonly EventRow[]) {
    this.#text = text;
    this.#events = events;
  }

  list(): EventGroup[] {
    const groups = [this.#group()];
    while (this.#take(',')) groups.push(this.#group());
    if (this.#at < this.#text.length) throw this.#expected('a comma or the end');
    return groups;
  }

  #group(): EventGroup {
    if (!this.#take('{')) return [this.#event()];
    const members = [this.#event()];
    while (this.#take(',')) members.push(this.#event());
    if (!this.#take('}')) throw this.#expected('} at the end of the group');
    const letters = this.#letters();
    return letters === ''
      ? members
      : members.map((member) => ({ ...member, ...this.#modifiers(letters) }));
  }

  #event(): EventRequest {
    const start = this.#at;
    const word = this.#word();
    const { config, name, period } = this.#take('/')
      ? this.#terms(word, start)
      : this.#named(word, start);
    const typed = () => this.#text.slice(start, this.#at);
    const modifiers = this.#modifiers(this.#letters());
    const row = eventOf(config, this.#events);
    return {
      name: name ?? typed(),
      config,
      ...(period === undefined ? {} : { period }),
      row,
      ...modifiers,
    };
  }

  #named(word: string, position: number): { config: bigint; name?: string; period?: bigint } {
    const raw = /^r([0-9a-f]+)$/i.exec(word);
    if (raw) return { config: this.#raw(BigInt(`0x${raw[1]}`), position) };
    const config = configNamed(word, this.#events);
    if (config !== undefined) return { config };
    const like = likeliest(word, this.#events);
    const hint = like ? `; did you mean ${like}?` : '';
    throw new EventSyntaxError('unknown-event', `unknown event '${word}'${hint}`, position);
  }

  /** Between the slashes of `cpu/…/`. */
  #terms(pmu: string, position: number): { config: bigint; name?: string; period?: bigint } {
    if (pmu !== 'cpu') {
      throw new EventSyntaxError('unknown-event', `no PMU '${pmu}': the only one is cpu`, position);
    }
    let config = 0n;
    let name: string | undefined;
    let period: bigint | undefined;
    do {
      const at = this.#at;
      const term = this.#word();
      const field = TERMS.get(term.toLowerCase());
      if (this.#take('=')) {
        const valueAt = this.#at;
        const value = this.#word();
        if (term === 'name') name = value;
        else if (term === 'period') period = this.#number(value, valueAt);
        else if (term === 'config') config |= this.#raw(this.#number(value, valueAt), valueAt);
        else if (field === undefined) throw this.#unknownTerm(term, at);
        else config |= this.#placed(term, field, this.#number(value, valueAt), valueAt);
      } else if (field !== undefined) config |= this.#placed(term, field, 1n, at);
      else config |= this.#named(term, at).config;
    } while (this.#take(','));
    if (!this.#take('/')) throw this.#expected('/ after the terms');
    return {
      config,
      ...(name === undefined ? {} : { name }),
      ...(period === undefined ? {} : { period }),
    };
  }

  #unknownTerm(term: string, position: number): EventSyntaxError {
    const known = [...TERMS.keys(), 'config', 'name', 'period'].join(', ');
    return new EventSyntaxError(
      'unknown-term',
      `unknown term '${term}'; known are ${known}`,
      position,
    );
  }

  #placed(term: string, field: bigint, value: bigint, position: number): bigint {
    const placed = insert(0n, field, value);
    if (extract(placed, field) !== value) {
      throw new EventSyntaxError(
        'event-syntax',
        `${term}=${hex(value)} does not fit its field`,
        position,
      );
    }
    return placed;
  }

  #raw(config: bigint, position: number): bigint {
    if (isSet(config, ~EVENT_CHOICE)) {
      const message = `${hex(config)} sets bits that do not choose an event: ${hex(config & ~EVENT_CHOICE)}`;
      throw new EventSyntaxError('event-syntax', message, position);
    }
    return config;
  }

  #number(text: string, position: number): bigint {
    if (!/^(0x[0-9a-f]+|[0-9]+)$/i.test(text)) {
      throw new EventSyntaxError('event-syntax', `'${text}' is no number`, position);
    }
    return BigInt(text);
  }

  /** What stands after a colon, or nothing. */
  #letters(): string {
    return this.#take(':') ? this.#word() : '';
  }

  #modifiers(letters: string): EventModifiers {
    const unknown = [...letters].find((letter) => !'ukhGHpPDe'.includes(letter));
    if (unknown) {
      const message = `unknown modifier '${unknown}'; known are u k h G H p P D e`;
      throw new EventSyntaxError('event-syntax', message, this.#at - letters.length);
    }
    const has = (letter: string) => letters.includes(letter);
    const somewhere = has('u') || has('k') || has('h');
    const someone = has('G') || has('H');
    const precise = has('P') ? 3 : letters.split('p').length - 1;
    if (precise > 3) {
      throw new EventSyntaxError('event-syntax', 'at most three p', this.#at - letters.length);
    }
    return {
      ...EVERYWHERE,
      user: !somewhere || has('u'),
      kernel: !somewhere || has('k') || has('h'),
      host: !someone || has('H'),
      guest: !someone || has('G'),
      precise: precise as 0 | 1 | 2 | 3,
      pinned: has('D'),
      exclusive: has('e'),
    };
  }

  #word(): string {
    const [word = ''] = /^[\w.-]*/.exec(this.#text.slice(this.#at)) ?? [];
    if (word === '') throw this.#expected('a name');
    this.#at += word.length;
    return word;
  }

  #take(character: string): boolean {
    if (this.#text[this.#at] !== character) return false;
    this.#at += 1;
    return true;
  }

  #expected(what: string): EventSyntaxError {
    const found = this.#text[this.#at];
    const message = `expected ${what}, found ${found === undefined ? 'the end' : `'${found}'`} in '${this.#text}'`;
    return new EventSyntaxError('event-syntax', message, this.#at);
  }
}
