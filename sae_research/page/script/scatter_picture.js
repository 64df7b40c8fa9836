// The picture of metric against metric: points, intervals, fronts, levels.

function scatterOptions({ points, x, y, log, front, rings = [], opposed = false, width, height, state, small }) {
  const pins = new Set(state.pin),
    ordered = [...points].sort(
      (a, b) => Boolean(b.about.control) - Boolean(a.about.control) || pins.has(a.about.name) - pins.has(b.about.name),
    );
  const look = (part) => (point) => lookOf(point.about)[part];
  const size = small ? 3 : 5.5;
  const fits = (low, high, isLog) => (isLog ? low > 0 : true) && Number.isFinite(low) && Number.isFinite(high);
  const bars =
    (small && points.length > 60) || state.intervals === "no"
      ? []
      : [
          intervalBars(
            ordered.filter(({ ny }) => fits(ny.low, ny.high, log.y)),
            ({ x, ny }) => [
              [x, ny.low],
              [x, ny.high],
            ],
            small,
          ),
          small
            ? null
            : intervalBars(
                ordered.filter(({ nx }) => fits(nx.low, nx.high, log.x)),
                ({ y, nx }) => [
                  [nx.low, y],
                  [nx.high, y],
                ],
                small,
              ),
        ];
  const levels = levelsOf(y).filter((level) => !log.y || level.value > 0);
  return {
    width,
    height,
    marginLeft: small ? 44 : 64,
    marginBottom: small ? 26 : 46,
    marginRight: 16,
    marginTop: small ? 8 : 22,
    className: "plot",
    style: { background: "none", fontSize: small ? "10px" : "12px", overflow: "visible" },
    x: {
      type: log.x ? "log" : "linear",
      label: small ? null : `${x.heading} ${ARROWS[x.direction]}`,
      grid: !small,
      domain: roomyDomain(
        points.flatMap(({ x, nx }) => [x, nx.low, nx.high]),
        log.x,
      ),
      ticks: small ? 4 : undefined,
      tickFormat: log.x ? logTick : undefined,
      labelAnchor: "center",
      labelArrow: "none",
    },
    y: {
      type: log.y ? "log" : "linear",
      label: small ? null : `${y.heading} ${ARROWS[y.direction]}`,
      grid: true,
      domain: roomyDomain(
        [...points.flatMap(({ y, ny }) => [y, ny.low, ny.high]), ...levels.map((level) => level.value)],
        log.y,
      ),
      ticks: small ? 4 : undefined,
      tickFormat: log.y ? logTick : undefined,
      labelArrow: "none",
    },
    symbol: { type: "identity" },
    marks: [
      Plot.ruleY(levels, { y: "value", stroke: "var(--level)", strokeDasharray: "5 4", strokeWidth: 1.2 }),
      small
        ? null
        : Plot.text(apartLevels(levels), {
            y: "value",
            text: "title",
            frameAnchor: "right",
            textAnchor: "end",
            dy: -6,
            fill: "var(--muted)",
            fontSize: 11,
          }),
      opposed ? equalLine(points) : null,
      state.lines === "yes"
        ? Plot.line(
            [...points].sort((a, b) => a.x - b.x),
            {
              x: "x",
              y: "y",
              z: (p) => `${p.about.label} ${p.about.d_sae} ${p.about.site}`,
              stroke: look("color"),
              strokeOpacity: 0.5,
            },
          )
        : null,
      front.length > 1
        ? Plot.line(front, {
            x: "x",
            y: "y",
            sort: "x",
            curve: "linear",
            stroke: "var(--accent)",
            strokeWidth: 8,
            strokeOpacity: 0.18,
            strokeLinejoin: "round",
            strokeLinecap: "round",
          })
        : null,
      ...bars,
      Plot.dot(ordered, {
        x: "x",
        y: "y",
        symbol: look("symbol"),
        r: (p) => (p.about.control ? size * 0.8 : size),
        fill: look("fill"),
        fillOpacity: look("fillOpacity"),
        stroke: look("stroke"),
        strokeWidth: look("strokeWidth"),
      }),
      Plot.dot(rings, {
        x: "x",
        y: "y",
        r: size * 1.6,
        stroke: "var(--accent)",
        strokeOpacity: 0.75,
        strokeWidth: 1.2,
      }),
      Plot.dot(
        ordered.filter(({ about }) => pins.has(about.name)),
        { x: "x", y: "y", r: size * 2.1, stroke: "var(--ink)", strokeWidth: 2 },
      ),
      small
        ? null
        : Plot.text(
            ordered.filter(({ about }) => pins.has(about.name)),
            {
              x: "x",
              y: "y",
              text: (p) => shortName(p.about.name, 28),
              dy: -14,
              fill: "var(--ink)",
              stroke: "var(--surface)",
              strokeWidth: 4,
              fontWeight: 600,
            },
          ),
    ].filter(Boolean),
  };
}

/** Where both numbers are equal. */
function equalLine(points) {
  const [low, high] = d3.extent(points.flatMap(({ x, y }) => [x, y]));
  const ends = [low, high].map((value) => ({ x: value, y: value }));
  return Plot.line(ends, { x: "x", y: "y", stroke: "var(--muted)", strokeDasharray: "2 4", clip: true });
}

/** The intervals of a label as one path: a line each would take most of the time of a picture. */
function intervalBars(points, ends, small) {
  const corners = points.flatMap((point) =>
    [...ends(point), [NaN, NaN]].map(([x, y]) => ({
      x,
      y,
      label: point.about.label,
      color: lookOf(point.about).color,
    })),
  );
  return Plot.line(corners, {
    x: "x",
    y: "y",
    z: "label",
    stroke: "color",
    strokeOpacity: 0.6,
    strokeWidth: small ? 1 : 1.4,
  });
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
  const sites = new Set(page.shown.map((sae) => fleet.saes[sae].site));
  return fleet.levels
    .filter((level) => level.numbers.has(column) && sites.has(level.site))
    .map((level) => ({ title: level.title, value: level.numbers.get(column).value }));
}

/** Titles of levels that lie on top of one another stand on one line together. */
function apartLevels(levels) {
  const sorted = [...levels].sort((a, b) => a.value - b.value);
  const span = Math.max(...sorted.map((l) => Math.abs(l.value)), 1e-12);
  const groups = [];
  for (const level of sorted) {
    if (groups.length && Math.abs(level.value - groups.at(-1).value) < 0.02 * span)
      groups.at(-1).title += `, ${level.title}`;
    else groups.push({ ...level });
  }
  return groups;
}

function drawLegend(list, points) {
  const present = [...new Set(points.map((point) => point.about.label))];
  const order = [...fleet.labels.keys()].filter((label) => present.includes(label));
  const hollow = points.some(({ about }) => about.interpolates === "most");
  const notes = [
    hollow ? "hollow: interpolates most of the text" : "",
    points.some(({ about }) => about.control) ? "smaller: controls" : "",
  ];
  list.replaceChildren(
    ...order.map((label) =>
      element("li", {}, glyph({ label }, 14), element("span", {}, shortName(labelTitle(label), 34))),
    ),
    ...notes.filter(Boolean).map((note) => element("li", { class: "muted" }, note)),
  );
}
