// Single latents: on how much of the text they fire, on what, what they promote, and what evals say of them.

const latentsView = {
  id: "latents",
  title: "Latents",
  isAvailable: () => latentSaes().length > 0,

  mount(root) {
    this.root = root;
    this.list = null;
    this.sae = null;
  },

  async draw() {
    const { state } = page;
    const asked = fleet.byName.get(state.sae);
    const sae =
      fleet.latents[asked] !== undefined
        ? asked
        : (latentSaes().find((about) => state.pin.includes(about.name)) ?? latentSaes()[0])?.place;
    if (sae === undefined) {
      this.root.replaceChildren(
        viewHead("Latents", "No latents were recorded for these SAEs: switch on the eval dashboards."),
      );
      return;
    }
    const latents = await loadLatents(sae);
    if (page.view !== this) return;
    if (this.sae !== sae) this.build(sae, latents);
    for (const part of this.density) part.refresh(state);
    this.search.value = state.latents;
    this.order.value = state.latentsort;
    this.rows = listedLatents(latents, state);
    const row = latents.rowOf.get(Number(state.latent || NaN)) ?? this.rows[0];
    this.fillList(latents, row);
    this.detail.replaceChildren(
      ...(row === undefined
        ? [element("p", { class: "muted" }, "No latent that is shown passes these filters.")]
        : latentDetail(sae, latents, row)),
    );
  },

  build(sae, latents) {
    const about = fleet.saes[sae];
    Object.assign(this, { sae, detail: element("div", { class: "latent-detail" }) });
    this.count = element("p", { class: "muted", "aria-live": "polite" });
    this.list = element("ul", {
      class: "latent-list",
      role: "listbox",
      tabindex: 0,
      "aria-label": "Latents",
      on: { keydown: (event) => this.walk(event) },
    });
    const search = element("input", {
      type: "search",
      placeholder: "explanation, token or index",
      value: page.state.latents,
      on: { input: () => change({ latents: search.value }) },
    });
    const index = element("input", {
      type: "number",
      min: 0,
      max: latents.about.d_sae - 1,
      on: { change: () => this.goTo(Number(index.value), latents) },
    });
    const density = [
      ["Density from", "densefrom"],
      ["to", "denseto"],
    ].map(([label, name]) => bound(label, name));
    const orders = [
      ["index", "index"],
      ["density", "density"],
      ["score", "score of the explanation"],
      ["sensitivity", "sensitivity"],
    ];
    const order = choice("Sort by", [["", orders]], page.state.latentsort, (latentsort) => change({ latentsort }));
    Object.assign(this, { density, search, order: order.querySelector("select") });
    this.root.replaceChildren(
      viewHead(`Latents of ${shortName(about.name)}`, latentsSentence(latents.about)),
      element(
        "div",
        { class: "controls" },
        choice("SAE", [["", latentSaes().map((one) => [one.name, shortName(one.name)])]], about.name, (name) =>
          change({ sae: name, latent: "" }),
        ),
        element("label", { class: "field grow" }, element("span", {}, "Find"), search),
        order,
        ...density.map(({ node }) => node),
        element("label", { class: "field narrow" }, element("span", {}, "Latent"), index),
      ),
      element(
        "div",
        { class: "latents" },
        element("div", { class: "latent-side" }, this.count, this.list),
        this.detail,
      ),
    );
  },

  goTo(latent, latents) {
    if (latents.rowOf.has(latent)) change({ latent: String(latent) });
    else
      notice(
        `Latent ${latent} is not among those that are shown: the eval dashboards draws ${latents.about.n} of ${latents.about.d_sae}.`,
      );
  },

  fillList(latents, chosen) {
    const option = (row) => {
      const index = latents.arrays.latent[row];
      return element(
        "li",
        {
          id: `latent-${index}`,
          role: "option",
          "aria-selected": String(row === chosen),
          on: { click: () => change({ latent: String(index), sae: fleet.saes[this.sae].name }) },
        },
        element("b", {}, String(index)),
        " ",
        element("span", {}, shortName(latentHeadline(latents, row), 60)),
      );
    };
    this.list.replaceChildren(...this.rows.map(option));
    this.count.textContent = `${this.rows.length} of ${plural(latents.about.n, "latent")}`;
    const selected = this.list.querySelector("[aria-selected=true]");
    if (selected) {
      this.list.setAttribute("aria-activedescendant", selected.id);
      const [top, height] = [selected.offsetTop - this.list.offsetTop, this.list.clientHeight];
      if (top < this.list.scrollTop || top > this.list.scrollTop + height - 40) this.list.scrollTop = top - height / 2;
    } else this.list.removeAttribute("aria-activedescendant");
  },

  walk(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || !this.rows.length) return;
    const options = [...this.list.children],
      at = options.findIndex((one) => one.getAttribute("aria-selected") === "true");
    options[Math.min(Math.max(at + step, 0), options.length - 1)].click();
    event.preventDefault();
  },
};

function latentsSentence({ n, d_sae, tokens_read, text, is_signed }) {
  const parts = [
    `${plural(n, "latent")} of ${plainNumber(d_sae)}: those that evals single out, and a drawn sample`,
    `read on ${plainNumber(tokens_read)} tokens of ${visible(text.dataset)} (${visible(text.split)})`,
  ];
  if (is_signed) parts.push("codes have both signs, and “largest” is by magnitude");
  return `${parts.join("; ")}.`;
}

/** The rows that the words leave, in the order that is asked for. */
function listedLatents(latents, { latents: text, latentsort, densefrom, denseto }) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const least = densefrom === "" ? -Infinity : Number(densefrom),
    most = denseto === "" ? Infinity : Number(denseto);
  const rows = Array.from(latents.arrays.latent.keys()).filter(
    (row) =>
      latents.arrays.density[row] >= least &&
      latents.arrays.density[row] <= most &&
      words.every((word) => latents.searched[row].includes(word)),
  );
  const keys = {
    density: (row) => latents.arrays.density[row],
    score: (row) => latents.noted(row, ["autointerp"]),
    sensitivity: (row) => latents.noted(row, ["sensitivity"]),
  };
  const key = keys[latentsort];
  if (!key) return rows;
  return rows.sort((a, b) => Number.isNaN(key(a)) - Number.isNaN(key(b)) || key(b) - key(a) || a - b);
}

/** What a latent is about in one line: its explanation, what it was chosen for, or what it promotes. */
function latentHeadline(latents, row) {
  if (!latents.arrays.fired[row]) return "silent on this text";
  const notes = latents.notes[row];
  const note = notes.find((one) => one.eval === "autointerp" && one.text) ?? notes.find((one) => one.text) ?? notes[0];
  if (note) return [note.text ? note.text : note.name].join("");
  return latents
    .logits(row, "promoted")
    .slice(0, 4)
    .map(({ token }) => tokenText(token))
    .join("  ");
}
