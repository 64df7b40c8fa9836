// Elements made of text nodes and attributes: nothing that data hold is ever parsed as HTML.

const SVG_SPACE = "http://www.w3.org/2000/svg";

/** An element; `options` are attributes, and `on` (listeners), `style` (CSS properties) and `dataset`. */
function element(tag, options, ...children) {
  return furnished(document.createElement(tag), options, children);
}

function svgElement(tag, options, ...children) {
  return furnished(document.createElementNS(SVG_SPACE, tag), options, children);
}

function furnished(node, options, children) {
  for (const [name, value] of Object.entries(options || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [type, listener] of Object.entries(value)) node.addEventListener(type, listener);
    else if (name === "style")
      for (const [key, property] of Object.entries(value)) node.style.setProperty(key, property);
    else if (name === "dataset") Object.assign(node.dataset, value);
    else if (name === "value" || name === "checked" || name === "selected") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

function button(text, listener, options) {
  return element("button", { type: "button", ...options, on: { click: listener } }, text);
}

/** A labelled choice; `groups` are [heading, [[value, text], ...]], a heading of "" for no group. */
function choice(label, groups, chosen, listener, options) {
  const select = element("select", { on: { change: () => listener(select.value) }, ...options });
  for (const [heading, entries] of groups) {
    const parent = heading ? element("optgroup", { label: heading }) : select;
    for (const [value, text] of entries) parent.append(element("option", { value, selected: value === chosen }, text));
    if (heading) select.append(parent);
  }
  select.value = chosen;
  return element("label", { class: "field" }, element("span", {}, label), select);
}

/** A labelled switch. */
function toggle(label, isOn, listener) {
  const box = element("input", { type: "checkbox", checked: isOn, on: { change: () => listener(box.checked) } });
  return element("label", { class: "toggle" }, box, element("span", {}, label));
}

/** A table of facts: one line of headings, and `lines` of table rows. */
function factsTable(headings, lines) {
  return element(
    "table",
    { class: "facts" },
    element("thead", {}, element("tr", {}, ...headings)),
    element("tbody", {}, ...lines),
  );
}

/** The colour of that name in the scheme that is shown. */
function shownColour(name) {
  const probe = element("span", { hidden: true, style: { color: `var(${name})` } });
  document.body.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

/** Runs `act` when the browser has nothing else to do: after the picture that was asked for. */
function whenIdle(act) {
  if (window.requestIdleCallback) requestIdleCallback(act, { timeout: 400 });
  else setTimeout(act, 50);
}

/** Says something to those who cannot see what has changed. */
function announce(text) {
  document.getElementById("live").textContent = text;
}
