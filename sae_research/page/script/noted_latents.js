// Latents that an eval singles out for a letter or a data set: beside the numbers that they are behind.

/** By SAE the notes of an eval that are for a place; empty where there are none. */
async function loadNoted(name) {
  if (!fleet.chunks.has(`noted-${name}`)) return new Map();
  const chunk = await loadChunk(`noted-${name}`);
  chunk.bySae ??= d3.group(
    chunk.notes.map(([sae, latent, place, text, value]) => ({ sae, latent, at: chunk.places[place], text, value })),
    (note) => note.sae,
  );
  return chunk.bySae;
}

/** Those for a place: what they name of it is the same. */
const notesAt = (notes, at) =>
  (notes ?? []).filter((note) => Object.entries(note.at).every(([key, value]) => String(at[key]) === String(value)));

/** A link to a latent; its number alone where no dashboard shows it. */
function latentLink(sae, latent, options) {
  if (fleet.latents[sae] === undefined) return element("span", options, String(latent));
  const patch = { view: "latents", sae: fleet.saes[sae].name, latent: String(latent), latents: "" };
  return element(
    "a",
    {
      ...options,
      href: `#${writeState({ ...page.state, ...patch })}`,
      on: {
        click: (event) => {
          event.preventDefault();
          change(patch);
        },
      },
    },
    String(latent),
  );
}

const MOST_WITH_LATENTS = 6;

/** The latents of a few SAEs at each of these places: of the pinned ones, or of the first. */
function notedTable(noted, saes, places) {
  const withNotes = saes.filter((sae) => places.some((at) => notesAt(noted.get(sae), at).length));
  const pinned = withNotes.filter((sae) => page.state.pin.includes(fleet.saes[sae].name));
  const chosen = pinned.length ? pinned : withNotes.slice(0, MOST_WITH_LATENTS);
  if (!chosen.length) return null;
  const lines = [
    ...d3.group(
      chosen.flatMap((sae) =>
        [...new Set(places.flatMap((at) => notesAt(noted.get(sae), at)))].map((note) => ({
          ...note,
          where: placeText(note.at),
        })),
      ),
      (note) => note.where,
    ),
  ];
  const ofSae = (notes, sae) =>
    notes
      .filter((note) => note.sae === sae)
      .map((note) =>
        element(
          "li",
          {},
          latentLink(sae, note.latent),
          note.text ? ` ${shortName(note.text)}` : "",
          note.value === null ? "" : `: ${plainNumber(note.value)}`,
        ),
      );
  return element(
    "section",
    {},
    element("h3", {}, "Latents behind these numbers"),
    element(
      "p",
      { class: "sentence" },
      pinned.length ? "Of the pinned SAEs." : `Of ${plural(chosen.length, "SAE")}; pin others to see theirs.`,
    ),
    element(
      "div",
      { class: "scroller", tabindex: 0, role: "region", "aria-label": "Latents by place" },
      element(
        "table",
        { class: "facts noted" },
        element(
          "thead",
          {},
          element(
            "tr",
            {},
            element("th", { scope: "col" }, "Where"),
            ...chosen.map((sae) => element("th", { scope: "col" }, nameOf(sae, 30))),
          ),
        ),
        element(
          "tbody",
          {},
          ...lines.map(([where, notes]) =>
            element(
              "tr",
              {},
              element("th", { scope: "row" }, where),
              ...chosen.map((sae) => element("td", {}, element("ul", {}, ...ofSae(notes, sae)))),
            ),
          ),
        ),
      ),
    ),
  );
}
