// The whole state of the page, in the hash of its address, by names.

const VIEWS = ["table", "scatter", "compare", "sae", "heatmap", "parts", "latents"];

/** By field: how many values it has, what they may be (a key of `known`, or a list), and what it is by default. */
const FIELDS = {
  view: { of: VIEWS, usual: "table" },
  sort: { of: "orders", usual: "l0" },
  order: { of: ["rising", "falling"], usual: "" },
  column: { many: true, of: "columns" },
  label: { many: true, of: "labels" },
  site: { many: true, of: "sites" },
  width: { many: true, of: "widths" },
  source: { many: true, of: "sources" },
  run: { many: true, of: "runs" },
  from: { of: "number", usual: "" },
  to: { of: "number", usual: "" },
  text: { of: "text", usual: "" },
  controls: { of: ["last", "mixed", "hidden"], usual: "last" },
  pin: { many: true, of: "pins" },
  base: { of: "pins", usual: "" },
  x: { of: "columns", usual: "core.l0" },
  y: { of: "columns", usual: "" },
  xscale: { of: ["log", "linear"], usual: "" },
  yscale: { of: ["log", "linear"], usual: "" },
  intervals: { of: ["yes", "no"], usual: "yes" },
  lines: { of: ["yes", "no"], usual: "no" },
  front: { of: ["yes", "no"], usual: "yes" },
  set: { of: ["main", "headline"], usual: "main" },
  correction: { of: ["none", "holm"], usual: "none" },
  sae: { of: "saes", usual: "" },
  shade: { of: ["rank", "value"], usual: "rank" },
  metric: { of: "parts", usual: "" },
  axis: { of: "text", usual: "" },
  at: { many: true, of: "text" },
  latent: { of: "number", usual: "" },
  latents: { of: "text", usual: "" },
  densefrom: { of: "number", usual: "" },
  denseto: { of: "number", usual: "" },
  latentsort: { of: ["index", "density", "score", "sensitivity"], usual: "index" },
};

/** The fields that say which SAEs are shown. */
const FILTERS = ["label", "site", "width", "source", "run", "from", "to", "text", "controls"];

/** The state in a hash; `ignored` lists what it names that is not there. `known` has sets of names. */
function readState(hash, known) {
  const state = {},
    ignored = [];
  for (const [name, field] of Object.entries(FIELDS)) state[name] = field.many ? [] : field.usual;
  for (const [name, value] of new URLSearchParams(hash.replace(/^#/, ""))) {
    const field = FIELDS[name];
    if (!field || !isKnown(value, field.of, known))
      ignored.push(field ? `${name} “${shortName(value)}”` : shortName(name));
    else if (!field.many) state[name] = value;
    else if (!state[name].includes(value)) state[name].push(value);
  }
  return { state, ignored };
}

function isKnown(value, of, known) {
  if (of === "text") return true;
  if (of === "number") return value.trim() !== "" && Number.isFinite(Number(value));
  return Array.isArray(of) ? of.includes(value) : known[of].has(value);
}

/** The hash of a state: what is as usual is left out. */
function writeState(state) {
  const parts = new URLSearchParams();
  for (const [name, field] of Object.entries(FIELDS)) {
    if (field.many) for (const value of state[name]) parts.append(name, value);
    else if (state[name] !== field.usual) parts.append(name, state[name]);
  }
  return parts.toString();
}
