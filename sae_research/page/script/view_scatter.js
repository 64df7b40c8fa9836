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
    root.replaceChildren(
      element("div", { class: "view-head" }, element("div", {}, element("h2", {}, "Metric against metric"), this.sentence),
        element("div", { class: "tools" }, button("SVG", () => this.svg && saveSvg("scatter", this.svg)),
          button("CSV", () => saveCsv("scatter", numbersAsRows(page.shown, [this.x, this.y]))))),
      this.controls, element("div", { class: "chart-row" }, this.stage, this.legend),
      element("h3", {}, "All main columns"), this.small);
    this.width = 0;
  },

  async draw() {
    const { state } = page;
    this.x = fleet.columnById.get(state.x) ?? fleet.columns[0];
    this.y = fleet.columnById.get(state.y) ?? mainColumns().find((column) => column.id !== this.x?.id) ?? fleet.columns[0];
    if (!this.x || !this.y) {
      this.sentence.textContent = "There is no number to draw.";
      return;
    }
    if (!this.x.numbers || !this.y.numbers) await loadColumns([this.x, this.y]);
    if (page.view !== this) return;
    this.refreshControls();
    const points = scatterPoints(page.shown, this.x, this.y);
    const xs = points.map((point) => point.x);
    const isLog = (scale, values) => (scale || (suitsLog(values) ? "log" : "linear")) === "log";
    const log = { x: isLog(state.xscale, xs), y: isLog(state.yscale, points.map((point) => point.y)) };
    const usable = points.filter((point) => (!log.x || point.x > 0) && (!log.y || point.y > 0));
    const front = state.front === "yes" ? frontOf(usable, this.x, this.y) : [];
    const missing = page.shown.length - usable.length;
    const rings = unbeaten(usable, front, this.x, this.y);
    this.sentence.textContent = scatterSentence({ shown: usable.length, missing, front, rings, x: this.x, y: this.y });
    drawLegend(this.legend, usable);
    const { stage, svg } = pointChart({
      name: `${this.y.heading} against ${this.x.heading}`,
      summary: this.sentence.textContent,
      options: scatterOptions({ points: usable, x: this.x, y: this.y, log, front, rings, width: widthFor(this.stage), height: 460, state, small: false }),
      points: usable,
      tell: (point) => [shortName(fleet.saes[point.sae].name), `${this.y.heading}: ${fullText(this.y.at_sae(point.sae))}`,
        `${this.x.heading}: ${fullText(this.x.at_sae(point.sae))}`, ...signsOf(fleet.saes[point.sae]).map(([sign, why]) => `${sign} ${why}`)],
      pick: (point) => togglePin(point.sae),
    });
    this.svg = svg;
    this.stage.replaceChildren(stage);
    const turn = (this.turn = {});
    const isCurrent = () => this.turn === turn && page.view === this;
    const lacksRings = front.length && ![this.x, this.y].every(hasReplicates);
    whenIdle(() => isCurrent() && (lacksRings ? loadReplicates([this.x, this.y]).then(() => isCurrent() && draw(), failed) : this.drawSmall(log)));
  },

  buildControls() {
    const scale = (name) => choice(`${name} scale`, [["", [["", "automatic"], ["log", "log"], ["linear", "linear"]]]], "", (value) => change({ [`${name}scale`]: value }));
    const axis = (title, name) => choice(title, columnGroups(), "", (id) => change({ [name]: id }));
    const onOff = (title, name) => toggle(title, true, (isOn) => change({ [name]: isOn ? "yes" : "no" }));
    const parts = { x: axis("Horizontal", "x"), xscale: scale("x"), y: axis("Vertical", "y"), yscale: scale("y"),
      intervals: onOff("Intervals", "intervals"), front: onOff("Pareto front", "front"), lines: onOff("Lines by label", "lines") };
    const swap = button("Swap axes", () => change({ x: this.y.id, y: this.x.id }));
    this.fields = Object.entries(parts).map(([name, node]) => [name, node.querySelector("select, input")]);
    return [parts.x, parts.xscale, parts.y, parts.yscale, swap, parts.intervals, parts.front, parts.lines];
  },

  refreshControls() {
    const values = { ...page.state, x: this.x.id, y: this.y.id };
    for (const [name, field] of this.fields) {
      if (field.type === "checkbox") field.checked = values[name] === "yes";
      else if (field.value !== values[name]) field.value = values[name];
    }
  },

  /** The main columns against the same horizontal axis; a click on one makes it the large one. */
  drawSmall(log) {
    const suits = (column) => suitsLog(page.shown.map((sae) => column.at_sae(sae).value).filter((value) => !Number.isNaN(value)));
    const columns = mainColumns().filter((column) => column.id !== this.x.id && column.numbers);
    const width = Math.max(210, Math.min(320, Math.floor((this.small.clientWidth || 900) / Math.max(2, Math.min(4, Math.floor((this.small.clientWidth || 900) / 240)))) - 12));
    this.small.replaceChildren(...columns.map((column) => {
      const points = scatterPoints(page.shown, this.x, column).filter((point) => !log.x || point.x > 0);
      const svg = plainSvg(Plot.plot(scatterOptions({ points: points.filter(({ y }) => !suits(column) || y > 0), x: this.x, y: column, log: { x: log.x, y: suits(column) }, front: [], width, height: 190, state: page.state, small: true })),
        `${column.heading} against ${this.x.heading}`, `${plural(points.length, "SAE")}.`);
      return button([element("span", { class: "multiple-title" }, `${column.heading} ${ARROWS[column.direction]}`), svg], () => { change({ y: column.id }); scrollTo(0, 0); },
        { class: `multiple${column.id === this.y.id ? " is-chosen" : ""}`, "aria-label": `Show ${column.heading} in large` });
    }));
  },
};

