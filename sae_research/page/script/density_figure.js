// How many latents of an SAE fire on which share of the text, and the way from there to these latents.

function densityFigure(density, sae) {
  if (!density) return null;
  const bins = density.counts.map((count, i) => ({
    count,
    from: density.log10_edges[i],
    to: density.log10_edges[i + 1],
  }));
  const total = density.counts.reduce((sum, count) => sum + count, 0) + density.silent;
  const name = "Densities of latents";
  const hasLatents = fleet.latents[sae] !== undefined;
  const summary = `${plural(total, "latent")}, ${density.silent} silent on this text.`;
  const chart = Plot.plot({
    width: 360,
    height: 200,
    marginLeft: 48,
    marginBottom: 36,
    style: { background: "none" },
    x: {
      label: "share of tokens on which a latent fires",
      labelAnchor: "center",
      labelArrow: "none",
      ticks: [-6, -5, -4, -3, -2, -1, 0],
      tickFormat: (power) => `1e${power}`.replace("-", "−"),
    },
    y: { label: "latents", grid: true, labelArrow: "none" },
    marks: [
      Plot.rectY(bins, { x1: "from", x2: "to", y: "count", fill: "var(--accent)", inset: 0.5 }),
      Plot.ruleY([0], { stroke: "var(--muted)" }),
    ],
  });
  const svg = plainSvg(chart, name, summary);
  if (hasLatents) {
    svg.classList.add("is-way");
    svg.addEventListener("click", (event) => {
      const box = svg.getBoundingClientRect();
      const at = chart.scale("x").invert((event.clientX - box.left) * (svg.viewBox.baseVal.width / box.width));
      const bin = bins.find(({ from, to }) => at >= from && at < to);
      if (bin?.count) showLatentsOf(sae, bin);
    });
  }
  const powerText = (power) => plainNumber(10 ** power, 3);
  const rows = () => [
    ["from", "to", "latents"],
    ...bins
      .filter(({ count }) => count)
      .map((bin) => [
        powerText(bin.from),
        powerText(bin.to),
        hasLatents ? button(String(bin.count), () => showLatentsOf(sae, bin), { class: "quiet" }) : bin.count,
      ]),
  ];
  return element(
    "section",
    { class: "card" },
    element("h3", {}, name),
    svg,
    element(
      "p",
      { class: "muted" },
      hasLatents ? `${summary} A click on a bar leads to those that are shown.` : summary,
    ),
    chartTable(`${name}, by share of tokens`, rows).node,
  );
}

/** Shows the latents whose densities lie in a bin. */
function showLatentsOf(sae, { from, to }) {
  const bound = (power) => String(Number((10 ** power).toPrecision(4)));
  change({
    view: "latents",
    sae: fleet.saes[sae].name,
    latent: "",
    latents: "",
    densefrom: bound(from),
    denseto: bound(to),
    latentsort: "density",
  });
}
