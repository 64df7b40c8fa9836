// How an SAE looks: the shape and colour of its label, hollow where it interpolates.

/** A symbol of Plot's: a polygon whose corners are at these angles (in turns, 0 is up) and radii. */
function polygon(corners, scale) {
  return {
    draw(context, size) {
      const radius = Math.sqrt(size) * scale;
      corners.forEach(([turn, distance], i) => {
        const x = Math.sin(2 * Math.PI * turn) * distance * radius,
          y = -Math.cos(2 * Math.PI * turn) * distance * radius;
        if (i) context.lineTo(x, y);
        else context.moveTo(x, y);
      });
      context.closePath();
    },
  };
}

const regular = (n, from, scale) =>
  polygon(
    Array.from({ length: n }, (_, i) => [from + i / n, 1]),
    scale,
  );
const star = (n, from, inner, scale) =>
  polygon(
    Array.from({ length: 2 * n }, (_, i) => [from + i / (2 * n), i % 2 ? inner : 1]),
    scale,
  );
const cross = (from) =>
  polygon(
    [-0.0738, 0.0738, 0.125, 0.1762, 0.3238, 0.375, 0.4262, 0.5738, 0.625, 0.6762, 0.8238, 0.875].map((turn, i) => [
      turn + from,
      i % 3 === 2 ? 0.6325 : 1,
    ]),
    0.68,
  );

/** Matplotlib's markers, which params.yaml names. */
const MARKERS = {
  o: "circle",
  s: regular(4, 0.125, 0.72),
  "^": regular(3, 0, 0.8),
  v: regular(3, 0.5, 0.8),
  "<": regular(3, 0.75, 0.8),
  ">": regular(3, 0.25, 0.8),
  D: regular(4, 0, 0.74),
  d: polygon(
    [
      [0, 1],
      [0.25, 0.6],
      [0.5, 1],
      [0.75, 0.6],
    ],
    0.82,
  ),
  p: regular(5, 0, 0.68),
  h: regular(6, 0, 0.66),
  H: regular(6, 1 / 12, 0.66),
  8: regular(8, 1 / 16, 0.63),
  P: cross(0),
  X: cross(0.125),
  "*": star(5, 0, 0.42, 0.95),
};

const looks = new Map();

function lookOf(about) {
  const key = `${about.label} ${about.interpolates} ${about.source}`;
  if (!looks.has(key)) looks.set(key, newLook(about));
  return looks.get(key);
}

function newLook(about) {
  const look = fleet.labels.get(about.label);
  const color = look?.color ?? "#888888";
  const hollow = about.interpolates === "most";
  return {
    symbol: MARKERS[look?.marker] ?? "circle",
    color,
    stroke: hollow ? color : `color-mix(in oklab, ${color} 62%, var(--ink))`,
    fill: hollow ? "var(--surface)" : color,
    fillOpacity: about.interpolates === "some" ? 0.35 : about.source === "published" ? 0.45 : 1,
    strokeWidth: hollow ? 1.8 : 1,
  };
}

const labelTitle = (label) => visible(fleet.labels.get(label)?.title ?? label);

/** The marker of an SAE as a small picture, which says nothing to screen readers. */
function glyph(about, size = 12) {
  if (about.isLevel) return levelGlyph(size);
  const look = lookOf(about);
  // Drawn once for all sizes: a page has hundreds of them.
  look.path ??= symbolPath(look.symbol);
  return svgElement(
    "svg",
    { class: "glyph", width: size, height: size, viewBox: "-6 -6 12 12", "aria-hidden": "true" },
    svgElement("path", {
      d: look.path,
      style: { fill: look.fill, stroke: look.stroke },
      "fill-opacity": look.fillOpacity,
      "stroke-width": look.strokeWidth,
    }),
  );
}

/** A piece of the line that stands for what was measured without an SAE. */
function levelGlyph(size) {
  const line = svgElement("line", { x1: -6, x2: 6, y1: 0, y2: 0, class: "level-line" });
  return svgElement(
    "svg",
    { class: "glyph", width: size, height: size, viewBox: "-6 -6 12 12", "aria-hidden": "true" },
    line,
  );
}

function symbolPath(symbol) {
  const path = d3.path();
  (typeof symbol === "string" ? d3.symbolCircle : symbol).draw(path, 52);
  return path.toString();
}