function scatterPoints(saes, x, y) {
  const points = [];
  for (const sae of saes) {
    const [nx, ny] = [x.at_sae(sae), y.at_sae(sae)];
    if (!Number.isNaN(nx.value) && !Number.isNaN(ny.value)) points.push({ sae, x: nx.value, y: ny.value, nx, ny, about: fleet.saes[sae] });
  }
  return points;
}

/** The Pareto front of the trained SAEs that do not interpolate; empty where an axis has no better end. */
function frontOf(points, x, y) {
  const sign = (column) => ({ higher: 1, lower: -1 })[column.direction];
  if (!sign(x) || !sign(y)) return [];
  return paretoFront(points.filter(({ about }) => about.interpolates !== "most" && about.interpolates !== "some" && !about.control), sign(x), sign(y));
}

/** The trained SAEs that none on the front is distinguishably better than in both columns; empty until that is known. */
function unbeaten(points, front, x, y) {
  if (!front.length || ![x, y].every(hasReplicates)) return [];
  const isBetter = (column, a, b) => {
    const sign = column.direction === "higher" ? 1 : -1;
    return sign * (column.at_sae(a).value - column.at_sae(b).value) > 0 && areToldApart(column, a, b, testedLevel(column));
  };
  return points.filter(({ sae, about }) => about.contends && !front.some((best) => isBetter(x, best.sae, sae) && isBetter(y, best.sae, sae)));
}

function scatterSentence({ shown, missing, front, rings, x, y }) {
  const parts = [`${plural(shown, "SAE")} shown`];
  if (missing) parts.push(`${missing} without a place here (a number is missing, or not positive on a logarithmic axis)`);
  if (front.length) parts.push(`${front.length} on the Pareto front (${x.heading} ${ARROWS[x.direction]}, ${y.heading} ${ARROWS[y.direction]}), controls and interpolating ones left out`);
  if (rings.length) parts.push(`${rings.length} ringed: none on the front is distinguishably better in both`);
  return `${parts.join("; ")}.`;
}

