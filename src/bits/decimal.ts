/** `1234567` as `1,234,567`, whatever the locale of the machine. */
export const grouped = (value: bigint | number): string =>
  value.toString().replace(/\B(?=(\d{3})+(?!\d))/g, ',');

/** `1 case`, `2,000 cases`. */
export const several = (count: number, what: string): string =>
  `${grouped(count)} ${what}${count === 1 ? '' : 's'}`;
