// The latents of an SAE, as `latents.py` packs them: arrays without gaps in a deflated stream, then strings.

const ARRAY_TYPES = {
  Float32: Float32Array,
  Int32: Int32Array,
  Uint32: Uint32Array,
  Uint16: Uint16Array,
  Int8: Int8Array,
  Uint8: Uint8Array,
};
const FULL_CODE = 127;
const unpackedLatents = new Map();

const latentSaes = () => fleet.saes.filter((about) => fleet.latents[about.place] !== undefined);

/** The latents of an SAE; resolves to null where it has none. */
function loadLatents(sae) {
  const name = fleet.latents[sae];
  if (name === undefined) return Promise.resolve(null);
  if (!unpackedLatents.has(sae)) unpackedLatents.set(sae, unpackLatents(name));
  return unpackedLatents.get(sae);
}

async function unpackLatents(name) {
  const packed = await loadChunk(name);
  const stream = new Blob([bytesOf(packed.data)]).stream().pipeThrough(new DecompressionStream("deflate"));
  const buffer = await new Response(stream).arrayBuffer();
  const arrays = {},
    shapes = {};
  let offset = 0;
  for (const [key, type, shape] of packed.arrays) {
    const count = shape.reduce((product, size) => product * size, 1);
    arrays[key] = new ARRAY_TYPES[type](buffer, offset, count);
    shapes[key] = shape;
    offset += arrays[key].byteLength;
  }
  const strings = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, offset, packed.strings)));
  return new Latents({ ...packed, data: null }, arrays, shapes, strings);
}

/** Latents by row: the row is their place in the file, not their index in the SAE. */
class Latents {
  constructor(about, arrays, shapes, strings) {
    Object.assign(this, { about, arrays, shapes, tokens: strings.tokens, notes: strings.notes });
    this.rowOf = new Map(Array.from(arrays.latent, (index, row) => [index, row]));
    this.searched = this.notes.map((notes, row) =>
      [
        arrays.latent[row],
        ...notes.flatMap((note) => [note.eval, note.name, note.text ?? ""]),
        ...this.logits(row, "promoted").map(({ token }) => token),
      ]
        .join(" ")
        .toLowerCase(),
    );
  }

  row(key, row) {
    const width = this.shapes[key].slice(1).reduce((product, size) => product * size, 1);
    return this.arrays[key].subarray(row * width, (row + 1) * width);
  }

  /** The tokens that an atom promotes or suppresses, with the change of their logits. */
  logits(row, kind) {
    if (!this.arrays[kind]) return [];
    const by = this.row(`${kind}_by`, row),
      largest = this.arrays.largest_logit[row];
    return Array.from(this.row(kind, row), (place, i) => ({
      token: this.tokens[place],
      by: (by[i] / FULL_CODE) * largest,
    })).filter(({ token }) => token !== undefined);
  }

  neighbours(row) {
    const cosines = this.row("neighbour_cosine", row);
    return Array.from(this.row("neighbour", row), (latent, i) => ({ latent, cosine: cosines[i] / 100 })).filter(
      ({ latent }) => latent >= 0,
    );
  }

  /** The windows of a latent: kind, centre, and [token, code as a share of the largest] of each token. */
  windows(row) {
    const [, count, length] = this.shapes.window_tokens;
    const tokens = this.row("window_tokens", row),
      codes = this.row("window_codes", row);
    const kinds = this.row("window_kind", row),
      centres = this.row("window_centre", row);
    const windows = [];
    for (let w = 0; w < count; w++) {
      if (kinds[w] < 0) continue;
      const parts = [];
      for (let i = w * length; i < (w + 1) * length && this.tokens[tokens[i]] !== undefined; i++)
        parts.push({ token: this.tokens[tokens[i]], share: codes[i] / FULL_CODE });
      windows.push({ kind: kinds[w], centre: centres[w], parts });
    }
    return windows;
  }

  /** The number that a note of this kind has, to sort by; NaN without one. */
  noted(row, names) {
    const note = this.notes[row].find((one) => names.includes(one.eval) && one.value !== null);
    return note ? note.value : NaN;
  }
}
