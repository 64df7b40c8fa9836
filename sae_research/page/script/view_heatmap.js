// SAEs by row and headline columns by column: shaded by rank or by value, brighter is better.

const NAME_WIDTH = 210, HEAD_HEIGHT = 190, ROOM_FOR_HEADS = 130;

const heatmapView = {
  id: "heatmap",
  title: "Heat map",

  mount(root) {
    this.canvas = element("canvas", { "aria-hidden": "true" });
    this.tip = element("div", { class: "tip", hidden: true });
    this.stage = element("div", { class: "stage heat", tabindex: 0, role: "application", "aria-roledescription": "heat map" }, this.canvas, this.tip);
    this.controls = element("div", { class: "controls" });
    this.sentence = element("p", { class: "sentence" });
    root.replaceChildren(
      element("div", { class: "view-head" }, element("div", {}, element("h2", {}, "All columns at a glance"), this.sentence),
        element("div", { class: "tools" }, button("SVG", () => saveFile("heatmap.svg", "image/svg+xml", this.asSvg())), button("CSV", () => saveCsv("heatmap", numbersAsRows(this.order, this.columns))))),
      this.controls, element("div", { class: "scroller", tabindex: -1 }, this.stage), heatKey());
    this.stage.addEventListener("pointermove", (event) => this.showAt(this.cellAt(event), false));
    this.stage.addEventListener("pointerleave", () => this.showAt(null, false));
    this.stage.addEventListener("click", (event) => {
      const cell = this.cellAt(event);
      if (cell) togglePin(this.order[cell.row]);
      else this.sortByHead(event);
    });
    this.stage.addEventListener("keydown", (event) => this.walk(event));
  },

  draw() {
    const { state } = page;
    this.columns = state.column.length ? chosenColumns(state).filter((column) => column.numbers) : headlineColumns();
    this.order = sortedSaes(page.shown, state);
    this.shades = this.columns.map((column) => shadesOf(column, this.order, state.shade));
    this.sentence.textContent = `${plural(this.order.length, "SAE")} by ${plural(this.columns.length, "column")}; brighter is better within a column, by ${state.shade}. A click pins; a click on a title sorts.`;
    this.stage.setAttribute("aria-label", `Heat map. ${this.sentence.textContent} Arrow keys go from cell to cell, Enter pins.`);
    const orders = [["l0", "L0"], ["name", "name"], ["label", "label"]];
    this.controls.replaceChildren(
      choice("Shade by", [["", [["rank", "rank"], ["value", "value"]]]], state.shade, (shade) => change({ shade })),
      choice("Sort by", [["", orders], ...columnGroups(this.columns)], state.sort, (sort) => change({ sort, order: "" })));
    this.paint();
  },

  paint() {
    const height = this.order.length > 120 ? 8 : this.order.length > 60 ? 14 : 22;
    const width = Math.max(20, Math.min(46, Math.floor((widthFor(this.stage.parentElement, 2400) - NAME_WIDTH - ROOM_FOR_HEADS - 16) / Math.max(this.columns.length, 1))));
    Object.assign(this, { cellHeight: height, cellWidth: width });
    const size = { width: NAME_WIDTH + width * this.columns.length + ROOM_FOR_HEADS, height: HEAD_HEIGHT + height * this.order.length + 4 };
    const ratio = Math.min(devicePixelRatio || 1, 2);
    Object.assign(this.canvas, { width: size.width * ratio, height: size.height * ratio });
    Object.assign(this.canvas.style, { width: `${size.width}px`, height: `${size.height}px` });
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    heatPicture(this, (shape) => paintShape(pen, shape));
  },

  asSvg() {
    const shapes = [];
    heatPicture(this, (shape) => shapes.push(svgShape(shape)));
    const svg = svgElement("svg", { width: parseFloat(this.canvas.style.width), height: parseFloat(this.canvas.style.height), "font-family": "system-ui, sans-serif" }, ...shapes);
    svg.setAttribute("xmlns", SVG_SPACE);
    return new XMLSerializer().serializeToString(svg);
  },

  cellAt(event) {
    const box = this.canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left - NAME_WIDTH) / this.cellWidth), row = Math.floor((event.clientY - box.top - HEAD_HEIGHT) / this.cellHeight);
    return column >= 0 && column < this.columns.length && row >= 0 && row < this.order.length ? { row, column } : null;
  },

  sortByHead(event) {
    const box = this.canvas.getBoundingClientRect();
    const column = this.columns[Math.floor((event.clientX - box.left - NAME_WIDTH) / this.cellWidth)];
    if (column && event.clientY - box.top < HEAD_HEIGHT) change({ sort: column.id, order: "" });
  },

  showAt(cell, aloud) {
    this.cell = cell;
    this.tip.hidden = !cell;
    if (!cell) return;
    const column = this.columns[cell.column], about = fleet.saes[this.order[cell.row]];
    const lines = [shortName(about.name), `${column.heading} ${ARROWS[column.direction]}: ${fullText(column.at_sae(about.place))}`];
    this.tip.replaceChildren(...lines.map((line, i) => element("div", { class: i ? "" : "tip-head" }, line)));
    const left = NAME_WIDTH + (cell.column + 1) * this.cellWidth + 8;
    const flips = left + 240 > parseFloat(this.canvas.style.width);
    this.tip.style.left = `${flips ? left - this.cellWidth - this.tip.offsetWidth - 16 : left}px`;
    this.tip.style.top = `${HEAD_HEIGHT + cell.row * this.cellHeight - 8}px`;
    if (aloud) announce(lines.join("; "));
    highlight(about.place);
  },

  walk(event) {
    const steps = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
    const step = steps[event.key];
    if (step && this.order.length && this.columns.length) {
      const from = this.cell ?? { row: 0, column: -1 };
      const within = (value, count) => Math.min(Math.max(value, 0), count - 1);
      this.showAt({ row: within(from.row + step[0], this.order.length), column: within(from.column + step[1], this.columns.length) }, true);
    } else if (event.key === "Enter" && this.cell) togglePin(this.order[this.cell.row]);
    else if (event.key === "Escape") this.showAt(null, false);
    else return;
    event.preventDefault();
  },
};

