// A chart of points: drawn by Plot, told in words, walked through by mouse and by keyboard.

const SMALLEST_CHART = 280;

/**
 * A figure around a chart of Plot's. `points` are {sae, x, y} in the units of the axes, `tell(point)` says one in
 * words, `pick(point)` is called by a click or Enter. A click or Enter on a point pins its SAE.
 */
function pointChart({ name, summary, options, points, tell, pick }) {
  const svg = plainSvg(Plot.plot(options), name, summary);
  const scales = { x: svg.scale?.("x"), y: svg.scale?.("y") };
  const places = points
    .map((point) => ({ point, left: scales.x.apply(point.x), top: scales.y.apply(point.y) }))
    .filter(({ left, top }) => Number.isFinite(left) && Number.isFinite(top))
    .sort((a, b) => a.left - b.left || a.top - b.top);
  const tip = element("div", { class: "tip", hidden: true });
  const ring = svgElement("circle", { class: "ring", r: 10, visibility: "hidden" });
  svg.append(ring);
  const stage = element(
    "div",
    {
      class: "stage",
      tabindex: 0,
      role: "application",
      "aria-roledescription": "chart",
      "aria-label": `${name}. ${summary} Arrow keys go from point to point, Enter pins.`,
    },
    svg,
    tip,
  );
  let current = -1;

  function show(place, aloud) {
    current = place;
    const here = places[place];
    ring.setAttribute("visibility", here ? "visible" : "hidden");
    tip.hidden = !here;
    if (!here) return;
    ring.setAttribute("cx", here.left);
    ring.setAttribute("cy", here.top);
    const lines = tell(here.point);
    tip.replaceChildren(...lines.map((line, i) => element("div", { class: i ? "" : "tip-head" }, line)));
    const [width, height] = [svg.clientWidth, svg.clientHeight];
    const scale = width / (svg.viewBox.baseVal.width || width);
    const flip = here.left * scale > width * 0.6;
    tip.style.left = flip ? "auto" : `${here.left * scale + 14}px`;
    tip.style.right = flip ? `${width - here.left * scale + 14}px` : "auto";
    tip.style.top = `${Math.min(Math.max(here.top * scale - 20, 4), Math.max(height - tip.offsetHeight - 4, 4))}px`;
    if (aloud) announce(lines.join("; "));
    highlight(here.point.sae);
  }

  function nearest(event) {
    const box = svg.getBoundingClientRect();
    const scale = (svg.viewBox.baseVal.width || box.width) / box.width;
    const [x, y] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    let best = -1,
      distance = 28;
    places.forEach(({ left, top }, i) => {
      const apart = Math.hypot(left - x, top - y);
      if (apart < distance) [best, distance] = [i, apart];
    });
    return best;
  }

  stage.addEventListener("pointermove", (event) => show(nearest(event), false));
  stage.addEventListener("pointerleave", () => show(-1, false));
  stage.addEventListener("blur", () => show(-1, false));
  stage.addEventListener("click", (event) => {
    const place = nearest(event);
    if (place >= 0) pick(places[place].point);
  });
  stage.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (step && places.length)
      show((Math.max(current, step > 0 ? -1 : 0) + step + places.length) % places.length, true);
    else if (event.key === "Home" && places.length) show(0, true);
    else if (event.key === "End" && places.length) show(places.length - 1, true);
    else if (event.key === "Enter" && places[current]) pick(places[current].point);
    else if (event.key === "Escape") show(-1, false);
    else return;
    event.preventDefault();
  });
  return { stage, svg };
}

/** Plot's picture as one image with a name: its parts say nothing by themselves. */
function plainSvg(plot, name, summary) {
  const svg = plot.tagName.toLowerCase() === "svg" ? plot : plot.querySelector("svg");
  for (const node of svg.querySelectorAll("[aria-label], [aria-description]")) {
    node.removeAttribute("aria-label");
    node.removeAttribute("aria-description");
  }
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${name}. ${summary}`);
  if (plot !== svg) svg.scale = plot.scale;
  return svg;
}

/** The numbers behind a chart, made when they are asked for: `rows()` are a head and lines, as CSV has them. */
function chartTable(caption, rows) {
  const body = element("div", { class: "scroller tall", tabindex: 0, role: "region", "aria-label": caption });
  const fill = () => {
    if (!node.open) return body.replaceChildren();
    const [head, ...lines] = rows();
    body.replaceChildren(
      element(
        "table",
        { class: "facts" },
        element("caption", { class: "unseen" }, caption),
        element(
          "thead",
          {},
          element("tr", {}, ...head.map((title) => element("th", { scope: "col" }, visible(title)))),
        ),
        element("tbody", {}, ...lines.map((line) => element("tr", {}, ...line.map(chartTableCell)))),
      ),
    );
  };
  const node = element("details", { class: "fold", on: { toggle: fill } }, element("summary", {}, "As a table"), body);
  return { node, refresh: fill };
}

function chartTableCell(value) {
  if (value instanceof Node) return element("td", {}, value);
  if (typeof value === "number") return element("td", { class: "value" }, plainNumber(value, 5));
  return element("td", {}, value === null || value === undefined ? "–" : shortName(value));
}

/** The width that a chart in `root` can have. */
const widthFor = (root, widest = 1400) => Math.max(SMALLEST_CHART, Math.min(root.clientWidth || 900, widest));

/** A logarithmic axis where all numbers are positive and span a factor of ten or more. */
const suitsLog = (values) =>
  values.length > 1 && Math.min(...values) > 0 && Math.max(...values) / Math.min(...values) >= 10;

/** What stands above every chart or table: what it shows, and ways to take it along. */
function viewHead(title, sentence, ...tools) {
  return element(
    "div",
    { class: "view-head" },
    element("div", {}, element("h2", {}, title), element("p", { class: "sentence" }, sentence)),
    element("div", { class: "tools" }, ...tools),
  );
}
