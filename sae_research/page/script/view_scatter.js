// Any column against any other: intervals, Pareto front, what needs no SAE; and all main columns in small.

const scatterView = {
  id: "scatter",
  title: "Scatter",

  mount(root) {
    this.controls = element("div", { class: "controls" }, ...this.buildControls());
    this.stage = element("div", { class: "chart" });
    this.legend = element("ul", { class: "legend", "aria-label": "Labels" });
    this.small = element("div", { class: "multiples" });
    this.sentence = element("p", { class: "sentence", "aria-live": "polite" });
    this.numbers = chartTable("The numbers of this chart", () => numbersAsRows(page.shown, [this.x, this.y]));
    root.replaceChildren(
      element(
        "div",
        { class: "view-head" },
        element("div", {}, element("h2", {}, "Metric against metric"), this.sentence),
        element(
          "div",
          { class: "tools" },
          button("SVG", () => this.svg && saveSvg("scatter", this.svg)),
          button("CSV", () => saveCsv("scatter", numbersAsRows(page.shown, [this.x, this.y]))),
        ),
      ),
      this.controls,
      element("div", { class: "chart-row" }, this.stage, this.legend),
      this.numbers.node,
      element("h3", {}, "All main columns"),
      element("p", { class: "sentence" }, "Against the same horizontal axis; the view Table has their numbers."),
      this.small,
    );
    this.width = 0;
  },

  async draw() {
    const { state } = page;
    this.x = fleet.columnById.get(state.x) ?? fleet.columns[0];
    this.y =
      fleet.columnById.get(state.y) ?? mainColumns().find((column) => column.id !== this.x?.id) ?? fleet.columns[0];
    if (!this.x || !this.y) {
      this.sentence.textContent = "There is no number to draw.";
      return;
    }
    if (!this.x.numbers || !this.y.numbers) await loadColumns([this.x, this.y]);
    if (page.view !== this) return;
    this.refreshControls();
    const points = scatterPoints(page.shown, this.x, this.y);
    const xs = points.map((point) => point.x);
    const opposed = opposedAt(this.x, this.y) >= 0;
    const isLog = (scale, values) => (scale || (!opposed && suitsLog(values) ? "log" : "linear")) === "log";
    const log = {
      x: isLog(state.xscale, xs),
      y: isLog(
        state.yscale,
        points.map((point) => point.y),
      ),
    };
    const usable = points.filter((point) => (!log.x || point.x > 0) && (!log.y || point.y > 0));
    const front = state.front === "yes" ? frontOf(usable, this.x, this.y) : [];
    const missing = page.shown.length - usable.length;
    const rings = unbeaten(usable, front, this.x, this.y);
    this.sentence.textContent = scatterSentence({ shown: usable.length, missing, front, rings, x: this.x, y: this.y });
    drawLegend(this.legend, usable);
    const { stage, svg } = pointChart({
      name: `${this.y.heading} against ${this.x.heading}`,
      summary: this.sentence.textContent,
      options: scatterOptions({
        points: usable,
        x: this.x,
        y: this.y,
        log,
        front,
        rings,
        opposed,
        width: widthFor(this.stage),
        height: 460,
        state,
        small: false,
      }),
      points: usable,
      tell: (point) => [
        shortName(fleet.saes[point.sae].name),
        `${this.y.heading}: ${fullText(this.y.numberOf(point.sae))}`,
        `${this.x.heading}: ${fullText(this.x.numberOf(point.sae))}`,
        ...signsOf(fleet.saes[point.sae]).map(([sign, why]) => `${sign} ${why}`),
      ],
      pick: (point) => togglePin(point.sae),
    });
    this.svg = svg;
    this.stage.replaceChildren(stage);
    this.numbers.refresh();
    const turn = (this.turn = {});
    const isCurrent = () => this.turn === turn && page.view === this;
    const lacksRings = front.length && ![this.x, this.y].every(hasReplicates);
    whenIdle(
      () =>
        isCurrent() &&
        (lacksRings ? loadReplicates([this.x, this.y]).then(() => isCurrent() && draw(), failed) : this.drawSmall(log)),
    );
  },

  buildControls() {
    const scale = (name) =>
      choice(
        `${name} scale`,
        [
          [
            "",
            [
              ["", "automatic"],
              ["log", "log"],
              ["linear", "linear"],
            ],
          ],
        ],
        "",
        (value) => change({ [`${name}scale`]: value }),
      );
    const axis = (title, name) => choice(title, columnGroups(), "", (id) => change({ [name]: id }));
    const onOff = (title, name) => toggle(title, true, (isOn) => change({ [name]: isOn ? "yes" : "no" }));
    const parts = {
      x: axis("Horizontal", "x"),
      xscale: scale("x"),
      y: axis("Vertical", "y"),
      yscale: scale("y"),
      intervals: onOff("Intervals", "intervals"),
      front: onOff("Pareto front", "front"),
      lines: onOff("Lines by label", "lines"),
    };
    const pairs = fleet.opposed.map(({ caption, at }, place) => [
      String(place),
      [shortName(caption, 90), placeText(at)].filter(Boolean).join(", "),
    ]);
    if (pairs.length)
      parts.opposed = choice("Known pairs", [["", [["", "choose …"], ...pairs]]], "", (place) => {
        if (place) change({ x: fleet.opposed[place].x, y: fleet.opposed[place].y, xscale: "", yscale: "" });
      });
    const swap = button("Swap axes", () => change({ x: this.y.id, y: this.x.id }));
    this.fields = Object.entries(parts).map(([name, node]) => [name, node.querySelector("select, input")]);
    return [
      parts.x,
      parts.xscale,
      parts.y,
      parts.yscale,
      swap,
      parts.opposed,
      parts.intervals,
      parts.front,
      parts.lines,
    ];
  },

  refreshControls() {
    const place = opposedAt(this.x, this.y);
    const values = { ...page.state, x: this.x.id, y: this.y.id, opposed: place < 0 ? "" : String(place) };
    for (const [name, field] of this.fields) {
      if (field.type === "checkbox") field.checked = values[name] === "yes";
      else if (field.value !== values[name]) field.value = values[name];
    }
  },

  /** The main columns against the same horizontal axis; a click on one makes it the large one. */
  drawSmall(log) {
    const suits = (column) =>
      suitsLog(page.shown.map((sae) => column.numberOf(sae).value).filter((value) => !Number.isNaN(value)));
    const columns = mainColumns().filter((column) => column.id !== this.x.id && column.numbers);
    const width = Math.max(
      210,
      Math.min(
        320,
        Math.floor(
          (this.small.clientWidth || 900) / Math.max(2, Math.min(4, Math.floor((this.small.clientWidth || 900) / 240))),
        ) - 12,
      ),
    );
    this.small.replaceChildren(
      ...columns.map((column) => {
        const points = scatterPoints(page.shown, this.x, column).filter((point) => !log.x || point.x > 0);
        const svg = plainSvg(
          Plot.plot(
            scatterOptions({
              points: points.filter(({ y }) => !suits(column) || y > 0),
              x: this.x,
              y: column,
              log: { x: log.x, y: suits(column) },
              front: [],
              width,
              height: 190,
              state: page.state,
              small: true,
            }),
          ),
          `${column.heading} against ${this.x.heading}`,
          `${plural(points.length, "SAE")}.`,
        );
        return button(
          [element("span", { class: "multiple-title" }, `${column.heading} ${ARROWS[column.direction]}`), svg],
          () => {
            change({ y: column.id });
            scrollTo(0, 0);
          },
          {
            class: `multiple${column.id === this.y.id ? " is-chosen" : ""}`,
            "aria-label": `Show ${column.heading} in large`,
          },
        );
      }),
    );
  },
};

