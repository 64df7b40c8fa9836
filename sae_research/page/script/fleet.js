// The SAEs of the page, the columns with their numbers, and which of the SAEs are shown.

const fleet = {};

function readFleet(index) {
  Object.assign(fleet, {
    saes: index.saes.map((about, place) => ({ ...about, place })),
    runs: index.runs,
    labels: new Map(index.labels.map((look) => [look.label, look])),
    parts: index.parts.map((part) => ({
      ...part,
      id: `${part.eval}.${part.metric}.${[...part.places].sort().join("+")}`,
    })),
    opposed: index.opposed,
    verdicts: index.verdicts,
    tested: index.tested,
    notInIntervals: index.not_in_intervals,
    chunks: new Set(index.chunks),
    latents: index.latents,
  });
  const numbers = new Numbers(index.numbers, fleet.saes.length);
  const lines = numbers.value.length / Math.max(fleet.saes.length, 1);
  fleet.columns = index.columns.map((about, line) => {
    const isHere = line < lines;
    return newColumn({ ...about, numbers: isHere ? numbers : null, line: isHere ? line : -1 });
  });
  fleet.levels = index.levels.map((about, i) => newLevel(about, fleet.saes.length + i));
  fleet.everyone = [...fleet.saes, ...fleet.levels];
  fleet.columnById = new Map(fleet.columns.map((column) => [column.id, column]));
  fleet.byName = new Map(fleet.saes.map((about) => [about.name, about.place]));
  fleet.placeByName = new Map(fleet.everyone.map((about) => [about.name, about.place]));
  for (const about of fleet.saes) about.searched = `${about.name} ${about.label} ${about.architecture}`.toLowerCase();
}

const UNKNOWN = Object.freeze({ value: NaN, reason: null });

function newColumn(about) {
  const column = { ...about, id: `${about.eval}.${about.column}` };
  column.heading = columnTitle(column);
  column.numberOf = (place) => {
    if (place >= fleet.saes.length) return fleet.everyone[place].numbers.get(column) ?? UNKNOWN;
    return column.numbers ? column.numbers.at(column.line, place) : UNKNOWN;
  };
  return column;
}

/** Something that was measured without an SAE: its place is behind those of all SAEs. */
function newLevel(about, place) {
  const several = new Set(fleet.saes.map(({ site }) => site)).size > 1;
  const numbers = new Map(
    about.numbers.map(([column, value, low, high]) => {
      const ends = { low: low ?? NaN, high: high ?? NaN };
      return [fleet.columns[column], { value, ...ends, below: value - ends.low, above: ends.high - value }];
    }),
  );
  const title = visible(about.title) + (several && about.site ? ` at ${visible(about.site)}` : "");
  return { ...about, numbers, title, place, isLevel: true };
}

/** What the page calls an SAE, or what was measured without one. */
const nameOf = (place, longest) => {
  const about = fleet.everyone[place];
  return shortName(about.isLevel ? about.title : about.name, longest);
};

/** The names of the pinned SAEs, without what is no SAE. */
const pinnedSaes = () => page.state.pin.filter((name) => fleet.byName.has(name));

/** Loads the numbers of columns that do not stand in the page itself. */
function loadColumns(columns) {
  const evals = new Set(columns.filter((column) => !column.numbers).map((column) => column.eval));
  return Promise.all([...evals].map(loadEval));
}

/** Every number of an eval: {lines, numbers}. */
async function loadEval(name) {
  const chunk = await loadChunk(`numbers-${name}`);
  if (!chunk.unpacked) {
    chunk.unpacked = { lines: chunk.lines, numbers: new Numbers(chunk.numbers, fleet.saes.length) };
    chunk.lines.forEach((about, line) => {
      const column = about.column && fleet.columnById.get(`${name}.${about.column}`);
      if (column && !column.numbers) Object.assign(column, { numbers: chunk.unpacked.numbers, line });
    });
  }
  return chunk.unpacked;
}

