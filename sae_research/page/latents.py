"""The latents of an SAE as a file that the explorer loads on demand: `data/latents-<sae>.js`.

`write_latents(folder, ...)` writes one such file per SAE and returns by SAE the file's name in `folder`. A file is a
classic script of one statement, a call of a function that the page must have defined:

    receiveLatents({"format": 1, "sae": "topk_k32", ..., "data": "eNrs..."});

Everything in it is ASCII, and `<`, `>` and `&` are escaped, so no token or name can end the script. The argument:

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
| `histogram` | Uint32 | n, bins | its codes other than 0, in bins of equal width: from 0 to `largest`, or from -`largest` to `largest` where `least` is below 0 |
| `least` | Float32 | n | its smallest code, 0 or less |
| `largest_logit` | Float32 | n | the largest magnitude in the next two |
| `promoted` | Uint16 | n, m | tokens (see below) that its atom promotes most, the strongest first |
| `promoted_by` | Int8 | n, m | by how much: 127 is `largest_logit` |
| `suppressed` | Uint16 | n, m | tokens that it suppresses most |
| `suppressed_by` | Int8 | n, m | by how much |
| `neighbour` | Int32 | n, k | the latents whose atoms have the largest cosine with its atom; -1: there is no other |
| `neighbour_cosine` | Int8 | n, k | in hundredths |
| `window_kind` | Int8 | n, W | -1: no window. 0: around one of its largest codes, the largest first. q = 1 to `quantiles`: drawn from the q-th part of its codes by magnitude, 1 the weakest |
| `window_centre` | Uint8 | n, W | which token of the window it was chosen for |
| `window_tokens` | Uint16 | n, W, L | tokens; the largest number of the type: the window has ended |
| `window_codes` | Int8 | n, W, L | its code at each token: 127 is `largest`, 0 is silent (a code other than 0 is never 0 here) |

Token arrays hold places in `tokens` of the strings; they are Uint32 if there are too many for Uint16. The strings are
one JSON object:

    {"tokens": ["the", " the", "\\n", ...],
     "why": [[{"eval": "absorption", "why": "first letter a, split 1 of 2"}, ...], ...],
     "notes": [[{"eval": "autointerp", "name": "explanation", "text": "words for weather", "value": 0.81,
                 "low": 0.7, "high": 0.9, "reason": null}, ...], ...]}

`why` has for each latent the evals that single it out, or `[]` where it is of the drawn sample; `notes` what evals say
of it. A note has a text, a value, or both; `low` and `high` may be null; where the value is missing, `reason` says why.
Tokens are the text that the token adds in the middle of a text; U+FFFD stands for bytes that are no whole character.
"""
