// What bench/statistics says, for the cells that a reader chooses. Accuracies in percent, differences in points.

const ALPHA = 0.05;
const SURE = 1.959963984540054; // quantiles of the normal distribution: 97.5 %,
const POWER = 0.8416212335729143; // and a power of 80 %

const sum = (values) => values.reduce((total, value) => total + value, 0);
const mean = (values) => sum(values) / values.length;

function variance(values) {
  const centre = mean(values);
  return sum(values.map((value) => (value - centre) ** 2)) / (values.length - 1);
}

// Stirling's series (DLMF 5.11.1), from 15 on exact to the last digits.
function logGamma(x) {
  let shift = 0;
  for (; x < 15; x += 1) shift -= Math.log(x);
  const y = 1 / (x * x);
  return shift + (x - 0.5) * Math.log(x) - x + 0.5 * Math.log(2 * Math.PI) + (1 / 12 - y * (1 / 360 - y * (1 / 1260 - y / 1680))) / x;
}

// The regularized incomplete beta function, by its continued fraction (DLMF 8.17.22), evaluated forwards.
function incompleteBeta(a, b, x) {
  if (x <= 0 || x >= 1) return x <= 0 ? 0 : 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(b, a, 1 - x);
  const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x)) / a;
  let [c, d, value] = [1, 0, 1];
  for (let n = 1; n < 20000; n += 1) {
    const m = n >> 1;
    const term = n % 2 ? (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1)) : (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / (1 + term * d);
    c = 1 + term / c;
    value *= c * d;
    if (Math.abs(c * d - 1) < 1e-15) break;
  }
  return front / value;
}

// P(|T| > t) of Student's distribution.
const tBeyond = (t, freedom) => incompleteBeta(freedom / 2, 0.5, freedom / (freedom + t * t));

function tQuantile(freedom) {
  let [low, high] = [0, 1];
  while (tBeyond(high, freedom) > ALPHA) high *= 2;
  for (let i = 0; i < 100; i += 1) {
    const middle = (low + high) / 2;
    if (tBeyond(middle, freedom) > ALPHA) low = middle;
    else high = middle;
  }
  return high;
}

// The 95 % interval of the mean of three or more seeds.
function tInterval(values) {
  const half = tQuantile(values.length - 1) * Math.sqrt(variance(values) / values.length);
  return [mean(values) - half, mean(values) + half];
}

// On how many images only the first is right, and only the second.
function discordant(first, second) {
  let [wins, losses] = [0, 0];
  for (let i = 0; i < first.length; i += 1) {
    if (first[i] > second[i]) wins += 1;
    else if (first[i] < second[i]) losses += 1;
  }
  return [wins, losses];
}

// The exact two-sided p of McNemar's test.
function mcnemar(wins, losses) {
  if (wins === losses) return 1;
  const [trials, fewer] = [wins + losses, Math.min(wins, losses)];
  let chance = Math.exp(logGamma(trials + 1) - logGamma(fewer + 1) - logGamma(trials - fewer + 1) - trials * Math.LN2);
  let total = 0;
  for (let k = fewer; k >= 0 && chance > 0; k -= 1) {
    total += chance;
    chance *= k / (trials - k + 1);
  }
  return Math.min(1, 2 * total);
}

// The 95 % percentile interval over all resamples of the images, as in bench.statistics.significance: how often each
// sum comes up, by a Fourier transform over the sums that come up at all.
function pairedBootstrap(wins, losses, images) {
  const spread = Math.sqrt(wins + losses - (wins - losses) ** 2 / images);
  const reach = Math.ceil(12 * spread) + 40;
  const [centre, size] = [wins - losses, 2 * reach + 1];
  const chances = new Float64Array(size);
  for (let j = -reach; j <= reach; j += 1) {
    const turn = (2 * Math.PI * j) / size;
    const real = (images - wins - losses + (wins + losses) * Math.cos(turn)) / images;
    const imaginary = ((wins - losses) * Math.sin(turn)) / images;
    const magnitude = Math.hypot(real, imaginary) ** images;
    if (magnitude < 1e-18) continue;
    const angle = images * Math.atan2(imaginary, real);
    for (let k = 0; k < size; k += 1) chances[k] += (magnitude * Math.cos(angle - turn * (centre - reach + k))) / size;
  }
  const first = (order) => {
    let total = 0;
    for (const k of order) if ((total += chances[k]) >= ALPHA / 2) return centre - reach + k;
    return null;
  };
  const up = Array.from({ length: size }, (_, k) => k);
  return [first(up), first(up.toReversed())].map((edge) => (100 * edge) / images);
}

// Two cells, as bench compare has it: images are what is random.
function compareCells(first, second) {
  const [wins, losses] = discordant(first, second);
  const [low, high] = pairedBootstrap(wins, losses, first.length);
  return { points: (100 * (wins - losses)) / first.length, low, high, p: mcnemar(wins, losses), wins, losses };
}

// Two methods over the same seeds, two or more: a t-test in which both images and seeds are random.
function compareSeeds(first, second) {
  const images = first[0].length;
  const gaps = Float64Array.from({ length: images }, (_, i) => mean(first.map((of) => of[i])) - mean(second.map((of) => of[i])));
  const parts = [[variance(gaps) / images, images - 1]];
  for (const side of [first, second]) parts.push([variance(side.map(mean)) / side.length, side.length - 1]);
  const rights = [first, second].map((side) => sum(side.map(sum)));
  const points = 100 * (rights[0] / (first.length * images) - rights[1] / (second.length * images));
  const error = 100 * Math.sqrt(sum(parts.map(([part]) => part)));
  if (error === 0) return { points, low: points, high: points, p: points === 0 ? 1 : 0 };
  const freedom = (error / 100) ** 4 / sum(parts.map(([part, free]) => part ** 2 / free));
  const half = tQuantile(freedom) * error;
  return { points, low: points - half, high: points + half, p: tBeyond(Math.abs(points) / error, freedom) };
}

// The smallest difference that a paired test resolves with 80 % power; null where no difference would be.
function smallestPaired(images, differing) {
  const share = differing / images;
  const spread = Math.sqrt(Math.max(images - SURE ** 2 + POWER ** 2, 0));
  const smallest = (Math.sqrt(share) * (SURE * Math.sqrt(images) + POWER * spread)) / (images + POWER ** 2);
  return smallest < share ? 100 * smallest : null;
}

function smallestUnpaired(images, top1) {
  const share = top1 / 100;
  return 100 * (SURE + POWER) * Math.sqrt((2 * share * (1 - share)) / images);
}