/** Where two columns stand among those that an eval sets against each other; -1 where it does not. */
const opposedAt = (x, y) => fleet.opposed.findIndex((pair) => pair.x === x.id && pair.y === y.id);

function scatterPoints(saes, x, y) {
  const points = [];
  for (const sae of saes) {
    const [nx, ny] = [x.numberOf(sae), y.numberOf(sae)];
    if (!Number.isNaN(nx.value) && !Number.isNaN(ny.value))
      points.push({ sae, x: nx.value, y: ny.value, nx, ny, about: fleet.saes[sae] });
  }
  return points;
}

/** The Pareto front of the trained SAEs that do not interpolate; empty where an axis has no better end. */
function frontOf(points, x, y) {
  const sign = (column) => ({ higher: 1, lower: -1 })[column.direction];
  if (!sign(x) || !sign(y)) return [];
  return paretoFront(
    points.filter(({ about }) => about.interpolates !== "most" && about.interpolates !== "some" && !about.control),
    sign(x),
    sign(y),
  );
}

/** The trained SAEs that none on the front is distinguishably better than in both columns; empty until that is known. */
function unbeaten(points, front, x, y) {
  if (!front.length || ![x, y].every(hasReplicates)) return [];
  const isBetter = (column, a, b) => {
    const sign = column.direction === "higher" ? 1 : -1;
    return (
      sign * (column.numberOf(a).value - column.numberOf(b).value) > 0 &&
      areToldApart(column, a, b, testedLevel(column))
    );
  };
  return points.filter(
    ({ sae, about }) =>
      about.contends && !front.some((best) => isBetter(x, best.sae, sae) && isBetter(y, best.sae, sae)),
  );
}

function scatterSentence({ shown, missing, front, rings, x, y }) {
  const parts = [`${plural(shown, "SAE")} shown`];
  if (missing)
    parts.push(`${missing} without a place here (a number is missing, or not positive on a logarithmic axis)`);
  if (front.length)
    parts.push(
      `${front.length} on the Pareto front (${x.heading} ${ARROWS[x.direction]}, ${y.heading} ${ARROWS[y.direction]}), controls and interpolating ones left out`,
    );
  if (rings.length) parts.push(`${rings.length} ringed: none on the front is distinguishably better in both`);
  return `${parts.join("; ")}.`;
}
