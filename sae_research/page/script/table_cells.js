// Rows and cells of the table of SAEs.

/** The range of a column over the SAEs that learned something, in which strips are drawn. */
function spanOf(column) {
  let low = Infinity,
    high = -Infinity;
  for (const about of fleet.saes) {
    const number = column.numberOf(about.place);
    if (Number.isNaN(number.value) || (about.control && Number.isFinite(low))) continue;
    low = Math.min(low, Number.isNaN(number.low) ? number.value : number.low);
    high = Math.max(high, Number.isNaN(number.high) ? number.value : number.high);
  }
  return { low, width: high > low ? high - low : 1 };
}

function saeRow(sae, columns, spans) {
  const about = fleet.saes[sae];
  const pin = pinButton(about);
  const signs = signsOf(about).map(([sign, meaning]) =>
    element("span", { class: "sign", role: "img", "aria-label": meaning, title: meaning }, sign),
  );
  const row = element(
    "tr",
    { class: about.control ? "is-control" : "", on: { pointerenter: () => highlight(sae) } },
    element("th", { scope: "row", class: "name" }, element("div", {}, pin, glyph(about), saeLink(about, 36), ...signs)),
    element("td", { class: "text", title: visible(about.label) }, shortName(labelTitle(about.label), 24)),
    element("td", { class: "size" }, about.d_sae === undefined ? "–" : plainNumber(about.d_sae)),
    element("td", { class: "size" }, about.l0 === undefined ? "–" : plainNumber(about.l0)),
  );
  Object.assign(row, { sae, about, pin });
  columns.forEach((column, i) => row.append(valueCell(column.numberOf(sae), spans[i])));
  return row;
}

function valueCell(number, span) {
  if (Number.isNaN(number.value)) {
    const why = number.reason ? visible(number.reason) : "not measured";
    return element("td", { class: "value is-missing", title: why }, element("span", { class: "why" }, `– ${why}`));
  }
  const cell = element(
    "td",
    { class: "value", title: fullText(number) },
    element("span", { class: "v" }, valueText(number)),
  );
  const interval = intervalText(number);
  if (interval) cell.append(element("span", { class: "i" }, interval));
  const share = (x) => `${Math.min(Math.max((100 * (x - span.low)) / span.width, 0), 100).toFixed(1)}%`;
  const low = Number.isNaN(number.low) ? number.value : number.low,
    high = Number.isNaN(number.high) ? number.value : number.high;
  cell.style.cssText = `--a:${share(low)};--b:${share(high)};--v:${share(number.value)}`;
  return cell;
}

/** What was measured without an SAE, as rows below the SAEs. */
function levelRows(columns) {
  return fleet.levels
    .filter((level) => columns.some((column) => level.numbers.has(column)))
    .map((level) => {
      const pin = pinButton(level);
      const row = element(
        "tr",
        { class: "is-level" },
        element("th", { scope: "row", class: "name" }, element("div", {}, pin, glyph(level), level.title)),
        element("td", { class: "text" }, level.is_baseline ? "baseline" : "without an SAE"),
        element("td"),
        element("td"),
        ...columns.map((column) => levelCell(level.numbers.get(column))),
      );
      return Object.assign(row, { pin, about: level });
    });
}

function levelCell(number) {
  if (!number) return element("td", { class: "value" });
  return element(
    "td",
    { class: "value", title: fullText(number) },
    element("span", { class: "v" }, valueText(number)),
    element("span", { class: "i" }, intervalText(number)),
  );
}

function pinButton(about) {
  return button("◇", () => togglePin(about.place), {
    class: "pin",
    "aria-pressed": "false",
    "aria-label": `Pin ${nameOf(about.place)}`,
  });
}

/** Shows whether the SAE of a row is pinned. */
function showPin(row) {
  const isPinned = page.state.pin.includes(row.about.name);
  row.classList.toggle("is-pinned", isPinned);
  row.pin.setAttribute("aria-pressed", isPinned);
  row.pin.textContent = isPinned ? "◆" : "◇";
}
