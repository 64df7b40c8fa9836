// Cards and settings of several SAEs side by side.

/** Cards and settings side by side: lines that differ, then those that are alike, folded. */
function settingsTable(saes, cards) {
  const entries = saes.map((sae) => new Map(flatEntries(describedSae(sae, cards))));
  const keys = [...new Set(entries.flatMap((one) => [...one.keys()]))];
  const isAlike = (key) => entries.every((one) => one.get(key) === entries[0].get(key));
  const table = (chosen) =>
    element(
      "div",
      { class: "scroller", tabindex: 0, role: "region", "aria-label": "Cards and settings" },
      factsTable(
        [
          element("td", {}),
          ...saes.map((sae) => element("th", { scope: "col" }, shortName(fleet.saes[sae].name, 30))),
        ],
        chosen.map((key) =>
          element(
            "tr",
            {},
            element("th", { scope: "row" }, visible(key)),
            ...entries.map((one) => element("td", {}, shortName(one.get(key) ?? "–", 72))),
          ),
        ),
      ),
    );
  const alike = keys.filter(isAlike);
  return element(
    "div",
    {},
    table(keys.filter((key) => !isAlike(key))),
    element("details", {}, element("summary", {}, `${plural(alike.length, "line")} alike in all`), table(alike)),
  );
}

function describedSae(sae, cards) {
  const { card, evals } = cards.saes[sae];
  const settings = Object.entries(evals).map(([name, cell]) => [
    name,
    { settings: cards.shared[cell.settings], state: cell.state },
  ]);
  return { card: { ...card, digest: undefined, name: undefined }, ...Object.fromEntries(settings) };
}

/** An object as [path, text] of its leaves. */
function flatEntries(value, path = "") {
  if (value === undefined) return [];
  if (value === null || typeof value !== "object" || Array.isArray(value))
    return [[path, Array.isArray(value) ? JSON.stringify(value) : String(value ?? "–")]];
  return Object.entries(value).flatMap(([key, inner]) => flatEntries(inner, path ? `${path}.${key}` : key));
}
