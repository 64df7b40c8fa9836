// Student's distribution, corrections for many comparisons, Pareto fronts: functions of numbers alone.

const LANCZOS = [
  0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
  12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
];

function logGamma(x) {
  if (x < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * x)) - logGamma(1 - x);
  let sum = LANCZOS[0];
  for (let i = 1; i < LANCZOS.length; i++) sum += LANCZOS[i] / (x - 1 + i);
  const t = x + 6.5;
  return 0.5 * Math.log(2 * Math.PI) + (x - 0.5) * Math.log(t) - t + Math.log(sum);
}

/** The regularised incomplete beta function, by Lentz's continued fraction. */
function incompleteBeta(x, a, b) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(1 - x, b, a);
  const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x)) / a;
  const tiny = 1e-300;
  let c = 1,
    d = 1 / (Math.abs(1 - ((a + b) * x) / (a + 1)) < tiny ? tiny : 1 - ((a + b) * x) / (a + 1)),
    product = d;
  for (let m = 1; m <= 500; m++) {
    for (const step of [
      (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m)),
      (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1)),
    ]) {
      d = 1 + step * d;
      d = 1 / (Math.abs(d) < tiny ? tiny : d);
      c = 1 + step / c;
      if (Math.abs(c) < tiny) c = tiny;
      product *= c * d;
    }
    if (Math.abs(c * d - 1) < 1e-15) break;
  }
  return front * product;
}

/** The probability that |t| is at least `t`; `degrees` may be infinite, for a normal distribution. */
function twoSidedP(t, degrees) {
  const size = Math.abs(t);
  if (Number.isFinite(degrees)) return incompleteBeta(degrees / (degrees + size * size), degrees / 2, 0.5);
  // As a chi-square with one degree of freedom: 1 - P(1/2, t²/2), by series or continued fraction.
  return upperGamma(0.5, (size * size) / 2);
}

/** The regularised upper incomplete gamma function. */
function upperGamma(a, x) {
  if (x <= 0) return 1;
  const front = Math.exp(-x + a * Math.log(x) - logGamma(a));
  if (x < a + 1) {
    let term = 1 / a,
      sum = term;
    for (let n = 1; n < 500 && Math.abs(term) > 1e-16 * sum; n++) sum += term *= x / (a + n);
    return 1 - front * sum;
  }
  let b = x + 1 - a,
    c = 1e300,
    d = 1 / b,
    product = d;
  for (let n = 1; n < 500; n++) {
    const step = -n * (n - a);
    b += 2;
    d = 1 / (step * d + b);
    c = b + step / c;
    product *= c * d;
    if (Math.abs(c * d - 1) < 1e-15) break;
  }
  return front * product;
}

const quantiles = new Map();

/** The t that is exceeded on either side with the probability `level` in all. */
function studentQuantile(level, degrees) {
  const key = `${level} ${degrees}`;
  if (!quantiles.has(key)) quantiles.set(key, solvedQuantile(level, degrees));
  return quantiles.get(key);
}

function solvedQuantile(level, degrees) {
  let low = 0,
    high = 1;
  while (twoSidedP(high, degrees) > level) high *= 2;
  for (let i = 0; i < 200 && high - low > 1e-14 * high; i++) {
    const middle = (low + high) / 2;
    if (twoSidedP(middle, degrees) > level) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** Holm's adjusted p values, in the order of `p`; NaN stay NaN and do not count. */
function holm(p) {
  const order = [...p.keys()].filter((i) => !Number.isNaN(p[i])).sort((i, j) => p[i] - p[j]);
  const adjusted = p.map(() => NaN);
  let largest = 0;
  order.forEach((i, rank) => {
    largest = Math.max(largest, Math.min(1, p[i] * (order.length - rank)));
    adjusted[i] = largest;
  });
  return adjusted;
}

/** The jackknife's standard error of G deviations that leave out one group each. */
function jackknifeError(deviations, from, count, minusFrom) {
  let mean = 0;
  for (let g = 0; g < count; g++) mean += deviations.a[from + g] - deviations.b[minusFrom + g];
  mean /= count;
  let squares = 0;
  for (let g = 0; g < count; g++) squares += (deviations.a[from + g] - deviations.b[minusFrom + g] - mean) ** 2;
  return Math.sqrt(((count - 1) / count) * squares);
}

/** The error of a mean over draws: `bySeed` the difference under each seed, `drawn` its replicates' deviations. */
function errorOverDraws(bySeed, drawn) {
  const draws = bySeed.length,
    groups = drawn[0].length;
  const variance = (values) => {
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    return ((groups - 1) / groups) * values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  };
  const averaged = drawn[0].map((_, g) => drawn.reduce((sum, ofOne) => sum + ofOne[g], 0) / draws);
  const units = variance(averaged);
  const single = drawn.reduce((sum, ofOne) => sum + variance(ofOne), 0) / draws;
  const shared = Math.min(Math.max((draws * units - single) / (draws - 1), 0), single);
  const mean = bySeed.reduce((sum, value) => sum + value, 0) / draws;
  const spread = bySeed.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (draws - 1);
  const ofDraws = Math.max(0, spread - (single - shared)) / draws;
  const total = units + ofDraws;
  const uncertain = units ** 2 / (groups - 1) + (ofDraws > 0 ? (spread / draws) ** 2 / (draws - 1) : 0);
  return { error: Math.sqrt(total), degrees: Math.max(uncertain > 0 ? total ** 2 / uncertain : groups - 1, 1) };
}

/** The points that no other is at least as good as in both and better in one; signs are 1 where higher is better. */
function paretoFront(points, signX, signY) {
  const order = [...points].sort((a, b) => signX * (b.x - a.x) || signY * (b.y - a.y));
  const front = [];
  let best = -Infinity;
  for (const point of order) {
    if (signY * point.y > best) {
      front.push(point);
      best = signY * point.y;
    }
  }
  return front;
}
