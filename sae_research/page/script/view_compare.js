// Pinned SAEs against one of them, in pairs: differences over the same test units, with a verdict each.

const compareView = {
  id: "compare",
  title: "Compare",

  mount(root) {
    this.root = root;
  },

  async draw() {
    const { state } = page;
    const pins = state.pin.map((name) => fleet.placeByName.get(name));
    if (pins.length < 2) {
      this.root.replaceChildren(
        viewHead(
          "Pinned SAEs in pairs",
          "Pin two to six: by ◇ in the table, by a click in the scatter plot, or here. What was measured without an SAE can be pinned too.",
        ),
        element("div", { class: "controls" }, this.adder()),
      );
      return;
    }
    const base = pins.find((place) => fleet.everyone[place].name === state.base) ?? pins[0];
    const others = pins.filter((sae) => sae !== base);
    const columns = comparedColumns(state);
    this.root.replaceChildren(viewHead("Pinned SAEs in pairs", "Loading replicates …"));
    await Promise.all([loadColumns(columns), loadReplicates(columns)]);
    const cards = await loadChunk("cards");
    if (page.view !== this) return;
    const saes = [base, ...others].filter((place) => place < fleet.saes.length);
    const measured = columns.filter((column) => others.some((place) => isAsked(column, base, place)));
    const lines = differenceLines(measured, base, others, state.correction);
    this.root.replaceChildren(
      this.head(base, others, lines),
      this.controls(pins, base),
      forestTable(lines, base, others),
      measured.length < columns.length
        ? element(
            "p",
            { class: "note" },
            `Left out: ${plural(columns.length - measured.length, "column")}, in which no pair has two numbers.`,
          )
        : element("span", {}),
      ...(saes.length > 1 ? [element("h3", {}, "Cards and settings"), settingsTable(saes, cards)] : []),
    );
  },

  head(base, others, lines) {
    const cells = lines.flatMap((line) => line.cells).filter((cell) => cell.verdict);
    const apart = cells.filter((cell) => cell.verdict !== "alike").length;
    const corrected =
      page.state.correction === "holm"
        ? "verdicts are corrected for all of them (Holm), intervals are not"
        : "each at 5 %, not corrected for their number: one in twenty equal pairs is called different";
    const unpaired = cells.filter((cell) => cell.method === "unpaired").length;
    const wider = unpaired ? ` ${unpaired} not paired, with an interval that is wider than necessary.` : "";
    return viewHead(
      "Pinned SAEs in pairs",
      `${plural(cells.length, "comparison")} against ${nameOf(base)}, ${apart} told apart; ${corrected}.${wider}`,
      button("CSV", () => saveCsv("differences", differenceRows(lines, base))),
    );
  },

  controls(pins, base) {
    const names = pins.map((place) => [fleet.everyone[place].name, nameOf(place)]);
    return element(
      "div",
      { class: "controls" },
      choice("Base", [["", names]], fleet.everyone[base].name, (name) => change({ base: name })),
      choice(
        "Columns",
        [
          [
            "",
            [
              ["main", "main"],
              ["headline", "all of the report"],
            ],
          ],
        ],
        page.state.set,
        (set) => change({ set }),
      ),
      toggle("Correct for the number of comparisons", page.state.correction === "holm", (isOn) =>
        change({ correction: isOn ? "holm" : "none" }),
      ),
      this.adder(),
    );
  },

  adder() {
    const free = (members) =>
      members.filter((about) => !page.state.pin.includes(about.name)).map((about) => [about.name, nameOf(about.place)]);
    const groups = [
      ["", [["", "choose …"]]],
      ["SAEs", free(fleet.saes)],
      ["Without an SAE", free(fleet.levels)],
    ];
    return choice(
      "Pin",
      groups.filter(([, entries]) => entries.length),
      "",
      (name) => name && togglePin(fleet.placeByName.get(name)),
    );
  },
};

function comparedColumns(state) {
  const columns = state.set === "headline" ? headlineColumns() : chosenColumns(state);
  return columns.filter((column) => column.direction !== "neither");
}

/** Whether both have a number in a column, or one is missing for a reason. */
const isAsked = (column, ...places) =>
  places.every((place) => {
    const { value, reason } = column.numberOf(place);
    return !Number.isNaN(value) || reason;
  });

