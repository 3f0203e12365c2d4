import { GUESTS } from './guests.ts';
import { geometricMean, measure, startUp } from './speed.ts';

const wanted = process.argv.slice(2);
const guests = GUESTS.filter(({ name }) => wanted.length === 0 || wanted.includes(name));
console.log(`start-up to the first instruction: ${startUp().toFixed(0)} ms`);
const computing: number[] = [];
for (const guest of guests) {
  const { rate } = measure(guest);
  if (guest.computing) computing.push(rate);
  console.log(`${guest.title.padEnd(16)} ${rate.toFixed(0).padStart(6)} MIPS`);
}
console.log(
  `${'geometric mean'.padEnd(16)} ${geometricMean(computing).toFixed(0).padStart(6)} MIPS, of the computing ones`,
);
