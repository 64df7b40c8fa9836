"""The latents of an SAE as a file that the explorer loads on demand: `data/latents-<sae>.js`.

`latent_chunks(results)` yields the content of one such file per SAE. A file is a script of one statement, as all files
of `data/` are (`packing.py`), and its content is a mapping:

    receiveChunk("latents-topk_k32", {"format": 1, "sae": "topk_k32", ..., "data": "eNrs..."});

| field | what it is |
|---|---|
| `format` | 1 |
| `sae` | the SAE's name |
| `n` | how many latents are shown |
| `d_sae` | how many it has |
| `tokens_read` | real tokens of the text that was read: what densities are shares of |
| `text` | `{"dataset": ..., "split": ...}` |
| `is_signed` | whether any of them has codes below 0: show codes on a diverging scale, "top" means by magnitude |
| `quantiles` | into how many parts of equal size activations were cut before windows were drawn from each |
| `no_logits` | null, or why there are no promoted and suppressed tokens |
| `arrays` | `[[name, type, shape], ...]` in the order in which they stand in the data |
| `strings` | how many bytes of JSON stand at its end |
| `data` | base64 of a zlib stream (`new DecompressionStream("deflate")`) |

The inflated data are the arrays without gaps, little endian, row by row, then the strings. Each array begins at a
multiple of its element's size. `type` is the name of a typed array without `Array`: `Float32`, `Int32`, `Uint32`,
`Uint16`, `Int8`, `Uint8`. W is the windows of a latent, at most 20 by default, and L the tokens of the longest window.

| array | type | shape | what it is |
|---|---|---|---|
| `latent` | Int32 | n | its index in the SAE; ascending |
| `density` | Float32 | n | share of real tokens on which its code is not 0 |
| `fired` | Uint32 | n | the same as a count; 0: it is dead on this text |
| `largest` | Float32 | n | its largest magnitude; 0 if dead |
| `histogram` | Uint32 | n, bins | how many codes other than 0 fall into bins of equal width, see below |
| `least` | Float32 | n | its smallest code, 0 or less |
| `largest_logit` | Float32 | n | the largest magnitude in the next two |
| `promoted` | Uint16 | n, m | tokens (see below) that its atom promotes most, the strongest first |
| `promoted_by` | Int8 | n, m | by how much: 127 is `largest_logit` |
| `suppressed` | Uint16 | n, m | tokens that it suppresses most |
| `suppressed_by` | Int8 | n, m | by how much |
| `neighbour` | Int32 | n, k | the latents whose atoms have the largest cosine with its atom; -1: none |
| `neighbour_cosine` | Int8 | n, k | in hundredths |
| `window_kind` | Int8 | n, W | why it was chosen, see below; -1: there are no more windows |
| `window_centre` | Uint8 | n, W | which token of the window it was chosen for |
| `window_tokens` | Uint16 | n, W, L | tokens; the largest number of the type: the window has ended |
| `window_codes` | Int8 | n, W, L | its code at each token: 127 is `largest`; only a code of 0 is 0 here |

Bins go from 0 to `largest`, or from -`largest` to `largest` where `least` is below 0. Windows of kind 0 are around its
largest codes, the largest first; those of kind q = 1 to `quantiles` around codes drawn from the q-th part of all its
codes other than 0, by magnitude, 1 being the weakest part. Token arrays hold places in `tokens` of the strings; they
are Uint32 if there are too many for Uint16. The strings are one JSON object:

    {"tokens": ["the", " the", "\\n", ...],
     "notes": [[{"eval": "absorption", "name": "split latent", "text": "first letter a, 1 of 2", "value": null,
                 "low": null, "high": null, "reason": null},
                {"eval": "autointerp", "name": "explanation", "text": "words for weather", "value": 0.81,
                 "low": 0.7, "high": 0.9, "reason": null}, ...], ...]}

`notes` has for each latent what evals say of it, or `[]` where it is of the drawn sample alone. A note has a text, a
value, or both; `low` and `high` are a 95 % interval or null; where a value is missing, `reason` says why. Tokens are
the text that each adds in the middle of a text; U+FFFD stands for bytes that are no whole character.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sae_research.measurements import Result, Table
from sae_research.results.document import read_result
from sae_research.results.latent_notes import NOTES_FILE, NoteRow, notes_by_sae
from sae_research.results.table_files import RESULT_SUFFIX

_TYPES = {
    np.dtype(f"<{short}"): name
    for short, name in {
        "f4": "Float32", "i4": "Int32", "u4": "Uint32", "u2": "Uint16", "i1": "Int8", "u1": "Uint8",
    }.items()
}  # fmt: skip
_LEVEL = 6
"""Of compression: 9 saves 2 % more and takes eight times as long."""
_COMPACT: Mapping[str, Any] = {"ensure_ascii": True, "allow_nan": False, "separators": (",", ":")}
"""How strings are written: JSON without spaces, in ASCII."""
_FULL = 127
"""What a byte with a sign has in place of the largest magnitude."""
_NONE = -1
"""In dashboards' tables, in place of a window, a token or a latent where there is none."""


