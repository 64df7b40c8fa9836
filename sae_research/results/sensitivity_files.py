"""The six CSV files that sae-sensitivity writes for an SAE, from a result of the eval `sensitivity`.

Names, columns and their order are that program's. A latent for which the judge wrote nothing usable has the status
`Failed` and no values; latents that were passed over because they have no examples are in no file, as there. What
results do not keep is not made up: a written text carries no marks, and token lists hold BOS and the text without
padding.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sae_research.errors import UserError
from sae_research.evals.sensitivity.written import N_ASKED, N_TEXTS
from sae_research.judges import prompts
from sae_research.judges.records import Message, Request
from sae_research.measurements import Result
from sae_research.results.document import explained_version

EVAL = "sensitivity"

Line = tuple[Any, ...]

_TEXTS = ("text_annotated", "text_clean", "tokenized_text", "max_activation", "all_activations")
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "feature_examples.csv": ("feature_index", "Top_act", "Sequence"),
    "generation_queries_with_responses.csv": (
        "sae_name", "eval_name", "feature_index", "system_prompt", "user_prompt", "separator", "num_per_call",
        "llm_response", "status",
    ),
    "generated_samples.csv": ("feature_index", "sample_index", "text"),
    "generated_samples_with_activations.csv": ("feature_index", "sample_index", *_TEXTS),
    "original_examples_with_activations.csv": ("feature_index", "Top_act", *_TEXTS),
    "feature_stats.csv": ("feature_index", "generated_sensitivity", "original_sensitivity"),
}  # fmt: skip


class _Latent(NamedTuple):
    """What a result says of a latent that the judge was asked about."""

    index: int
    row: Mapping[str, Any]
    content: Mapping[str, Any]


def sensitivity_files(result: Result, *, eval_name: str) -> dict[str, str]:
    """The text of each file; `eval_name` is what the folder of all SAEs is called."""
    if result.eval_name != EVAL:
        raise UserError(f"these files are made from results of {EVAL}, not of {result.eval_name}")
    with explained_version(Path(f"the result of {result.sae['name']}")):
        latents = list(_latents(result))
        lines = {
            "feature_examples.csv": _examples(latents),
            "generation_queries_with_responses.csv": _queries(result, latents, eval_name),
            "generated_samples.csv": _samples(latents),
            "generated_samples_with_activations.csv": _active_samples(latents),
            "original_examples_with_activations.csv": _active_examples(latents),
            "feature_stats.csv": _stats(latents),
        }
        return {name: _csv(columns, lines[name]) for name, columns in COLUMNS.items()}


def _latents(result: Result) -> Iterator[_Latent]:
    """Those that have examples, by their numbers."""
    rows = {int(row["latent"]): row for row in result.output.details}
    for index in sorted(map(int, result.output.unstructured)):
        yield _Latent(index, rows[index], result.output.unstructured[str(index)])


def _examples(latents: Sequence[_Latent]) -> Iterator[Line]:
    for latent in latents:
        yield from ((latent.index, example["peak"], example["shown"]) for example in latent.content["examples"])


def _queries(result: Result, latents: Sequence[_Latent], eval_name: str) -> Iterator[Line]:
    identity = result.output.judge["identity"]
    success = f"Success with {identity.get('model') or identity['provider']}"
    for latent in latents:
        system, user = _prompt(result, latent)
        texts = [text["text"] for text in latent.content["texts"]]
        yield (
            result.sae["name"], eval_name, latent.index, system.text, user.text, prompts.SEPARATOR, N_TEXTS,
            prompts.SEPARATOR.join(texts) if texts else None, success if texts else "Failed",
        )  # fmt: skip


def _prompt(result: Result, latent: _Latent) -> tuple[Message, Message]:
    """What the judge was asked, put together again and compared with the digest of the request."""
    first, second = latent.content["markers"]
    shown = prompts.Rendered((first, second), tuple(example["shown"] for example in latent.content["examples"]))
    messages = prompts.writing_as_shown(shown, N_ASKED)
    sampling = result.settings["writing"]
    request = Request(messages, sampling["max_tokens"], sampling["temperature"], sampling["top_p"])
    asked = request.seeded(result.key_parts["seed"]).digest(result.output.judge["identity"])
    if asked != latent.content["answer"]:
        raise UserError(
            f"the result of {result.sae['name']} was made with other prompts than this version's ({prompts.VERSION}); "
            "run the eval again, or export it with the version that made it"
        )
    return messages


def _samples(latents: Sequence[_Latent]) -> Iterator[Line]:
    for latent in latents:
        yield from ((latent.index, i, text["text"]) for i, text in enumerate(latent.content["texts"]))


def _active_samples(latents: Sequence[_Latent]) -> Iterator[Line]:
    for latent in latents:
        for i, text in enumerate(latent.content["texts"]):
            yield (latent.index, i, text["text"], *_activations(text))


def _active_examples(latents: Sequence[_Latent]) -> Iterator[Line]:
    for latent in latents:
        for example in latent.content["examples"]:
            if "text" in example:  # The model read it, as it does where the judge wrote texts.
                yield (latent.index, example["peak"], example["shown"], *_activations(example))


def _activations(text: Mapping[str, Any]) -> Line:
    """The bare text, its tokens, the largest activation, and all of them: that of BOS is 0."""
    tokens = [int(token) for token in text["tokens"].split()]
    activations = [0.0] * len(tokens)
    for pair in text["activations"].split():
        place, _, value = pair.partition(":")
        activations[int(place) + 1] = float(value)
    return text["text"], tokens, max(activations), activations


def _stats(latents: Sequence[_Latent]) -> Iterator[Line]:
    return ((latent.index, latent.row["sensitivity_0"], latent.row["original_0"]) for latent in latents)


def _csv(columns: Sequence[str], lines: Iterable[Line]) -> str:
    """Texts and lists in quotes, numbers without; a missing value is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(lines)
    return text.getvalue()
