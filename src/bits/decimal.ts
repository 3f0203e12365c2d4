/** `1234567` as `1,234,567`, whatever the locale of the machine. */
export const grouped = (value: bigint | number): string =>
  value.toString().replace(/\B(?=(\d{3})+(?!\d))/g, ',');
