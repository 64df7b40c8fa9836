// The bar above all views: which SAEs are shown, and which are pinned.

const MOST_PINS = 6;

/** Builds the bar once; `refresh` brings it up to date with the state. */
function buildFilters(root) {
  const counter = element("p", { class: "count", "aria-live": "polite" });
  const search = element("input", {
    type: "search",
    placeholder: "name or label",
    on: { input: () => change({ text: search.value }) },
  });
  const from = bound("L0 from", "from"),
    to = bound("to", "to");
  const menus = [
    checkMenu(
      "Label",
      "label",
      [...fleet.labels.keys()].filter((label) => fleet.saes.some((s) => s.label === label)),
      labelTitle,
    ),
    checkMenu("Site", "site", distinct("site"), visible),
    checkMenu(
      "d_sae",
      "width",
      distinct("d_sae")
        .sort((a, b) => a - b)
        .map(String),
      visible,
    ),
    checkMenu("Source", "source", distinct("source"), visible),
    checkMenu("Run", "run", fleet.runs, visible),
  ].filter(Boolean);
  const controls = choice(
    "Controls",
    [
      [
        "",
        [
          ["last", "last"],
          ["mixed", "among the others"],
          ["hidden", "hidden"],
        ],
      ],
    ],
    "last",
    (value) => change({ controls: value }),
  );
  const clear = button("Clear filters", () => change(cleared()), { class: "quiet" });
  const pins = element("ul", { class: "pins", "aria-label": "Pinned" });
  root.replaceChildren(
    element(
      "div",
      { class: "filter-row" },
      element("label", { class: "field grow" }, element("span", {}, "Find"), search),
      ...menus.map((menu) => menu.node),
      from.node,
      to.node,
      fleet.saes.some((about) => about.control) ? controls : null,
      clear,
    ),
    element("div", { class: "filter-row" }, counter, pins),
  );
  return () => {
    const { state } = page;
    if (search.value !== state.text) search.value = state.text;
    for (const part of [from, to, ...menus]) part.refresh(state);
    controls.querySelector("select").value = state.controls;
    const shown = page.shown.length;
    counter.textContent =
      shown === fleet.saes.length ? plural(shown, "SAE") : `${shown} of ${plural(fleet.saes.length, "SAE")}`;
    clear.hidden = !Object.entries(cleared()).some(([name, usual]) => String(state[name]) !== String(usual));
    pins.replaceChildren(...state.pin.map(pinned));
    if (state.pin.length)
      pins.append(
        element(
          "li",
          {},
          button("Unpin all", () => change({ pin: [], base: "" }), { class: "quiet" }),
        ),
      );
  };
}

const cleared = () =>
  Object.fromEntries(FILTERS.filter((name) => name !== "controls").map((name) => [name, FIELDS[name].many ? [] : ""]));

const distinct = (key) => [...new Set(fleet.saes.map((about) => about[key]).filter((value) => value !== undefined))];

function bound(label, name) {
  const input = element("input", {
    type: "number",
    min: 0,
    step: "any",
    inputmode: "decimal",
    on: { change: () => change({ [name]: input.value }) },
  });
  const node = element("label", { class: "field narrow" }, element("span", {}, label), input);
  return { node, refresh: (state) => (input.value = state[name]) };
}

/** A menu of check boxes; null where there is nothing to choose from. */
function checkMenu(title, name, values, text) {
  if (values.length < 2) return null;
  const boxes = values.map((value) => {
    const box = element("input", {
      type: "checkbox",
      on: { change: () => change({ [name]: toggled(page.state[name], value, box.checked) }) },
    });
    const look = name === "label" ? glyph({ label: value }) : null;
    return {
      value,
      box,
      node: element("label", { class: "toggle" }, box, look, element("span", {}, shortName(text(value)))),
    };
  });
  const summary = element("summary", {}, title);
  const node = element(
    "details",
    { class: "menu" },
    summary,
    element("div", { class: "menu-body" }, ...boxes.map((one) => one.node)),
  );
  closesOutside(node);
  return {
    node,
    refresh(state) {
      for (const { value, box } of boxes) box.checked = state[name].includes(value);
      summary.textContent = state[name].length ? `${title}: ${state[name].length}` : title;
      summary.classList.toggle("is-set", state[name].length > 0);
    },
  };
}

/** Closes a menu by Escape, and by a click or the focus elsewhere. */
function closesOutside(menu) {
  const elsewhere = (event) => {
    if (menu.open && !menu.contains(event.target)) menu.open = false;
  };
  document.addEventListener("pointerdown", elsewhere);
  document.addEventListener("focusin", elsewhere);
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    menu.open = false;
    menu.querySelector("summary").focus();
    event.stopPropagation();
  });
}

const toggled = (values, value, isOn) =>
  isOn ? [...values.filter((v) => v !== value), value] : values.filter((v) => v !== value);

function pinned(name) {
  const about = fleet.everyone[fleet.placeByName.get(name)];
  return element(
    "li",
    { class: "pinned" },
    glyph(about),
    about.isLevel ? nameOf(about.place, 28) : saeLink(about, 28),
    button("×", () => togglePin(about.place), { class: "quiet", "aria-label": `Unpin ${nameOf(about.place)}` }),
  );
}

/** A link to an SAE's own view. */
function saeLink(about, longest) {
  return element(
    "a",
    {
      href: `#view=sae&sae=${encodeURIComponent(about.name)}`,
      title: visible(about.name),
      on: {
        click: (event) => {
          event.preventDefault();
          change({ view: "sae", sae: about.name });
        },
      },
    },
    shortName(about.name, longest),
  );
}

/** Pins an SAE or what was measured without one, or lets it go. */
function togglePin(place) {
  const { name } = fleet.everyone[place];
  const isOn = !page.state.pin.includes(name);
  if (isOn && page.state.pin.length >= MOST_PINS) {
    notice(`At most ${MOST_PINS} can be pinned; unpin one first.`);
    return;
  }
  change({ pin: toggled(page.state.pin, name, isOn), base: !isOn && page.state.base === name ? "" : page.state.base });
  announce(`${nameOf(place)} ${isOn ? "pinned" : "unpinned"}`);
}
