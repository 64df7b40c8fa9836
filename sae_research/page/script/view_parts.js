// A metric at each of its places: by letter, attribute, number of latents, k, data set.

const partsView = {
  id: "parts",
  title: "Parts",

  mount(root) {
    this.root = root;
  },

  async draw() {
    const { state } = page;
    const part = fleet.parts.find((one) => one.id === state.metric) ?? fleet.parts[0];
    if (!part) {
      this.root.replaceChildren(viewHead("Parts of metrics", "No metric was measured at more than one place."));
      return;
    }
    const [{ lines, numbers }, noted] = await Promise.all([loadEval(part.eval), loadNoted(part.eval)]);
    if (page.view !== this) return;
    const here = lines
      .map((about, line) => ({ ...about, line }))
      .filter((line) => line.metric === part.metric && samePlaces(line.at, part.places));
    const axis = part.places.includes(state.axis) ? state.axis : part.places.at(-1);
    const fixed = fixedPlaces(
      here,
      part.places.filter((key) => key !== axis),
      state.at,
    );
    const chosen = here
      .filter((line) => Object.entries(fixed).every(([key, value]) => String(line.at[key]) === value))
      .sort((a, b) => compareValues(a.at[axis], b.at[axis]));
    const saes = sortedSaes(page.shown, state).filter((sae) =>
      chosen.some((line) => !Number.isNaN(numbers.at(line.line, sae).value) || numbers.at(line.line, sae).reason),
    );
    const isNumeric = chosen.every((line) => typeof line.at[axis] === "number") && chosen.length > 2;
    const title = part.caption || `${visible(part.title)} by ${axis.replaceAll("_", " ")}`;
    const view = { part, axis, chosen, saes, numbers, title, noted };
    const picture = isNumeric ? partsCurve(view, this.root) : partsTable(view);
    const kept = document.activeElement?.dataset?.field;
    this.root.replaceChildren(
      viewHead(
        title,
        `${plural(saes.length, "SAE")} at ${plural(chosen.length, "place")} ${ARROWS[part.direction]}${part.unit ? `, in ${visible(part.unit)}` : ""}.`,
        picture.svg ? button("SVG", () => saveSvg("parts", picture.svg)) : null,
        button("CSV", () => saveCsv("parts", partsRows(view))),
      ),
      element(
        "div",
        { class: "controls" },
        choice("Metric", partGroups(), part.id, (metric) => change({ metric, axis: "", at: [] }), {
          "data-field": "metric",
        }),
        part.places.length > 1
          ? choice(
              "Across",
              [["", part.places.map((key) => [key, key.replaceAll("_", " ")])]],
              axis,
              (key) => change({ axis: key, at: [] }),
              { "data-field": "axis" },
            )
          : null,
        ...Object.entries(fixed).map(([key, value]) =>
          choice(
            key.replaceAll("_", " "),
            [["", valuesOf(here, key).map((one) => [one, visible(one)])]],
            value,
            (one) => change({ at: Object.entries({ ...fixed, [key]: one }).map(([k, v]) => `${k}=${v}`) }),
            { "data-field": key },
          ),
        ),
      ),
      picture.node,
      element(
        "div",
        {},
        picture.svg
          ? element("details", { class: "fold" }, element("summary", {}, "As a table"), partsTable(view).node)
          : null,
        notedTable(
          noted,
          saes,
          chosen.map((line) => line.at),
        ),
      ),
    );
    if (kept) this.root.querySelector(`[data-field="${CSS.escape(kept)}"]`)?.focus();
  },
};

const samePlaces = (at, places) => Object.keys(at).length === places.length && places.every((key) => key in at);
const compareValues = (a, b) =>
  typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en");
const valuesOf = (lines, key) => [...new Set(lines.map((line) => line.at[key]))].sort(compareValues).map(String);

/** The values of the places that are not the axis: those of the state, the first ones otherwise. */
function fixedPlaces(lines, keys, wanted) {
  const asked = new Map(wanted.map((text) => [text.split("=", 1)[0], text.slice(text.indexOf("=") + 1)]));
  return Object.fromEntries(
    keys.map((key) => {
      const values = valuesOf(lines, key);
      return [key, values.includes(asked.get(key)) ? asked.get(key) : values[0]];
    }),
  );
}

function partGroups() {
  const groups = new Map();
  for (const part of fleet.parts) {
    const text = part.caption || `${visible(part.title)}, by ${part.places.join(", ").replaceAll("_", " ")}`;
    groups.set(part.eval, [...(groups.get(part.eval) ?? []), [part.id, text]]);
  }
  return [...groups];
}

