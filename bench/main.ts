import { GUESTS } from './guests.ts';
import { geometricMean, measure, startUp } from './speed.ts';

const wanted = process.argv.slice(2);
const guests = GUESTS.filter(({ name }) => wanted.length === 0 || wanted.includes(name));
const line = (title: string, rate: number, cpuRate: number) =>
  console.log(
    `${title.padEnd(16)} ${rate.toFixed(0).padStart(6)} ${cpuRate.toFixed(0).padStart(6)}`,
  );

const { clock, cpu } = startUp();
console.log(
  `start-up to the first instruction: ${clock.toFixed(0)} ms, ${cpu.toFixed(0)} ms of CPU time`,
);
console.log(`MIPS:            ${'clock'.padStart(6)} ${'CPU'.padStart(6)}`);
const rates: number[] = [];
const cpuRates: number[] = [];
for (const guest of guests) {
  const { rate, cpuRate } = measure(guest);
  line(guest.title, rate, cpuRate);
  if (!guest.computing) continue;
  rates.push(rate);
  cpuRates.push(cpuRate);
}
if (rates.length > 1) line('geometric mean', geometricMean(rates), geometricMean(cpuRates));