function scatterOptions({ points, x, y, log, front, rings = [], width, height, state, small }) {
  const pins = new Set(state.pin), ordered = [...points].sort((a, b) => Boolean(b.about.control) - Boolean(a.about.control) || pins.has(a.about.name) - pins.has(b.about.name));
  const look = (part) => (point) => lookOf(point.about)[part];
  const size = small ? 3 : 5.5;
  const fits = (low, high, isLog) => (isLog ? low > 0 : true) && Number.isFinite(low) && Number.isFinite(high);
  const bars = (small && points.length > 60) || state.intervals === "no" ? [] : [
    intervalBars(ordered.filter(({ ny }) => fits(ny.low, ny.high, log.y)), ({ x, ny }) => [[x, ny.low], [x, ny.high]], small),
    small ? null : intervalBars(ordered.filter(({ nx }) => fits(nx.low, nx.high, log.x)), ({ y, nx }) => [[nx.low, y], [nx.high, y]], small),
  ];
  const levels = levelsOf(y).filter((level) => !log.y || level.value > 0);
  return {
    width, height, marginLeft: small ? 44 : 64, marginBottom: small ? 26 : 46, marginRight: 16, marginTop: small ? 8 : 22, className: "plot",
    style: { background: "none", fontSize: small ? "10px" : "12px", overflow: "visible" },
    x: { type: log.x ? "log" : "linear", label: small ? null : `${x.heading} ${ARROWS[x.direction]}`, grid: !small, domain: roomyDomain(points.flatMap(({ x, nx }) => [x, nx.low, nx.high]), log.x), ticks: small ? 4 : undefined, tickFormat: log.x ? logTick : undefined, labelAnchor: "center", labelArrow: "none" },
    y: { type: log.y ? "log" : "linear", label: small ? null : `${y.heading} ${ARROWS[y.direction]}`, grid: true, domain: roomyDomain([...points.flatMap(({ y, ny }) => [y, ny.low, ny.high]), ...levels.map((level) => level.value)], log.y), ticks: small ? 4 : undefined, tickFormat: log.y ? logTick : undefined, labelArrow: "none" },
    symbol: { type: "identity" },
    marks: [
      Plot.ruleY(levels, { y: "value", stroke: "var(--level)", strokeDasharray: "5 4", strokeWidth: 1.2 }),
      small ? null : Plot.text(apartLevels(levels), { y: "value", text: "title", frameAnchor: "right", textAnchor: "end", dy: -6, fill: "var(--muted)", fontSize: 11 }),
      state.lines === "yes" ? Plot.line([...points].sort((a, b) => a.x - b.x), { x: "x", y: "y", z: (p) => `${p.about.label} ${p.about.d_sae} ${p.about.site}`, stroke: look("color"), strokeOpacity: 0.5 }) : null,
      front.length > 1 ? Plot.line(front, { x: "x", y: "y", sort: "x", curve: "linear", stroke: "var(--accent)", strokeWidth: 8, strokeOpacity: 0.18, strokeLinejoin: "round", strokeLinecap: "round" }) : null,
      ...bars,
      Plot.dot(ordered, { x: "x", y: "y", symbol: look("symbol"), r: (p) => (p.about.control ? size * 0.8 : size), fill: look("fill"), fillOpacity: look("fillOpacity"), stroke: look("stroke"), strokeWidth: look("strokeWidth") }),
      Plot.dot(rings, { x: "x", y: "y", r: size * 1.6, stroke: "var(--accent)", strokeOpacity: 0.75, strokeWidth: 1.2 }),
      Plot.dot(ordered.filter(({ about }) => pins.has(about.name)), { x: "x", y: "y", r: size * 2.1, stroke: "var(--ink)", strokeWidth: 2 }),
      small ? null : Plot.text(ordered.filter(({ about }) => pins.has(about.name)), { x: "x", y: "y", text: (p) => shortName(p.about.name, 28), dy: -14, fill: "var(--ink)", stroke: "var(--surface)", strokeWidth: 4, fontWeight: 600 }),
    ].filter(Boolean),
  };
}

/** The intervals of a label as one path: a line each would take most of the time of a picture. */
function intervalBars(points, ends, small) {
  const corners = points.flatMap((point) => [...ends(point), [NaN, NaN]].map(([x, y]) => ({ x, y, label: point.about.label, color: lookOf(point.about).color })));
  return Plot.line(corners, { x: "x", y: "y", z: "label", stroke: "color", strokeOpacity: 0.6, strokeWidth: small ? 1 : 1.4 });
}

/** From the smallest to the largest of these, with a margin, so that no mark lies on an axis. */
function roomyDomain(values, log) {
  const [low, high] = d3.extent(values.filter((value) => Number.isFinite(value) && (!log || value > 0)));
  if (low === undefined) return log ? [1, 10] : [0, 1];
  if (log) return [low / (high / low) ** 0.05 / 1.05, high * (high / low) ** 0.05 * 1.05];
  const margin = 0.05 * (high - low) || Math.abs(low) * 0.05 || 0.5;
  return [low - margin, high + margin];
}

const logTick = (value) => (/^[125]/.test(value.toExponential()) ? tickText(value) : "");

/** What needs no SAE, by column: those of sites that are shown, each level once. */
function levelsOf(column) {
  const place = fleet.columns.indexOf(column);
  const sites = new Set(page.shown.map((sae) => fleet.saes[sae].site));
  const levels = fleet.levels.filter((level) => level.column === place && sites.has(level.site));
  const several = new Set(levels.map((level) => level.site)).size > 1;
  return levels.map((level) => ({ ...level, title: visible(level.title) + (several ? ` (${visible(level.site)})` : "") }));
}

/** Titles of levels that lie on top of one another stand on one line together. */
function apartLevels(levels) {
  const sorted = [...levels].sort((a, b) => a.value - b.value);
  const span = Math.max(...sorted.map((l) => Math.abs(l.value)), 1e-12);
  const groups = [];
  for (const level of sorted) {
    if (groups.length && Math.abs(level.value - groups.at(-1).value) < 0.02 * span) groups.at(-1).title += `, ${level.title}`;
    else groups.push({ ...level });
  }
  return groups;
}

function drawLegend(list, points) {
  const present = [...new Set(points.map((point) => point.about.label))];
  const order = [...fleet.labels.keys()].filter((label) => present.includes(label));
  const hollow = points.some(({ about }) => about.interpolates === "most");
  const notes = [hollow ? "hollow: interpolates most of the text" : "", points.some(({ about }) => about.control) ? "smaller: controls" : ""];
  list.replaceChildren(...order.map((label) => element("li", {}, glyph({ label }, 14), element("span", {}, shortName(labelTitle(label), 34)))),
    ...notes.filter(Boolean).map((note) => element("li", { class: "muted" }, note)));
}
