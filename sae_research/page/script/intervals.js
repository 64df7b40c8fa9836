// Paired differences of two SAEs, as process_results computes them: from replicates over the same test units.

const LEVEL = 0.05;
const SMALLEST_P = 1e-15;
const replicatesOf = new Map();

/** Loads what the pairs of these columns are computed from; resolves when all are there. */
function loadReplicates(columns) {
  const names = new Set(columns.map((column) => `replicates-${column.eval}`));
  const known = [...names].filter((name) => fleet.chunks.has(name) && !replicatesOf.has(name));
  return Promise.all(known.map(async (name) => replicatesOf.set(name, unpackedReplicates(await loadChunk(name)))));
}

/** By column, then by place, the block and the row that hold its replicates. */
function unpackedReplicates(chunk) {
  const columns = new Map();
  for (const packed of chunk.blocks) {
    const block = {
      groups: packed.groups,
      whole: floats32(packed.whole),
      seeds: packed.seeds ?? 0,
      seedGroups: packed.seed_groups ?? 0,
      seedValues: packed.seeds ? floats64(packed.seed_values) : null,
      drawn: packed.seeds ? floats32(packed.drawn) : null,
    };
    const rows = columns.get(packed.column) ?? new Map();
    packed.places.forEach((place, row) => rows.set(place, { block, row }));
    columns.set(packed.column, rows);
  }
  return columns;
}

/** Whether the pairs of a column can be computed now: they can where nothing more is to be loaded. */
function hasReplicates(column) {
  const name = `replicates-${column.eval}`;
  return !fleet.chunks.has(name) || replicatesOf.has(name);
}

/** {difference, low, high, p, method}: `a` minus `b`; without ends where a number has no interval. */
function difference(column, a, b) {
  const { value, below, above, t, degrees, method } = studentised(column, a, b);
  if (method === "none") return { difference: value, p: NaN, method };
  return {
    difference: value,
    low: value - below,
    high: value + above,
    p: Math.max(twoSidedP(t, degrees), SMALLEST_P),
    method,
  };
}

/** Whether two SAEs are told apart at a level. */
function areToldApart(column, a, b, level) {
  const { t, degrees, method } = studentised(column, a, b);
  if (method === "none") return false;
  // Most pairs share their degrees of freedom, and one quantile is faster than a p value each.
  const isShared = degrees === Infinity || Number.isInteger(degrees);
  return isShared ? t >= studentQuantile(level, degrees) : twoSidedP(t, degrees) <= level;
}

/** The difference, its distances to the ends, and how many standard errors it is from 0. */
function studentised(column, a, b) {
  const first = column.numberOf(a),
    second = column.numberOf(b);
  const value = first.value - second.value;
  const error = pairedError(column, a, b);
  let below, above, degrees, method;
  if (error && error.error > 0) {
    below = above = studentQuantile(LEVEL, error.degrees) * error.error;
    [degrees, method] = [error.degrees, "paired"];
  } else {
    // MOVER: the lower end comes from a's lower and b's upper end.
    below = Math.hypot(first.below, second.above);
    above = Math.hypot(first.above, second.below);
    [degrees, method] = [Infinity, "unpaired"];
  }
  if (!Number.isFinite(below) || !Number.isFinite(above)) return { value, method: "none" };
  const half = value > 0 ? below : above;
  const t = value === 0 ? 0 : (Math.abs(value) / half) * studentQuantile(LEVEL, degrees);
  return { value, below, above, t, degrees, method };
}

/** The standard error over what both were measured on; null where that is not known. */
function pairedError(column, a, b) {
  const rows = replicatesOf.get(`replicates-${column.eval}`)?.get(column.column);
  const first = rows?.get(a),
    second = rows?.get(b);
  if (!first || !second || fleet.everyone[a].units?.[column.eval] !== fleet.everyone[b].units?.[column.eval])
    return null;
  const [blockA, blockB] = [first.block, second.block];
  if (blockA.seeds && blockA.seeds === blockB.seeds && blockA.seedGroups === blockB.seedGroups) {
    return drawnError(first, second);
  }
  if (blockA.groups !== blockB.groups) return null;
  const groups = blockA.groups;
  const error = jackknifeError({ a: blockA.whole, b: blockB.whole }, first.row * groups, groups, second.row * groups);
  return { error, degrees: groups - 1 };
}

function drawnError(first, second) {
  const { seeds, seedGroups } = first.block;
  const bySeed = [],
    drawn = [];
  for (let s = 0; s < seeds; s++) {
    const placeA = first.row * seeds + s,
      placeB = second.row * seeds + s;
    bySeed.push(first.block.seedValues[placeA] - second.block.seedValues[placeB]);
    const deviations = [];
    for (let g = 0; g < seedGroups; g++) {
      deviations.push(first.block.drawn[placeA * seedGroups + g] - second.block.drawn[placeB * seedGroups + g]);
    }
    drawn.push(deviations);
  }
  return errorOverDraws(bySeed, drawn);
}

/** The level at which pairs of a column are tested: that of Benjamini & Hochberg over all pairs of such columns. */
function testedLevel(column) {
  return fleet.tested[column.headline ? "headline" : "other"].level;
}

/**
 * Who leads a column among these SAEs, at each site: by SAE “best” or “tied”, and how many comparisons were looked at.
 * Nobody leads where nobody can be told from the best.
 */
function leadersOf(column, saes) {
  const marks = new Map();
  let compared = 0,
    allTied = 0;
  if (column.direction === "neither" || !hasReplicates(column)) return { marks, compared, allTied };
  const sign = column.direction === "higher" ? 1 : -1;
  const sites = new Map();
  for (const sae of saes) {
    const about = fleet.saes[sae];
    if (!about.contends || Number.isNaN(column.numberOf(sae).value)) continue;
    const site = `${about.model} ${about.site}`;
    if (!sites.has(site)) sites.set(site, []);
    sites.get(site).push(sae);
  }
  for (const competing of sites.values()) {
    const best = competing.reduce((a, b) =>
      sign * column.numberOf(b).value > sign * column.numberOf(a).value ? b : a,
    );
    const tied = [];
    for (const sae of competing) {
      if (sae === best) continue;
      compared += 1;
      if (!areToldApart(column, best, sae, testedLevel(column))) tied.push(sae);
    }
    if (tied.length === competing.length - 1) {
      allTied += competing.length > 1 ? 1 : 0;
      continue;
    }
    marks.set(best, "best");
    for (const sae of tied) marks.set(sae, "tied");
  }
  return { marks, compared, allTied };
}
