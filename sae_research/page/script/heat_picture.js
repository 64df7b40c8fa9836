// The picture of a heat map, for the canvas and for SVG alike.

/** By SAE a shade from 0 to 1, 1 for the best; NaN where there is no number. */
function shadesOf(column, saes, by) {
  const sign = column.direction === "lower" ? -1 : 1;
  const values = saes.map((sae) => sign * column.numberOf(sae).value);
  const present = values.filter((value) => !Number.isNaN(value)).sort((a, b) => a - b);
  const [low, high] = [present[0], present.at(-1)];
  return values.map((value) => {
    if (Number.isNaN(value) || high === low) return Number.isNaN(value) ? NaN : 1;
    if (by === "value") return (value - low) / (high - low);
    return (d3.bisectRight(present, value) - 1) / (present.length - 1);
  });
}

/** Tells `draw` every shape of the picture, for the canvas and for SVG alike. */
function heatPicture({ order, columns, shades, cellWidth, cellHeight }, draw) {
  const [ink, muted, ground, accent] = ["--ink", "--muted", "--ground", "--accent"].map(shownColour);
  const pins = new Set(page.state.pin);
  columns.forEach((column, i) =>
    draw({
      kind: "text",
      text: shortName(`${column.heading} ${ARROWS[column.direction]}`, 40),
      x: NAME_WIDTH + i * cellWidth + cellWidth / 2,
      y: HEAD_HEIGHT - 6,
      size: 11,
      turn: -52,
      fill: column.id === page.state.sort ? ink : muted,
      bold: column.id === page.state.sort,
    }),
  );
  order.forEach((sae, row) => {
    const about = fleet.saes[sae],
      y = HEAD_HEIGHT + row * cellHeight;
    if (cellHeight >= 14)
      draw({
        kind: "text",
        text: shortName(about.name, 32),
        x: NAME_WIDTH - 8,
        y: y + cellHeight / 2 + 4,
        size: 11,
        end: true,
        fill: pins.has(about.name) ? accent : about.control ? muted : ink,
        bold: pins.has(about.name),
      });
    columns.forEach((column, i) => {
      const shade = shades[i][row],
        x = NAME_WIDTH + i * cellWidth;
      if (Number.isNaN(shade))
        draw({
          kind: "cross",
          x: x + 0.5,
          y: y + 0.5,
          width: cellWidth - 1,
          height: cellHeight - 1,
          fill: ground,
          stroke: muted,
        });
      else
        draw({
          kind: "rect",
          x: x + 0.5,
          y: y + 0.5,
          width: cellWidth - 1,
          height: cellHeight - 1,
          fill: column.direction === "neither" ? d3.interpolateGreys(0.15 + 0.6 * shade) : d3.interpolateViridis(shade),
        });
    });
  });
}

function paintShape(pen, shape) {
  if (shape.kind === "text") {
    pen.save();
    pen.translate(shape.x, shape.y);
    if (shape.turn) pen.rotate((shape.turn * Math.PI) / 180);
    pen.fillStyle = shape.fill;
    pen.textAlign = shape.end ? "right" : "left";
    pen.font = `${shape.bold ? "600 " : ""}${shape.size}px system-ui, sans-serif`;
    pen.fillText(shape.text, 0, 0);
    pen.restore();
    return;
  }
  pen.fillStyle = shape.fill;
  pen.fillRect(shape.x, shape.y, shape.width, shape.height);
  if (shape.kind !== "cross") return;
  pen.strokeStyle = shape.stroke;
  pen.lineWidth = 0.7;
  pen.beginPath();
  pen.moveTo(shape.x + 2, shape.y + shape.height - 2);
  pen.lineTo(shape.x + shape.width - 2, shape.y + 2);
  pen.stroke();
}

function svgShape(shape) {
  if (shape.kind === "text") {
    return svgElement(
      "text",
      {
        transform: `translate(${shape.x},${shape.y}) rotate(${shape.turn ?? 0})`,
        fill: shape.fill,
        "font-size": shape.size,
        "font-weight": shape.bold ? 600 : null,
        "text-anchor": shape.end ? "end" : null,
      },
      shape.text,
    );
  }
  const { x, y, width, height, fill } = shape;
  const rect = svgElement("rect", { x, y, width, height, fill });
  return shape.kind === "rect"
    ? rect
    : svgElement(
        "g",
        {},
        rect,
        svgElement("line", { x1: x + 2, y1: y + height - 2, x2: x + width - 2, y2: y + 2, stroke: shape.stroke }),
      );
}

function heatKey() {
  const stops = d3.range(0, 1.01, 0.1).map((share) => d3.interpolateViridis(share));
  return element(
    "p",
    { class: "key" },
    "worst ",
    element("span", { class: "key-bar", style: { background: `linear-gradient(to right, ${stops.join(",")})` } }),
    " best · a stroke: no number · grey: neither end is better",
  );
}