/** By SAE a shade from 0 to 1, 1 for the best; NaN where there is no number. */
function shadesOf(column, saes, by) {
  const sign = column.direction === "lower" ? -1 : 1;
  const values = saes.map((sae) => sign * column.at_sae(sae).value);
  const present = values.filter((value) => !Number.isNaN(value)).sort((a, b) => a - b);
  const [low, high] = [present[0], present.at(-1)];
  return values.map((value) => {
    if (Number.isNaN(value) || high === low) return Number.isNaN(value) ? NaN : 1;
    if (by === "value") return (value - low) / (high - low);
    return (d3.bisectRight(present, value) - 1) / (present.length - 1);
  });
}

/** Tells `draw` every shape of the picture, for the canvas and for SVG alike. */
function heatPicture({ order, columns, shades, cellWidth, cellHeight }, draw) {
  const css = getComputedStyle(document.body), color = (name) => css.getPropertyValue(name).trim();
  const [ink, muted, ground] = [color("--ink"), color("--muted"), color("--ground")];
  const pins = new Set(page.state.pin);
  columns.forEach((column, i) =>
    draw({ kind: "text", text: shortName(`${column.heading} ${ARROWS[column.direction]}`, 40), x: NAME_WIDTH + i * cellWidth + cellWidth / 2, y: HEAD_HEIGHT - 6, size: 11, turn: -52, fill: column.id === page.state.sort ? ink : muted, bold: column.id === page.state.sort }));
  order.forEach((sae, row) => {
    const about = fleet.saes[sae], y = HEAD_HEIGHT + row * cellHeight;
    if (cellHeight >= 14) draw({ kind: "text", text: shortName(about.name, 32), x: NAME_WIDTH - 8, y: y + cellHeight / 2 + 4, size: 11, end: true, fill: pins.has(about.name) ? color("--accent") : about.control ? muted : ink, bold: pins.has(about.name) });
    columns.forEach((column, i) => {
      const shade = shades[i][row], x = NAME_WIDTH + i * cellWidth;
      if (Number.isNaN(shade)) draw({ kind: "cross", x: x + 0.5, y: y + 0.5, width: cellWidth - 1, height: cellHeight - 1, fill: ground, stroke: muted });
      else draw({ kind: "rect", x: x + 0.5, y: y + 0.5, width: cellWidth - 1, height: cellHeight - 1, fill: column.direction === "neither" ? d3.interpolateGreys(0.15 + 0.6 * shade) : d3.interpolateViridis(shade) });
    });
  });
}

function paintShape(pen, shape) {
  if (shape.kind === "text") {
    pen.save();
    pen.translate(shape.x, shape.y);
    if (shape.turn) pen.rotate((shape.turn * Math.PI) / 180);
    pen.fillStyle = shape.fill;
    pen.textAlign = shape.end ? "right" : "left";
    pen.font = `${shape.bold ? "600 " : ""}${shape.size}px system-ui, sans-serif`;
    pen.fillText(shape.text, 0, 0);
    pen.restore();
    return;
  }
  pen.fillStyle = shape.fill;
  pen.fillRect(shape.x, shape.y, shape.width, shape.height);
  if (shape.kind !== "cross") return;
  pen.strokeStyle = shape.stroke;
  pen.lineWidth = 0.7;
  pen.beginPath();
  pen.moveTo(shape.x + 2, shape.y + shape.height - 2);
  pen.lineTo(shape.x + shape.width - 2, shape.y + 2);
  pen.stroke();
}

function svgShape(shape) {
  if (shape.kind === "text") {
    return svgElement("text", { transform: `translate(${shape.x},${shape.y}) rotate(${shape.turn ?? 0})`, fill: shape.fill, "font-size": shape.size, "font-weight": shape.bold ? 600 : null, "text-anchor": shape.end ? "end" : null }, shape.text);
  }
  const { x, y, width, height, fill } = shape;
  const rect = svgElement("rect", { x, y, width, height, fill });
  return shape.kind === "rect" ? rect : svgElement("g", {}, rect, svgElement("line", { x1: x + 2, y1: y + height - 2, x2: x + width - 2, y2: y + 2, stroke: shape.stroke }));
}

function heatKey() {
  const stops = d3.range(0, 1.01, 0.1).map((share) => d3.interpolateViridis(share));
  return element("p", { class: "key" }, "worst ", element("span", { class: "key-bar", style: { background: `linear-gradient(to right, ${stops.join(",")})` } }), " best · a stroke: no number · grey: neither end is better");
}
