/** `value` as people of this field write it: `0x38f`. */
export const hex = (value: bigint | number, digits = 0): string =>
  `0x${value.toString(16).padStart(digits, '0')}`;
