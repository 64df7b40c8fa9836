// One SAE: its card, how dense its latents are, every number with its place, and what the numbers were computed from.

const saeView = {
  id: "sae",
  title: "SAE",

  mount(root) {
    this.root = root;
  },

  async draw() {
    const sae = fleet.byName.get(page.state.sae) ?? fleet.byName.get(pinnedSaes()[0]) ?? page.shown[0];
    if (sae === undefined) {
      this.root.replaceChildren(viewHead("One SAE", "No SAE passes the filters."));
      return;
    }
    const about = fleet.saes[sae];
    const cards = await loadChunk("cards");
    if (page.view !== this) return;
    const { card, health, evals, latent_density: density } = cards.saes[sae];
    const isPinned = page.state.pin.includes(about.name);
    this.root.replaceChildren(
      element(
        "div",
        { class: "view-head" },
        element(
          "div",
          {},
          element("h2", { class: "sae-name" }, glyph(about, 20), " ", visible(about.name)),
          element(
            "p",
            { class: "sentence" },
            [labelTitle(about.label), about.site && visible(about.site), about.model && visible(about.model)]
              .filter(Boolean)
              .join(" · "),
          ),
          ...signsOf(about).map(([sign, why]) => element("p", { class: "sentence" }, `${sign} ${why}`)),
        ),
        element(
          "div",
          { class: "tools" },
          button(isPinned ? "Unpin" : "Pin", () => togglePin(sae), { "aria-pressed": String(isPinned) }),
          fleet.latents[sae] !== undefined
            ? button("Its latents", () => change({ view: "latents", sae: about.name }))
            : null,
        ),
      ),
      element(
        "div",
        { class: "controls" },
        choice("SAE", [["", fleet.saes.map((one) => [one.name, shortName(one.name)])]], about.name, (name) =>
          change({ sae: name }),
        ),
      ),
      element("div", { class: "columns" }, factList("Card", card), densityFigure(density, sae), healthFacts(health)),
      element("h3", {}, "Numbers"),
      numbersOf(sae),
      element("h3", {}, "What the numbers were computed from"),
      ...inOrder(evals).map(([name, cell]) => provenance(name, cell, cards.shared)),
    );
  },
};

/** The cells of an SAE in the order of the evals. */
function inOrder(evals) {
  const order = [...new Set(fleet.columns.map((column) => column.eval))];
  return Object.entries(evals).sort(([a], [b]) => order.indexOf(a) - order.indexOf(b));
}

function factList(title, facts) {
  const entries = flatEntries(facts).filter(([, text]) => text !== "–");
  return element(
    "section",
    { class: "card" },
    element("h3", {}, title),
    entries.length
      ? element(
          "dl",
          {},
          ...entries.flatMap(([key, text]) => [element("dt", {}, visible(key)), element("dd", {}, visible(text))]),
        )
      : element("p", {}, "Nothing is on record."),
  );
}

function healthFacts(health) {
  if (!health) return null;
  const answers = Object.entries(health.answers ?? {}).filter(([, answer]) => answer);
  return element(
    "section",
    { class: "card" },
    element("h3", {}, `Health: ${visible(health.verdict ?? "unknown")}`),
    element(
      "dl",
      {},
      ...answers.flatMap(([name, answer]) => [
        element("dt", {}, visible(name.replaceAll("_", " "))),
        element(
          "dd",
          {},
          `${answer.value === null ? "–" : plainNumber(answer.value)} (${visible(answer.verdict ?? "–")})`,
        ),
      ]),
    ),
    ...(health.advice ?? []).map((advice) => element("p", { class: "muted" }, visible(advice))),
  );
}

/** All numbers of an SAE, an eval at a time; an eval's are loaded when it is opened. */
function numbersOf(sae) {
  const evals = [...new Set(fleet.columns.map((column) => column.eval))];
  return element(
    "div",
    {},
    ...evals.map((name) => {
      const body = element("div", {}, element("p", { class: "muted" }, "Loading …"));
      const open = async () => {
        const { lines, numbers } = await loadEval(name);
        const rows = lines
          .map((about, line) => ({ about, number: numbers.at(line, sae) }))
          .filter(({ number }) => !Number.isNaN(number.value) || number.reason);
        body.replaceChildren(
          button("CSV", () =>
            saveCsv(`${name}_numbers`, [
              ["metric", "at", "value", "ci_low", "ci_high", "unit", "reason"],
              ...rows.map(({ about, number }) => [
                about.metric,
                JSON.stringify(about.at),
                number.value,
                number.low,
                number.high,
                about.unit,
                number.reason,
              ]),
            ]),
          ),
          factsTable(
            ["Metric", "Where", "Value", "95 % interval"].map((title) => element("th", { scope: "col" }, title)),
            rows.map(({ about, number }) =>
              element(
                "tr",
                { title: about.metric },
                element("th", { scope: "row" }, visible(about.title)),
                element("td", {}, placeText(about.at)),
                Number.isNaN(number.value)
                  ? element("td", { colspan: 2, class: "is-missing" }, visible(number.reason))
                  : [
                      element("td", { class: "value" }, valueText(number)),
                      element("td", { class: "value" }, endsText(number.low, number.high).trim()),
                    ],
              ),
            ),
          ),
        );
      };
      const details = element(
        "details",
        { class: "fold", on: { toggle: () => details.open && open().catch(failed) } },
        element("summary", {}, visible(name)),
        body,
      );
      return details;
    }),
  );
}

function provenance(name, cell, shared) {
  const facts = {
    key: cell.key,
    ...shared[cell.provenance],
    settings: shared[cell.settings],
    versions: shared[cell.versions],
  };
  const again = cell.again
    ? element(
        "p",
        { class: "again" },
        "Computes it again: ",
        element("code", {}, cell.again),
        " ",
        copyButton(cell.again),
      )
    : null;
  return element(
    "details",
    { class: "fold" },
    element(
      "summary",
      {},
      visible(name),
      element(
        "span",
        { class: "muted" },
        cell.state === "done" ? ` key ${(cell.key ?? "–").slice(0, 12)}` : ` failed: ${visible(cell.reason)}`,
      ),
    ),
    again,
    element(
      "dl",
      {},
      ...flatEntries(facts).flatMap(([key, text]) => [
        element("dt", {}, visible(key)),
        element("dd", {}, visible(text)),
      ]),
    ),
  );
}

function copyButton(text) {
  const copy = button(
    "Copy",
    async () => {
      await copyText(text);
      copy.textContent = "Copied";
      setTimeout(() => (copy.textContent = "Copy"), 1500);
    },
    { class: "quiet" },
  );
  return copy;
}

/** Copies, on `file://` too, where the clipboard's own interface may be missing. */
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = element("textarea", { class: "unseen", value: text });
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
}
