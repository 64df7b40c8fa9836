// What is shown, as a file: tables as CSV, charts as SVG.

function saveFile(name, type, content) {
  const link = element("a", { href: URL.createObjectURL(new Blob([content], { type })), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** A cell of CSV; what a spreadsheet would take for a formula becomes text. */
function csvCell(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "";
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const csvText = (rows) => rows.map((row) => row.map(csvCell).join(",")).join("\n") + "\n";

const saveCsv = (name, rows) => saveFile(`${name}.csv`, "text/csv;charset=utf-8", csvText(rows));

/** The numbers of SAEs in columns: a row each, the value and the ends of its interval side by side. */
function numbersAsRows(saes, columns) {
  const about = ["sae", "run", "source", "label", "site", "d_sae", "l0", "interpolates", "control"];
  const header = [...about, ...columns.flatMap((c) => [c.id, `${c.id}:low`, `${c.id}:high`])];
  const lines = saes.map((sae) => {
    const one = fleet.saes[sae];
    const numbers = columns.flatMap((column) => {
      const { value, low, high } = column.numberOf(sae);
      return [value, low, high];
    });
    return [
      one.name,
      one.run,
      one.source,
      one.label,
      one.site,
      one.d_sae,
      one.l0,
      one.interpolates,
      Boolean(one.control),
      ...numbers,
    ];
  });
  return [header, ...lines];
}

/** Saves a chart with the colours that it has now, so that it looks the same outside of the page. */
function saveSvg(name, svg) {
  const copy = svg.cloneNode(true);
  const originals = [svg, ...svg.querySelectorAll("*")],
    copies = [copy, ...copy.querySelectorAll("*")];
  originals.forEach((node, i) => {
    const shown = getComputedStyle(node);
    for (const property of ["fill", "stroke", "font-family", "font-size"]) {
      const value = shown.getPropertyValue(property);
      if (value) copies[i].style.setProperty(property, value);
    }
  });
  copy.prepend(svgElement("rect", { width: "100%", height: "100%", fill: shownColour("--surface") }));
  copy.setAttribute("xmlns", SVG_SPACE);
  saveFile(`${name}.svg`, "image/svg+xml", new XMLSerializer().serializeToString(copy));
}