/** The values that the filters can take, as readState wants them. */
function knownNames() {
  const values = (key) => new Set(fleet.saes.map((about) => about[key]).filter((value) => value !== undefined));
  return {
    columns: new Set(fleet.columnById.keys()),
    orders: new Set([...fleet.columnById.keys(), "l0", "name", "label", "d_sae"]),
    saes: new Set(fleet.byName.keys()),
    pins: new Set(fleet.placeByName.keys()),
    labels: values("label"),
    sites: values("site"),
    widths: new Set([...values("d_sae")].map(String)),
    sources: values("source"),
    runs: new Set(fleet.runs),
    parts: new Set(fleet.parts.map((part) => part.id)),
  };
}

/** The places of the SAEs that the filters leave, in the order of the data. */
function shownSaes(state) {
  const [labels, sites, widths, sources, runs] = ["label", "site", "width", "source", "run"].map(
    (k) => new Set(state[k]),
  );
  const words = state.text.toLowerCase().split(/\s+/).filter(Boolean);
  const from = state.from === "" ? -Infinity : Number(state.from),
    to = state.to === "" ? Infinity : Number(state.to);
  const bounded = state.from !== "" || state.to !== "";
  return fleet.saes
    .filter(
      (about) =>
        (!labels.size || labels.has(about.label)) &&
        (!sites.size || sites.has(about.site)) &&
        (!widths.size || widths.has(String(about.d_sae))) &&
        (!sources.size || sources.has(about.source)) &&
        (!runs.size || runs.has(about.run)) &&
        (!bounded || (about.l0 >= from && about.l0 <= to)) &&
        (state.controls !== "hidden" || !about.control) &&
        words.every((word) => about.searched.includes(word)),
    )
    .map((about) => about.place);
}

/** What `state.sort` sorts by: missing last, then by name; controls last unless they are mixed in. */
function sortedSaes(saes, state) {
  const column = fleet.columnById.get(state.sort);
  const falling = state.order ? state.order === "falling" : column?.direction === "higher";
  const key = column ? (sae) => column.numberOf(sae).value : (sae) => fleet.saes[sae][state.sort] ?? NaN;
  const keys = new Map(saes.map((sae) => [sae, key(sae)]));
  const isMissing = (value) => typeof value === "number" && Number.isNaN(value);
  return [...saes].sort((a, b) => {
    const [first, second] = [fleet.saes[a], fleet.saes[b]];
    if (state.controls !== "mixed" && Boolean(first.control) !== Boolean(second.control)) return first.control ? 1 : -1;
    const [va, vb] = [keys.get(a), keys.get(b)];
    if (isMissing(va) || isMissing(vb)) return isMissing(va) - isMissing(vb) || a - b;
    if (va === vb) return a - b;
    return (va < vb ? -1 : 1) * (falling ? -1 : 1);
  });
}

/** The columns of the table and of what follows it: those that were chosen, or the main ones. */
function chosenColumns(state) {
  if (state.column.length) return state.column.map((id) => fleet.columnById.get(id));
  return mainColumns();
}

function mainColumns() {
  const main = fleet.columns.filter((column) => column.main);
  return main.length ? main : fleet.columns.filter((column) => column.headline).slice(0, 8);
}

const headlineColumns = () => fleet.columns.filter((column) => column.headline);

/** The signs that METRICS.md sets on an SAE, with what they mean. */
function signsOf(about) {
  const signs = [];
  const share = `${Number((100 * (about.share ?? 0)).toPrecision(3))} %`;
  if (about.interpolates === "most")
    signs.push(["†", `interpolates ${share} of the sequences: reconstruction is exact and means nothing`]);
  if (about.interpolates === "some") signs.push(["‡", `interpolates ${share} of the sequences`]);
  if (about.wide) signs.push(["§", "chooses from a wide support per sequence: compare at matched L0 only"]);
  if (about.failed)
    signs.push([
      "✕",
      `failed: ${Object.entries(about.failed)
        .map(([name, why]) => `${name} (${visible(why)})`)
        .join(", ")}`,
    ]);
  return signs;
}