/** Lines over a numeric place. With pinned SAEs among those shown, the others step back. */
function partsCurve({ part, axis, chosen, saes, numbers, title }, root) {
  const pins = new Set(pinnedSaes());
  const points = saes
    .flatMap((sae) =>
      chosen.map((line) => ({ sae, about: fleet.saes[sae], x: line.at[axis], n: numbers.at(line.line, sae) })),
    )
    .filter(({ n }) => !Number.isNaN(n.value))
    .map((point) => ({ ...point, y: point.n.value }));
  const places = chosen.map((line) => line.at[axis]);
  const log = suitsLog(places);
  const [front, back] = [true, false].map((is) =>
    points.filter(({ about }) => (pins.size === 0 ? is : pins.has(about.name) === is)),
  );
  const color = ({ about }) => lookOf(about).color;
  const { stage, svg } = pointChart({
    name: title,
    summary: `${plural(saes.length, "SAE")}, ${places.length} values of ${axis}.`,
    options: {
      width: widthFor(root, 1100),
      height: 440,
      marginLeft: 60,
      marginBottom: 44,
      style: { background: "none", fontSize: "12px" },
      x: {
        type: log ? "log" : "linear",
        label: visible(part.axis || axis.replaceAll("_", " ")),
        labelAnchor: "center",
        labelArrow: "none",
        ticks: places,
        tickFormat: tickText,
      },
      y: { grid: true, nice: true, label: `${visible(part.title)} ${ARROWS[part.direction]}`, labelArrow: "none" },
      symbol: { type: "identity" },
      marks: [
        Plot.line(back, { x: "x", y: "y", z: "sae", stroke: color, strokeOpacity: 0.22 }),
        pins.size
          ? Plot.areaY(
              front.filter(({ n }) => Number.isFinite(n.low)),
              { x: "x", y1: ({ n }) => n.low, y2: ({ n }) => n.high, z: "sae", fill: color, fillOpacity: 0.15 },
            )
          : null,
        Plot.line(front, {
          x: "x",
          y: "y",
          z: "sae",
          stroke: color,
          strokeWidth: pins.size ? 2 : 1.3,
          strokeOpacity: pins.size ? 1 : 0.75,
        }),
        Plot.dot(front, {
          x: "x",
          y: "y",
          symbol: (p) => lookOf(p.about).symbol,
          r: pins.size ? 4.5 : 3.2,
          fill: (p) => lookOf(p.about).fill,
          stroke: (p) => lookOf(p.about).stroke,
        }),
      ].filter(Boolean),
    },
    points,
    tell: (point) => [shortName(point.about.name), `${axis} = ${point.x}: ${fullText(point.n)}`],
    pick: (point) => togglePin(point.sae),
  });
  const legend = element("ul", { class: "legend", "aria-label": "Labels" });
  drawLegend(legend, points);
  return { node: element("div", { class: "chart-row" }, element("div", { class: "chart" }, stage), legend), svg };
}

/** SAEs by place, shaded by value: a table, so that it is read aloud as one. */
function partsTable({ part, axis, chosen, saes, numbers, noted }) {
  const values = saes
    .flatMap((sae) => chosen.map((line) => numbers.at(line.line, sae).value))
    .filter((value) => !Number.isNaN(value));
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const better = part.direction === "lower" ? -1 : 1;
  const cell = (number, [sae, at]) => {
    if (Number.isNaN(number.value))
      return element("td", { class: "is-missing", title: fullText(number) }, number.reason ? "–" : "");
    const share = high > low ? (number.value - low) / (high - low) : 1,
      shade = better > 0 ? share : 1 - share;
    return element(
      "td",
      {
        class: "shaded",
        title: fullText(number),
        style: { background: d3.interpolateViridis(shade), color: shade > 0.55 ? "#10151c" : "#ffffff" },
      },
      valueLink(plainNumber(number.value, 2), sae, notesAt(noted.get(sae), at)),
    );
  };
  const row = (sae) =>
    element(
      "tr",
      { class: page.state.pin.includes(fleet.saes[sae].name) ? "is-pinned" : "" },
      element("th", { scope: "row" }, element("div", {}, glyph(fleet.saes[sae]), saeLink(fleet.saes[sae], 36))),
      ...chosen.map((line) => cell(numbers.at(line.line, sae), [sae, line.at])),
    );
  const body = element("tbody", {});
  const table = element(
    "table",
    { class: "parts" },
    element("caption", { class: "unseen" }, `${part.title} by ${axis}`),
    element(
      "thead",
      {},
      element(
        "tr",
        {},
        element("th", { scope: "col" }, "SAE"),
        ...chosen.map((line) => element("th", { scope: "col" }, shortName(line.at[axis], 18))),
      ),
    ),
    body,
  );
  const node = element(
    "div",
    { class: "scroller tall", tabindex: 0, role: "region", "aria-label": "SAEs by place" },
    table,
  );
  const rows = new Map();
  const shown = new RowWindow(node, body, (sae) => rows.get(sae) ?? rows.set(sae, row(sae)).get(sae));
  shown.show(saes);
  return { node };
}

/** A value that leads to the first of the latents that are behind it. */
function valueLink(text, sae, notes) {
  if (!notes.length || fleet.latents[sae] === undefined) return text;
  const link = latentLink(sae, notes[0].latent, {
    "aria-label": `${text}, latent ${notes[0].latent}`,
    title: notes.map((note) => `latent ${note.latent}: ${visible(note.text ?? "")}`).join("\n"),
  });
  link.textContent = text;
  return link;
}

function partsRows({ part, axis, chosen, saes, numbers }) {
  return [
    ["sae", "metric", ...part.places, "value", "ci_low", "ci_high", "reason"],
    ...saes.flatMap((sae) =>
      chosen.map((line) => {
        const number = numbers.at(line.line, sae);
        return [
          fleet.saes[sae].name,
          part.metric,
          ...part.places.map((key) => line.at[key]),
          number.value,
          number.low,
          number.high,
          number.reason,
        ];
      }),
    ),
  ];
}
