// One latent: its codes, what it promotes, its neighbours, windows of text.

function latentDetail(sae, latents, row) {
  const index = latents.arrays.latent[row],
    fired = latents.arrays.fired[row];
  const head = element(
    "div",
    { class: "view-head" },
    element("h3", {}, `Latent ${index}`),
    element(
      "p",
      { class: "sentence" },
      fired
        ? `Fires on ${share(latents.arrays.density[row])} of the tokens (${plainNumber(fired)} times); largest code ${plainNumber(latents.arrays.largest[row])}.`
        : "Silent: it fires on no token of this text.",
    ),
  );
  const windows = latents.windows(row);
  return [
    head,
    notesTable(latents.notes[row]),
    element(
      "div",
      { class: "columns" },
      codesFigure(latents, row),
      logitsFigure(latents, row),
      neighbourList(sae, latents, row),
    ),
    ...windowGroups(windows, latents, row),
  ].filter(Boolean);
}

const share = (density) =>
  density >= 0.001 ? `${plainNumber(100 * density, 3)} %` : `${plainNumber(1e6 * density, 3)} in a million`;

function notesTable(notes) {
  if (!notes.length) return element("p", { class: "muted" }, "No eval singles it out; it belongs to the drawn sample.");
  const value = (note) =>
    note.value === null ? visible(note.reason ?? "") : `${plainNumber(note.value)}${endsText(note.low, note.high)}`;
  return element(
    "table",
    { class: "facts notes" },
    element("caption", { class: "unseen" }, "What evals say of this latent"),
    element(
      "thead",
      {},
      element("tr", {}, ...["Eval", "What", "Text", "Value"].map((title) => element("th", { scope: "col" }, title))),
    ),
    element(
      "tbody",
      {},
      ...notes.map((note) =>
        element(
          "tr",
          {},
          element("th", { scope: "row" }, visible(note.eval)),
          element("td", {}, visible(note.name)),
          element("td", { class: note.eval === "autointerp" ? "explanation" : "" }, visible(note.text ?? "")),
          element("td", {}, value(note)),
        ),
      ),
    ),
  );
}

/** How its codes other than 0 are distributed. */
function codesFigure(latents, row) {
  const counts = Array.from(latents.row("histogram", row)),
    largest = latents.arrays.largest[row];
  if (!largest) return null;
  const from = latents.arrays.least[row] < 0 ? -largest : 0,
    width = (largest - from) / counts.length;
  const bins = counts.map((count, i) => ({ count, from: from + i * width, to: from + (i + 1) * width }));
  const name = "Codes where it fires";
  const svg = plainSvg(
    Plot.plot({
      width: 340,
      height: 170,
      marginLeft: 46,
      marginBottom: 34,
      style: { background: "none" },
      x: { label: "code", labelAnchor: "center", labelArrow: "none", ticks: 5 },
      y: { label: "tokens", grid: true, labelArrow: "none", ticks: 4 },
      marks: [
        Plot.rectY(bins, {
          x1: "from",
          x2: "to",
          y: "count",
          fill: (bin) => (bin.to <= 0 ? "var(--fire-below)" : "var(--fire)"),
          inset: 0.5,
        }),
        Plot.ruleY([0], { stroke: "var(--muted)" }),
      ],
    }),
    name,
    `${plainNumber(latents.arrays.fired[row])} codes up to ${plainNumber(largest)} in magnitude.`,
  );
  const rows = () => [["from", "to", "tokens"], ...bins.map((bin) => [bin.from, bin.to, bin.count])];
  return element("section", { class: "card" }, element("h4", {}, name), svg, chartTable(name, rows).node);
}

/** Tokens whose logits its atom raises and lowers most, by the unembedding alone. */
function logitsFigure(latents, row) {
  const lists = [
    ["promoted", "Promoted"],
    ["suppressed", "Suppressed"],
  ].map(([kind, title]) => {
    const entries = latents.logits(row, kind),
      largest = Math.max(...entries.map(({ by }) => Math.abs(by)), 1e-12);
    return element(
      "div",
      {},
      element("h5", {}, title),
      element(
        "ol",
        { class: "logits" },
        ...entries.map(({ token, by }) =>
          element(
            "li",
            {},
            tokenNode(token),
            element("span", {
              class: `bar ${kind}`,
              style: { width: `${(60 * Math.abs(by)) / largest}%` },
              "aria-hidden": "true",
            }),
            element("span", { class: "muted" }, plainNumber(by, 3)),
          ),
        ),
      ),
    );
  });
  const why = latents.about.no_logits;
  return element(
    "section",
    { class: "card" },
    element("h4", {}, "Output tokens"),
    element(
      "p",
      { class: "muted small" },
      why
        ? `Not known: ${visible(why)}.`
        : "Its atom through the unembedding: an approximation that skips the layers between.",
    ),
    why ? null : element("div", { class: "logit-lists" }, ...lists),
  );
}

