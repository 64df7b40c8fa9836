// Which columns a table shows, and lists of columns to choose one from.

/** Columns by eval, as `choice` takes groups; what is better for lower is marked by an arrow. */
function columnGroups(columns = fleet.columns) {
  const groups = new Map();
  for (const column of columns) {
    groups.set(column.eval, [
      ...(groups.get(column.eval) ?? []),
      [column.id, `${column.heading} ${ARROWS[column.direction]}`.trim()],
    ]);
  }
  return [...groups];
}

function columnMenu() {
  const body = element("div", { class: "menu-body wide" });
  const node = element(
    "details",
    { class: "menu", on: { toggle: () => node.open && fill() } },
    element("summary", {}, "Columns"),
    body,
  );
  closesOutside(node);

  function fill() {
    const chosen = new Set(chosenColumns(page.state).map((column) => column.id));
    const box = (column) => {
      const input = element("input", {
        type: "checkbox",
        checked: chosen.has(column.id),
        on: { change: () => choose(column.id, input.checked) },
      });
      return element(
        "label",
        { class: "toggle" },
        input,
        element("span", {}, `${column.heading} ${ARROWS[column.direction]}`),
      );
    };
    const list = (columns) => columns.map(box);
    const evals = [...new Set(fleet.columns.map((column) => column.eval))];
    body.replaceChildren(
      element(
        "div",
        { class: "tools" },
        button("Main", () => set([])),
        button("All of the report", () => set(headlineColumns().map((c) => c.id))),
      ),
      ...evals.map((name) => {
        const [first, others] = [true, false].map((is) =>
          fleet.columns.filter((c) => c.eval === name && Boolean(c.headline) === is),
        );
        const more = others.length
          ? element("details", {}, element("summary", {}, `${others.length} more`), ...list(others))
          : null;
        return element("fieldset", {}, element("legend", {}, visible(name)), ...list(first), more);
      }),
    );
  }

  const set = (ids) => {
    change({ column: ids });
    fill();
  };
  const choose = (id, isOn) => {
    const chosen = toggled(
      chosenColumns(page.state).map((column) => column.id),
      id,
      isOn,
    );
    // In the order of the data, whatever the order of clicks.
    change({ column: fleet.columns.map((column) => column.id).filter((one) => chosen.includes(one)) });
  };
  return node;
}
