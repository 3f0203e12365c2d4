import { bochsIsThere, timeOnBochs } from './bochs.ts';
import { GUESTS } from './guests.ts';
import { geometricMean, measure } from './speed.ts';

if (!bochsIsThere()) {
  console.log('skipped: bochs is not installed');
  process.exit(0);
}
const wanted = process.argv.slice(2);
const guests = GUESTS.filter(({ name }) => wanted.length === 0 || wanted.includes(name));
console.log(`${''.padEnd(16)} ${'ours'.padStart(6)} ${'Bochs'.padStart(6)} MIPS`);
const ratios: number[] = [];
for (const guest of guests) {
  const { rate, ticks } = measure(guest);
  const bochs = ticks / (await timeOnBochs(guest)) / 1000;
  if (guest.computing) ratios.push(rate / bochs);
  console.log(
    `${guest.title.padEnd(16)} ${rate.toFixed(0).padStart(6)} ${bochs.toFixed(0).padStart(6)}  ${(rate / bochs).toFixed(2)}x`,
  );
}
console.log(`geometric mean of the computing ones: ${geometricMean(ratios).toFixed(2)}x Bochs`);