function neighbourList(sae, latents, row) {
  const link = ({ latent, cosine }) => {
    const known = latents.rowOf.get(latent);
    return element(
      "li",
      {},
      known === undefined ? element("span", {}, String(latent)) : latentLink(sae, latent),
      element("span", { class: "muted" }, ` cosine ${minus(cosine.toFixed(2))}`),
      known === undefined ? null : element("span", {}, ` ${shortName(latentHeadline(latents, known), 36)}`),
    );
  };
  return element(
    "section",
    { class: "card" },
    element("h4", {}, "Nearest atoms"),
    element("ol", { class: "neighbours" }, ...latents.neighbours(row).map(link)),
  );
}

/** The windows by kind: the largest codes first, then those drawn from each part of the codes. */
function windowGroups(windows, latents, row) {
  const kinds = [...new Set(windows.map((window) => window.kind))].sort((a, b) => (a === 0 ? -1 : b === 0 ? 1 : b - a));
  const title = (kind) =>
    kind === 0
      ? "Largest codes"
      : kind === 1
        ? "Drawn from the weakest part"
        : kind === latents.about.quantiles
          ? "Drawn from the strongest part"
          : `Drawn from part ${kind} of ${latents.about.quantiles}`;
  return kinds.map((kind) =>
    element(
      "section",
      {},
      element("h4", {}, title(kind)),
      element(
        "div",
        { class: "windows" },
        ...windows
          .filter((window) => window.kind === kind)
          .map((window) => windowLine(window, latents.arrays.largest[row])),
      ),
    ),
  );
}

/** A window of text: each token's ground says how strongly the latent fires there; arrow keys read the values out. */
function windowLine({ parts, centre }, largest) {
  const strongest = parts[centre] ?? { share: 0 };
  const spans = parts.map(({ token, share: ofToken }, i) => {
    const node = tokenNode(token);
    if (ofToken) node.style.setProperty("--share", `${Math.round(12 + 68 * Math.abs(ofToken))}%`);
    if (ofToken) node.classList.add(ofToken > 0 ? "fires" : "fires-below");
    if (i === centre) node.classList.add("centre");
    node.title = `${plainNumber(ofToken * largest, 3)}`;
    return node;
  });
  let at = -1;
  const line = element(
    "p",
    {
      class: "window",
      tabindex: 0,
      role: "group",
      "aria-label": `Code ${plainNumber(strongest.share * largest, 3)} at ${tokenText(strongest.token ?? "")}`,
      dir: "auto",
    },
    ...spans,
  );
  line.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    spans[at]?.classList.remove("is-read");
    at = Math.min(Math.max(at + step, 0), spans.length - 1);
    spans[at].classList.add("is-read");
    announce(`${tokenText(parts[at].token)}: ${plainNumber(parts[at].share * largest, 3)}`);
    event.preventDefault();
  });
  // The marks for spaces and ends of lines are not text: a copy has what the language model read.
  line.addEventListener("copy", (event) => {
    const selected = getSelection();
    const chosen = parts.filter((_, i) => selected.containsNode(spans[i], true)).map(({ token }) => token);
    event.clipboardData.setData("text/plain", chosen.join(""));
    event.preventDefault();
  });
  return line;
}

/** A token in words, for lists and for reading aloud. */
const tokenText = (token) => visible(token.replaceAll("\n", "↵").replaceAll("\t", "⇥").replaceAll(" ", "␣"));

/** A token as it stands in a text, with marks for what cannot be seen. */
function tokenNode(token) {
  const node = element("span", { class: "token" });
  for (const part of token.split(/(\n|\t)/)) {
    if (part === "\n" || part === "\t")
      node.append(element("span", { class: "mark", "data-mark": part === "\n" ? "↵" : "⇥" }));
    else if (part) node.append(shortToken(part));
  }
  return node;
}

const shortToken = (text) => (text.length > 60 ? `${visible(text.slice(0, 59))}…` : visible(text));
