// A row an SAE: values with their intervals, the best of a column and all that cannot be told from it.

/** Of the columns, in the size of the page's type. */
const ABOUT_WIDTHS = [17, 9, 4.4, 4.6],
  NARROW_WIDTHS = [11, 6, 3.6, 4],
  VALUE_WIDTH = 7.2;

const tableView = {
  id: "table",
  title: "Table",

  mount(root) {
    this.head = element("div", {});
    this.note = element("p", { class: "note" });
    this.body = element("tbody", {});
    this.table = element("table", { class: "numbers" });
    this.foot = element("tfoot", {});
    const region = element(
      "div",
      { class: "scroller", tabindex: 0, role: "region", "aria-label": "Table of SAEs" },
      this.table,
    );
    this.window = new RowWindow(region, this.body, (sae) => this.rowOf(sae));
    root.replaceChildren(
      viewHead(
        "SAEs and their numbers",
        "Each value with its 95 % interval; the strip below it shows where that lies among all SAEs.",
        columnMenu(),
        button("CSV of this table", () => saveCsv("saes", numbersAsRows(this.order, this.columns))),
        button("CSV of all columns", () => this.saveAll()),
      ),
      region,
      this.note,
    );
    this.shape = null;
    this.rows = new Map();
  },

  async draw() {
    const columns = chosenColumns(page.state);
    const sorting = fleet.columnById.get(page.state.sort);
    const needed = [...columns, ...(sorting ? [sorting] : [])].filter((column) => !column.numbers);
    if (needed.length) {
      await loadColumns(needed);
      if (page.view !== this) return;
    }
    const shape = columns.map((column) => column.id).join(" ");
    if (shape !== this.shape) this.rebuild(columns, shape);
    this.order = sortedSaes(page.shown, page.state);
    this.showOrder();
    this.mark();
    this.window.show(this.order);
    this.levels.forEach(showPin);
    if (!this.order.length)
      this.body.replaceChildren(
        element("tr", {}, element("td", { colspan: 4 + columns.length, class: "empty" }, "No SAE passes the filters.")),
      );
    if (!this.columns.every(hasReplicates))
      loadReplicates(this.columns).then(() => page.view === this && this.mark(), failed);
  },

  rebuild(columns, shape) {
    Object.assign(this, { columns, shape, rows: new Map(), spans: columns.map(spanOf) });
    this.heads = new Map();
    const evals = [];
    for (const column of columns) {
      if (evals.at(-1)?.[0] === column.eval) evals.at(-1)[1] += 1;
      else evals.push([column.eval, 1]);
    }
    const groups = element(
      "tr",
      { class: "groups" },
      element("td", { colspan: 4 }),
      ...evals.map(([name, span]) => element("th", { colspan: span, scope: "colgroup" }, visible(name))),
    );
    const titles = element(
      "tr",
      {},
      this.headOf("name", "SAE", "", ""),
      this.headOf("label", "Architecture", "", ""),
      this.headOf("d_sae", "d_sae", "", ""),
      this.headOf("l0", "L0", "", ""),
      ...columns.map((column) =>
        this.headOf(column.id, visible(column.title), placeText(column.at), column.direction, column),
      ),
    );
    this.levels = levelRows(columns);
    this.foot = element("tfoot", {}, ...this.levels);
    const widths = [...(innerWidth < 640 ? NARROW_WIDTHS : ABOUT_WIDTHS), ...columns.map(() => VALUE_WIDTH)];
    // Without a width of its own a table is not laid out in fixed columns, which takes far longer.
    this.table.style.width = `${d3.sum(widths)}rem`;
    this.table.replaceChildren(
      element("caption", { class: "unseen" }, "SAEs by row, metrics by column"),
      element("colgroup", {}, ...widths.map((width) => element("col", { style: { width: `${width}rem` } }))),
      element("thead", {}, groups, titles),
      this.body,
      this.foot,
    );
  },

  headOf(key, title, place, direction, column) {
    const signs = (column?.verdicts ?? []).filter((verdict) => fleet.verdicts[verdict]?.sign);
    const meaning = signs
      .map((verdict) => `${fleet.verdicts[verdict].sign} ${verdict}: ${fleet.verdicts[verdict].meaning}`)
      .join("\n");
    const sorter = button(
      [
        element("span", { class: "head-title" }, title),
        place ? element("span", { class: "head-place" }, place) : null,
        element(
          "span",
          { class: "head-signs" },
          `${column?.unit ? `${visible(column.unit)} ` : ""}${ARROWS[direction] ?? ""} ${signs.map((v) => fleet.verdicts[v].sign).join("")}`.trim(),
        ),
      ],
      () => this.sortBy(key),
      { class: "sorter", title: `${column ? `${column.heading}. ` : ""}${meaning || "Sort"}` },
    );
    const cell = element("th", { scope: "col", class: column ? "value" : key }, sorter);
    this.heads.set(key, cell);
    return cell;
  },

  sortBy(key) {
    const { state } = page;
    const usual = fleet.columnById.get(key)?.direction === "higher" ? "falling" : "rising";
    const other = usual === "falling" ? "rising" : "falling";
    const turn = state.sort === key && state.order !== other;
    change({ sort: key, order: turn ? other : "" });
  },

  showOrder() {
    const { state } = page;
    const column = fleet.columnById.get(state.sort);
    const falling = state.order ? state.order === "falling" : column?.direction === "higher";
    for (const [key, cell] of this.heads) {
      if (key === state.sort) cell.setAttribute("aria-sort", falling ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    }
  },

  rowOf(sae) {
    if (!this.rows.has(sae)) this.rows.set(sae, saeRow(sae, this.columns, this.spans));
    const row = this.rows.get(sae);
    showPin(row);
    if (row.marks !== this.marks) this.markRow(sae, row);
    return row;
  },

  /** Marks the best of each column and its ties, and says how many comparisons that took. */
  mark() {
    const basis = [page.shown, this.columns, this.columns.every(hasReplicates)];
    if (this.basis && basis.every((part, i) => part === this.basis[i])) return;
    this.basis = basis;
    const leaders = this.columns.map((column) => leadersOf(column, page.shown));
    this.marks = leaders.map((one) => one.marks);
    for (const row of this.body.querySelectorAll("tr[aria-rowindex]")) this.markRow(row.sae, row);
    const compared = leaders.reduce((sum, one) => sum + one.compared, 0);
    const { level, pairs } = fleet.tested.headline;
    this.note.replaceChildren(
      element("b", {}, "★"),
      " best and ",
      element("b", {}, "☆"),
      " not to be told from the best, among the trained SAEs shown of each site. ",
      this.columns.every(hasReplicates)
        ? `That took ${plural(compared, "comparison")}, each tested at ${level.toPrecision(2)}: the level of Benjamini & Hochberg over ${plural(pairs, "pair")} of the report’s columns. `
        : "Comparisons are being loaded. ",
      "Where none can be told from the best, nothing is marked. Controls, published results, and SAEs marked † ‡ § take no part. ",
      "Sort by a column’s head; pin up to six SAEs by ◇ to compare them.",
      ...this.legendOfSigns(),
    );
  },

  /** The signs that stand in heads and beside names, each with its meaning. */
  legendOfSigns() {
    const verdicts = new Set(
      this.columns.flatMap((column) => column.verdicts).filter((verdict) => fleet.verdicts[verdict]?.sign),
    );
    const lines = [...verdicts].map((verdict) => [
      fleet.verdicts[verdict].sign,
      `${verdict}: ${fleet.verdicts[verdict].meaning}`,
    ]);
    const list = element(
      "dl",
      { class: "signs" },
      ...lines.flatMap(([sign, meaning]) => [element("dt", {}, sign), element("dd", {}, meaning)]),
    );
    return lines.length
      ? [element("details", {}, element("summary", {}, "Signs beside the arrows: verdicts on columns"), list)]
      : [];
  },

  markRow(sae, row) {
    row.marks = this.marks;
    this.marks.forEach((marks, i) => {
      const kind = marks.get(sae);
      const cell = row.cells[4 + i];
      if (cell.mark === kind) return;
      cell.mark = kind;
      cell.classList.toggle("is-best", kind === "best");
      cell.classList.toggle("is-tied", kind === "tied");
      cell.querySelector(".star")?.remove();
      if (kind)
        cell.firstChild.before(
          element(
            "span",
            { class: "star", role: "img", "aria-label": kind === "best" ? "best:" : "tied with the best:" },
            kind === "best" ? "★" : "☆",
          ),
        );
    });
  },

  async saveAll() {
    await loadColumns(fleet.columns);
    saveCsv(
      "saes_all_columns",
      numbersAsRows(
        fleet.saes.map((about) => about.place),
        fleet.columns,
      ),
    );
  },
};
