// Numbers and names as people read them.

const NO_TEXT = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]|\p{Cs}/gu;
const LONGEST_NAME = 48;

/** `text` with marks in place of control and direction characters, which could disguise it. */
function visible(text) {
  return String(text).replace(NO_TEXT, (sign) => `\\u{${sign.codePointAt(0).toString(16)}}`);
}

/** A name that fits a line: the middle of a long one is left out. */
function shortName(text, longest = LONGEST_NAME) {
  const signs = [...visible(text)];
  if (signs.length <= longest) return signs.join("");
  const end = Math.floor((longest - 1) / 3);
  return `${signs.slice(0, longest - 1 - end).join("")}…${signs.slice(-end).join("")}`;
}

/** How many decimals show two digits of half an interval. */
function decimalsFor(half) {
  return half > 0 && Number.isFinite(half) ? Math.min(Math.max(1 - Math.floor(Math.log10(half)), 0), 9) : 0;
}

function withSeparators(text) {
  const [whole, fraction] = text.split(".");
  const apart = whole.replace(/^-?\d{5,}$/, (digits) => digits.replace(/\B(?=(\d{3})+$)/g, ","));
  return fraction === undefined ? apart : `${apart}.${fraction}`;
}

/** Four significant digits, whole numbers as they are. */
function plainNumber(value, digits = 4) {
  if (Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e4 || Number.isInteger(value)) return minus(withSeparators(value.toFixed(0)));
  if (size < 1e-4) return minus(value.toExponential(digits - 2));
  return minus(value.toFixed(Math.max(digits - 1 - Math.floor(Math.log10(size)), 0)));
}

/** A number beside an axis: as short as it can be. */
function tickText(value) {
  const size = Math.abs(value);
  if (size !== 0 && size < 1e-3) return minus(Number(value.toPrecision(3)).toExponential());
  return minus(withSeparators(String(Number(value.toPrecision(6)))));
}

const minus = (text) => text.replace("-", "−");

/** The value with as many digits as its interval supports. */
function valueText(number) {
  const half = Math.max(number.below, number.above);
  if (!(half > 0)) return plainNumber(number.value);
  return minus(withSeparators(number.value.toFixed(decimalsFor(half))));
}

/** “±0.012”, or both distances where they differ by more than a tenth; empty without an interval. */
function intervalText(number) {
  const { below, above } = number;
  const half = Math.max(below, above);
  if (!(half >= 0)) return "";
  const digits = decimalsFor(half);
  if (Math.abs(below - above) <= 0.1 * half) return `±${half.toFixed(digits)}`;
  return `−${below.toFixed(digits)} +${above.toFixed(digits)}`;
}

/** “0.912 [0.900, 0.923]”, or why there is no number. */
function fullText(number) {
  if (Number.isNaN(number.value)) return number.reason ? `missing: ${visible(number.reason)}` : "not measured";
  return `${valueText(number)}${endsText(number.low, number.high)}`;
}

function endsText(low, high) {
  if (!Number.isFinite(low) || !Number.isFinite(high)) return "";
  const digits = decimalsFor((high - low) / 2);
  return ` [${minus(low.toFixed(digits))}, ${minus(high.toFixed(digits))}]`;
}

function placeText(at) {
  return Object.entries(at)
    .map(([key, value]) => `${key} = ${visible(value)}`)
    .join(", ");
}

const ARROWS = { higher: "↑", lower: "↓", neither: "" };

/** “Probe accuracy, k best latents (k = 1)”. */
function columnTitle(column) {
  const place = placeText(column.at);
  return place ? `${visible(column.title)} (${place})` : visible(column.title);
}

function plural(count, word) {
  return `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
}