def chunk_name(sae: str) -> str:
    """What the page calls the latents of an SAE, `sae` being what it calls the SAE."""
    return f"latents-{sae}"


def latent_chunks(results: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The name of each SAE that has dashboards, and the content of its file; none where the eval has not run."""
    notes_file = results / "merged" / NOTES_FILE
    notes = notes_by_sae(notes_file) if notes_file.exists() else {}
    for path in sorted((results / "dashboards").glob(f"*{RESULT_SUFFIX}")):
        result = read_result(path)
        sae = str(result.sae["name"])
        yield sae, latents_chunk(result, notes.get(sae, ()))


def latents_chunk(result: Result, notes: Sequence[NoteRow]) -> dict[str, Any]:
    """The content of an SAE's file, from its dashboards and from what evals say of its latents."""
    latents, tokens = result.output.tables["latents"], result.output.tables["tokens"]
    arrays = _arrays(latents, tokens["token"], n_windows=latents["window_kind"].shape[1])
    strings = json.dumps({"tokens": tokens["text"].tolist(), "notes": _notes(latents["latent"], notes)}, **_COMPACT)
    packed = b"".join([*(array.tobytes() for array in arrays.values()), strings.encode("ascii")])
    settings = result.settings
    return {
        "format": 1,
        "sae": result.sae["name"],
        "n": len(latents),
        "d_sae": result.sae["d_sae"],
        "tokens_read": result.output.unstructured["tokens_read"],
        "text": {"dataset": settings["dataset"], "split": settings["split"]},
        "is_signed": bool((latents["least"] < 0).any()),
        "quantiles": settings["n_quantiles"],
        "no_logits": result.output.unstructured["no_logits"],
        "arrays": [[name, _TYPES[array.dtype], list(array.shape)] for name, array in arrays.items()],
        "strings": len(strings),
        "data": base64.b64encode(zlib.compress(packed, _LEVEL)).decode("ascii"),
    }


def _arrays(latents: Table, tokens: np.ndarray, *, n_windows: int) -> dict[str, np.ndarray]:
    """All arrays by name, those of larger elements first, so that each begins at a multiple of its element's size."""
    n, largest = len(latents), latents["largest"]
    place = np.uint16 if len(tokens) < np.iinfo(np.uint16).max else np.uint32
    exists = latents["window_kind"] != _NONE
    arrays = {
        "latent": latents["latent"].astype("<i4"),
        "density": latents["density"].astype("<f4"),
        "fired": latents["fired"].astype("<u4"),
        "largest": largest.astype("<f4"),
        "least": latents["least"].astype("<f4"),
        "histogram": latents["histogram"].astype("<u4"),
        "neighbour": latents["neighbour"].astype("<i4"),
        "neighbour_cosine": np.round(100 * latents["neighbour_cosine"].clip(-1, 1)).astype("<i1"),
        "window_kind": latents["window_kind"].astype("<i1"),
        "window_centre": np.where(exists, latents["window_centre"], 0).astype("<u1"),
        "window_tokens": _places(latents["window_tokens"], tokens, place).reshape(n, n_windows, -1),
        "window_codes": _bytes(latents["window_codes"], largest).reshape(n, n_windows, -1),
    }
    if "promoted" in latents.columns:
        by = [np.abs(latents[f"{name}_by"]).max(axis=1, initial=0) for name in ("promoted", "suppressed")]
        arrays["largest_logit"] = np.maximum(*by).astype("<f4")
        for name in ("promoted", "suppressed"):
            arrays[name] = _places(latents[name], tokens, place)
            arrays[f"{name}_by"] = _bytes(latents[f"{name}_by"], arrays["largest_logit"])
    return dict(sorted(arrays.items(), key=lambda entry: -entry[1].itemsize))


def _places(ids: np.ndarray, tokens: np.ndarray, place: type) -> np.ndarray:
    """The places of ids in `tokens`, which ascend; where there is no token, the largest number of the type."""
    found = np.searchsorted(tokens, ids)
    return np.where(ids == _NONE, np.iinfo(place).max, found).astype(np.dtype(place).newbyteorder("<"))


def _bytes(values: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Each row's values as shares of its largest magnitude, in bytes; a value other than 0 stays other than 0."""
    shares = _FULL * values / np.where(largest > 0, largest, 1)[:, None]
    steps = np.sign(shares) * np.maximum(np.round(np.abs(shares)), values != 0)
    return steps.clip(-_FULL, _FULL).astype("<i1")


def _notes(latents: np.ndarray, notes: Sequence[NoteRow]) -> list[list[dict[str, Any]]]:
    """The notes on each of the latents, in their order."""
    by_latent: dict[int, list[dict[str, Any]]] = {latent: [] for latent in latents.tolist()}
    for note in notes:
        if note.latent in by_latent:
            by_latent[note.latent].append(
                {
                    "eval": note.eval,
                    "name": note.name,
                    "text": note.text,
                    "value": note.value,
                    "low": note.low,
                    "high": note.high,
                    "reason": note.reason,
                }
            )
    return list(by_latent.values())
