// What the builder packed: arrays in base64 within the page, further files that are loaded when they are needed.

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

const floats64 = (base64) => new Float64Array(bytesOf(base64).buffer);
const floats32 = (base64) => new Float32Array(bytesOf(base64).buffer);

/** Numbers by line and SAE, with the ends of their intervals and the reasons of missing ones. */
class Numbers {
  constructor(packed, saes) {
    this.saes = saes;
    this.value = floats64(packed.value);
    this.below = floats32(packed.below);
    this.above = floats32(packed.above);
    this.missing = new Map(packed.missing.map(([line, sae, reason]) => [line * saes + sae, packed.reasons[reason]]));
  }

  /** {value, low, high, below, above}, or {value: NaN, reason}; reason is null where nothing was asked for. */
  at(line, sae) {
    const place = line * this.saes + sae;
    const value = this.value[place];
    if (Number.isNaN(value)) return { value, reason: this.missing.get(place) ?? null };
    const below = this.below[place],
      above = this.above[place];
    return { value, below, above, low: value - below, high: value + above };
  }
}

const waiting = new Map();
const loaded = new Map();

window.receiveChunk = (name, content) => waiting.get(name)?.(content);

/** The content of `data/<name>.js`. */
function loadChunk(name) {
  if (!loaded.has(name)) loaded.set(name, fetchChunk(name));
  return loaded.get(name);
}

function fetchChunk(name) {
  return new Promise((resolve, reject) => {
    const script = element("script", { src: `data/${encodeURIComponent(name)}.js` });
    waiting.set(name, (content) => resolve(content));
    script.addEventListener("load", () => script.remove());
    script.addEventListener("error", () => {
      loaded.delete(name);
      script.remove();
      reject(new Error(`data/${name}.js cannot be loaded: keep the folder data beside index.html`));
    });
    document.head.append(script);
  });
}