/** A line a column; a cell for each of `others`: the difference to `base`, its interval and the verdict. */
function differenceLines(columns, base, others, correction) {
  const lines = columns.map((column) => ({
    column,
    cells: others.map((sae) => {
      const missing = [sae, base].find((one) => Number.isNaN(column.numberOf(one).value));
      return missing === undefined
        ? { sae, ...difference(column, sae, base) }
        : {
            sae,
            difference: NaN,
            p: NaN,
            why: `${nameOf(missing)}: ${fullText(column.numberOf(missing))}`,
          };
    }),
  }));
  const cells = lines.flatMap((line) => line.cells);
  const adjusted = correction === "holm" ? holm(cells.map((cell) => cell.p)) : cells.map((cell) => cell.p);
  cells.forEach((cell, i) => (cell.decidedBy = adjusted[i]));
  for (const { column, cells: lineCells } of lines) {
    for (const cell of lineCells) {
      if (Number.isNaN(cell.p)) continue;
      const better = cell.difference > 0 === (column.direction === "higher");
      cell.verdict = cell.decidedBy <= LEVEL && cell.difference !== 0 ? (better ? "better" : "worse") : "alike";
    }
  }
  return lines;
}

const VERDICTS = { better: ["▲", "better"], worse: ["▼", "worse"], alike: ["=", "not told apart"] };

function forestTable(lines, base, others) {
  const head = element(
    "tr",
    {},
    element("th", { scope: "col" }, "Metric"),
    element("th", { scope: "col", class: "value" }, nameOf(base, 60), element("span", { class: "head-place" }, "base")),
    ...others.map((sae) =>
      element(
        "th",
        { scope: "col" },
        glyph(fleet.everyone[sae]),
        " ",
        nameOf(sae, 60),
        element("span", { class: "head-place" }, "minus base"),
      ),
    ),
  );
  const body = lines.map(({ column, cells }) => {
    const reach = Math.max(
      ...cells
        .flatMap((cell) => [cell.difference, cell.low, cell.high])
        .filter(Number.isFinite)
        .map(Math.abs),
      1e-300,
    );
    return element(
      "tr",
      {},
      element(
        "th",
        { scope: "row" },
        `${column.heading} ${ARROWS[column.direction]}`,
        element("span", { class: "head-place" }, visible(column.eval)),
      ),
      element(
        "td",
        { class: "value" },
        element("span", { class: "v" }, valueText(column.numberOf(base))),
        element("span", { class: "i" }, intervalText(column.numberOf(base))),
      ),
      ...cells.map((cell) => forestCell(cell, reach)),
    );
  });
  return element(
    "div",
    { class: "scroller", tabindex: 0, role: "region", "aria-label": "Differences to the base" },
    element(
      "table",
      { class: "forest" },
      element("caption", { class: "unseen" }, "Paired differences to the base, with 95 % intervals"),
      element("thead", {}, head),
      element("tbody", {}, ...body),
    ),
  );
}

function forestCell(cell, reach) {
  if (Number.isNaN(cell.difference)) return element("td", { class: "is-missing" }, cell.why);
  const [sign, word] = VERDICTS[cell.verdict] ?? ["", "no interval"];
  const text = `${signed(cell)}${endsText(cell.low, cell.high)}`;
  return element(
    "td",
    {
      class: `verdict-${cell.verdict ?? "none"}`,
      title: `${text}; ${word}; ${cell.method}; p = ${Number.isNaN(cell.p) ? "–" : cell.p.toPrecision(2)}`,
    },
    forestPicture(cell, reach),
    element("span", { class: "v" }, text),
    element("span", { class: "verdict" }, element("span", { "aria-hidden": "true" }, `${sign} `), word),
  );
}

function signed(cell) {
  const half = (cell.high - cell.low) / 2;
  const text = half > 0 ? minus(cell.difference.toFixed(decimalsFor(half))) : plainNumber(cell.difference);
  return cell.difference > 0 ? `+${text}` : text;
}

function forestPicture(cell, reach) {
  const x = (value) => 90 + (84 * value) / reach;
  const line = Number.isFinite(cell.low)
    ? svgElement("line", { x1: x(cell.low), x2: x(cell.high), y1: 9, y2: 9, class: "interval" })
    : null;
  return svgElement(
    "svg",
    { width: 180, height: 18, viewBox: "0 0 180 18", class: "forest-bar", "aria-hidden": "true" },
    svgElement("line", { x1: 90, x2: 90, y1: 0, y2: 18, class: "zero" }),
    line,
    svgElement("circle", { cx: x(cell.difference), cy: 9, r: 4 }),
  );
}

function differenceRows(lines, base) {
  const header = [
    "column",
    "direction",
    "sae",
    "minus",
    "difference",
    "ci_low",
    "ci_high",
    "p",
    "p_used",
    "verdict",
    "method",
  ];
  const rows = lines.flatMap(({ column, cells }) =>
    cells.map((cell) => [
      column.id,
      column.direction,
      fleet.everyone[cell.sae].name,
      fleet.everyone[base].name,
      cell.difference,
      cell.low,
      cell.high,
      cell.p,
      cell.decidedBy,
      cell.verdict,
      cell.method,
    ]),
  );
  return [header, ...rows];
}
