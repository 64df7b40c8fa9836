// SAEs by row and headline columns by column: shaded by rank or by value, brighter is better.

const NAME_WIDTH = 210,
  HEAD_HEIGHT = 190,
  ROOM_FOR_HEADS = 130;

const heatmapView = {
  id: "heatmap",
  title: "Heat map",

  mount(root) {
    this.canvas = element("canvas", { "aria-hidden": "true" });
    this.tip = element("div", { class: "tip", hidden: true });
    this.stage = element(
      "div",
      { class: "stage heat", tabindex: 0, role: "application", "aria-roledescription": "heat map" },
      this.canvas,
      this.tip,
    );
    this.controls = element("div", { class: "controls" });
    this.sentence = element("p", { class: "sentence" });
    root.replaceChildren(
      element(
        "div",
        { class: "view-head" },
        element("div", {}, element("h2", {}, "All columns at a glance"), this.sentence),
        element(
          "div",
          { class: "tools" },
          button("As a table", () => change({ view: "table", column: this.columns.map((column) => column.id) })),
          button("SVG", () => saveFile("heatmap.svg", "image/svg+xml", this.asSvg())),
          button("CSV", () => saveCsv("heatmap", numbersAsRows(this.order, this.columns))),
        ),
      ),
      this.controls,
      element("div", { class: "scroller", tabindex: -1 }, this.stage),
      heatKey(),
    );
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
    this.stage.setAttribute(
      "aria-label",
      `Heat map. ${this.sentence.textContent} Arrow keys go from cell to cell, Enter pins.`,
    );
    const orders = [
      ["l0", "L0"],
      ["name", "name"],
      ["label", "label"],
    ];
    this.controls.replaceChildren(
      choice(
        "Shade by",
        [
          [
            "",
            [
              ["rank", "rank"],
              ["value", "value"],
            ],
          ],
        ],
        state.shade,
        (shade) => change({ shade }),
      ),
      choice("Sort by", [["", orders], ...columnGroups(this.columns)], state.sort, (sort) =>
        change({ sort, order: "" }),
      ),
    );
    this.paint();
  },

  paint() {
    const height = this.order.length > 120 ? 8 : this.order.length > 60 ? 14 : 22;
    const width = Math.max(
      20,
      Math.min(
        46,
        Math.floor(
          (widthFor(this.stage.parentElement, 2400) - NAME_WIDTH - ROOM_FOR_HEADS - 16) /
            Math.max(this.columns.length, 1),
        ),
      ),
    );
    Object.assign(this, { cellHeight: height, cellWidth: width });
    const size = {
      width: NAME_WIDTH + width * this.columns.length + ROOM_FOR_HEADS,
      height: HEAD_HEIGHT + height * this.order.length + 4,
    };
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
    const svg = svgElement(
      "svg",
      {
        width: parseFloat(this.canvas.style.width),
        height: parseFloat(this.canvas.style.height),
        "font-family": "system-ui, sans-serif",
      },
      ...shapes,
    );
    svg.setAttribute("xmlns", SVG_SPACE);
    return new XMLSerializer().serializeToString(svg);
  },

  cellAt(event) {
    const box = this.canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left - NAME_WIDTH) / this.cellWidth),
      row = Math.floor((event.clientY - box.top - HEAD_HEIGHT) / this.cellHeight);
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
    const column = this.columns[cell.column],
      about = fleet.saes[this.order[cell.row]];
    const lines = [
      shortName(about.name),
      `${column.heading} ${ARROWS[column.direction]}: ${fullText(column.numberOf(about.place))}`,
    ];
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
      this.showAt(
        {
          row: within(from.row + step[0], this.order.length),
          column: within(from.column + step[1], this.columns.length),
        },
        true,
      );
    } else if (event.key === "Enter" && this.cell) togglePin(this.order[this.cell.row]);
    else if (event.key === "Escape") this.showAt(null, false);
    else return;
    event.preventDefault();
  },
};
