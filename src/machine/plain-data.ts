/**
 * Plain data as JSON: what `save` answers everywhere, with bigints, bytes, numbers that JSON lacks, and `undefined`
 * among list items. Bytes are kept apart; the text only says where they are.
 */
const KEY = '$';

type Tagged =
  | { readonly [KEY]: 'bigint'; readonly hex: string }
  | { readonly [KEY]: 'number'; readonly text: string }
  | { readonly [KEY]: 'undefined' }
  | { readonly [KEY]: 'bytes'; readonly at: number; readonly length: number };

export interface Encoded {
  readonly text: string;
  readonly bytes: readonly Uint8Array[];
}

const isTagged = (value: object): value is Tagged => Object.hasOwn(value, KEY);

/** @throws TypeError on what is no plain data: a defect of whoever saved it */
export function encode(data: unknown): Encoded {
  const bytes: Uint8Array[] = [];
  let length = 0;
  const plain = (value: unknown): unknown => {
    if (typeof value === 'bigint') return { [KEY]: 'bigint', hex: signedHex(value) };
    if (typeof value === 'number' && (!Number.isFinite(value) || Object.is(value, -0))) {
      return { [KEY]: 'number', text: Object.is(value, -0) ? '-0' : String(value) };
    }
    if (value instanceof Uint8Array) {
      const at = length;
      bytes.push(value);
      length += value.length;
      return { [KEY]: 'bytes', at, length: value.length };
    }
    if (Array.isArray(value)) {
      return value.map((item) => (item === undefined ? { [KEY]: 'undefined' } : plain(item)));
    }
    if (value === null || typeof value !== 'object') {
      if (typeof value === 'function' || typeof value === 'symbol') {
        throw new TypeError(`a ${typeof value} is no plain data`);
      }
      return value;
    }
    const maker = value.constructor;
    if (maker !== Object && maker !== undefined) {
      throw new TypeError(`a ${maker.name} is no plain data`);
    }
    if (isTagged(value)) throw new TypeError(`the key ${KEY} is taken`);
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, plain(part)]));
  };
  return { text: JSON.stringify(plain(data)), bytes };
}

/** @param bytes everything that `encode` kept apart, in one piece. @throws SyntaxError, RangeError */
export function decode(text: string, bytes: Uint8Array): unknown {
  const live = (value: unknown): unknown => {
    if (value === null || typeof value !== 'object') return value;
    if (Array.isArray(value)) return value.map(live);
    if (isTagged(value)) return untagged(value, bytes);
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, live(part)]));
  };
  return live(JSON.parse(text));
}

function untagged(value: Tagged, bytes: Uint8Array): unknown {
  switch (value[KEY]) {
    case 'bigint': {
      const { hex } = value;
      return hex.startsWith('-') ? -BigInt(`0x${hex.slice(1)}`) : BigInt(`0x${hex}`);
    }
    case 'number':
      return Number(value.text);
    case 'undefined':
      return undefined;
    case 'bytes': {
      const { at, length } = value;
      if (!(at >= 0 && length >= 0 && at + length <= bytes.length)) {
        throw new RangeError(`bytes ${at} to ${at + length} are not there`);
      }
      return bytes.slice(at, at + length);
    }
  }
}

const signedHex = (value: bigint): string =>
  value < 0n ? `-${(-value).toString(16)}` : value.toString(16);
