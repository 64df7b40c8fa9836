// The page: its state, the views, and what happens between them.

const VIEW_OBJECTS = [tableView, scatterView, compareView, saeView, heatmapView, partsView, latentsView];
const page = { state: null, view: null, shown: [], refreshFilters: () => {} };

/** Changes the state, writes it into the address, and draws. A change of view or SAE can be undone by Back. */
function change(patch) {
  const before = page.state;
  page.state = { ...before, ...patch };
  const hash = `#${writeState(page.state)}`;
  const isStep = ["view", "sae"].some((name) => before[name] !== page.state[name]);
  if (isStep) history.pushState(null, "", hash);
  else history.replaceState(null, "", hash);
  notice("");
  draw();
}

function draw() {
  const view = VIEW_OBJECTS.find((one) => one.id === page.state.view);
  const filters = JSON.stringify(FILTERS.map((name) => page.state[name]));
  // The same array as long as the filters are the same, so that views can tell.
  if (page.filters !== filters) Object.assign(page, { filters, shown: shownSaes(page.state) });
  page.refreshFilters();
  if (page.view !== view) {
    page.view = view;
    const main = document.getElementById("main");
    main.className = `view view-${view.id}`;
    main.setAttribute("aria-label", view.title);
    view.mount(main);
    for (const link of document.querySelectorAll("#views a")) {
      if (link.dataset.view === view.id) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }
  Promise.resolve(view.draw()).then(() => {
    document.body.dataset.drawn = String(++draws);
    if (draws === 1) requestAnimationFrame(() => setTimeout(() => performance.mark("first picture"), 0));
  }, failed);
}

let draws = 0;

function failed(error) {
  notice(error.message);
  console.error(error);
}

function notice(text) {
  const node = document.getElementById("notice");
  node.textContent = text;
  node.hidden = !text;
}

/** Lights up an SAE's row and pin, wherever it is shown. */
function highlight(sae) {
  for (const node of document.querySelectorAll(".is-lit")) node.classList.remove("is-lit");
  tableView.rows?.get(sae)?.classList.add("is-lit");
}

function readHash() {
  const { state, ignored } = readState(location.hash, knownNames());
  page.state = state;
  draw();
  if (ignored.length) notice(`Left out of this link, because it is not here: ${ignored.slice(0, 6).join(", ")}.`);
}

function buildViews() {
  const available = VIEW_OBJECTS.filter((view) => !view.isAvailable || view.isAvailable());
  document.getElementById("views").replaceChildren(
    ...available.map((view) =>
      element(
        "li",
        {},
        element(
          "a",
          {
            href: `#view=${view.id}`,
            dataset: { view: view.id },
            on: {
              click: (event) => {
                event.preventDefault();
                change({ view: view.id });
              },
            },
          },
          view.title,
        ),
      ),
    ),
  );
}

function summarise() {
  const controls = fleet.saes.filter((about) => about.control).length;
  const models = distinct("model"),
    sites = distinct("site"),
    evals = [...new Set(fleet.columns.map((column) => column.eval))];
  const list = (values) =>
    values.length > 3 ? `${values.length} of them` : values.map((value) => shortName(value)).join(", ");
  const parts = [plural(fleet.saes.length, "SAE") + (controls ? `, ${controls} of them controls` : "")];
  if (models.length) parts.push(`${models.length > 1 ? "models" : "model"} ${list(models)}`);
  if (sites.length) parts.push(`${sites.length > 1 ? "sites" : "site"} ${list(sites)}`);
  if (evals.length) parts.push(evals.map(visible).join(", "));
  document.getElementById("summary").textContent = parts.join(" · ");
}

const THEMES = {
  auto: ["Auto", "as the system has them", "light dark"],
  light: ["Light", "light", "light"],
  dark: ["Dark", "dark", "dark"],
};

/** Light, dark, or as the system has it: the one thing that the browser remembers. */
function buildTheme() {
  const switcher = document.getElementById("theme");
  const set = (theme) => {
    const [text, words] = THEMES[theme];
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    switcher.textContent = text;
    switcher.setAttribute("aria-label", `Colours: ${words}`);
    switcher.dataset.theme = theme;
  };
  const remembered = () => {
    try {
      return localStorage.getItem("sae-explorer-theme");
    } catch {
      return null;
    }
  };
  set(THEMES[remembered()] ? remembered() : "auto");
  switcher.addEventListener("click", () => {
    const names = Object.keys(THEMES),
      next = names[(names.indexOf(switcher.dataset.theme) + 1) % names.length];
    set(next);
    try {
      localStorage.setItem("sae-explorer-theme", next);
    } catch {
      // A browser that stores nothing has the theme until the page is closed.
    }
    if (page.view) draw();
  });
}

function start() {
  readFleet(JSON.parse(document.getElementById("explorer-data").textContent));
  buildTheme();
  buildViews();
  summarise();
  page.refreshFilters = buildFilters(document.getElementById("filters"));
  document.getElementById("copy-link").addEventListener("click", async (event) => {
    await copyText(location.href);
    event.target.textContent = "Copied";
    setTimeout(() => (event.target.textContent = "Copy link"), 1500);
  });
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    document.getElementById("main").focus();
  });
  window.addEventListener("popstate", readHash);
  window.addEventListener(
    "resize",
    later(() => ["scatter", "heatmap", "parts"].includes(page.view?.id) && draw(), 150),
  );
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw());
  readHash();
}

/** `act` once nothing has called for it for so many milliseconds. */
function later(act, milliseconds) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(act, milliseconds);
  };
}

start();
