"""The evals as a library: objects in memory in, typed results out; no DVC, no params.yaml, no files written."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sae_research.errors import UserError
from sae_research.evals.base import Eval, EvalContext
from sae_research.evals.keys import shared_parts
from sae_research.evals.registry import find_eval
from sae_research.evals.run import run_eval
from sae_research.formats.registry import read_sae
from sae_research.lm.load import completed_tokenizer, load_language_model, wrap_language_model
from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site
from sae_research.measurements import Result
from sae_research.progress import Progress
from sae_research.records import read_record
from sae_research.results.merge import Entry, tidy_rows
from sae_research.results.rows import Row
from sae_research.saes.base import Sae
from sae_research.saes.wrapped import EncoderDecoder, wrap_sae
from sae_research.sources.hub import Hub
from sae_research.sources.memory import Given, GivenLabels, GivenRows, GivenTexts

log = logging.getLogger(__name__)

AnySae = Sae | EncoderDecoder | str | Path
"""One of ours, any object with `encode` and `decode`, or a checkpoint on disk."""
Labelled = Mapping[str, Sequence[str]]
"""Texts by class."""

TEXTS = "texts"
"""The name under which the evals find `texts`."""


@dataclass(frozen=True)
class Failure:
    """An SAE that could not be measured by an eval, while the others were."""

    sae: Mapping[str, Any]
    """What a manifest would say of it."""
    eval_name: str
    error: Exception


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found."""

    results: tuple[Result, ...]
    """One for each eval and SAE, in the order asked for."""
    failures: tuple[Failure, ...] = ()

    def table(self) -> list[Row]:
        """A row per number, with interval, unit and place; one with the reason per failure."""
        done = [Entry("computed", r.sae["name"], r.eval_name, r, find_eval(r.eval_name).specs) for r in self.results]
        failed = [
            Entry("computed", f.sae["name"], f.eval_name, None, reason=f"{type(f.error).__name__}: {f.error}")
            for f in self.failures
        ]
        return tidy_rows([*done, *failed], [f.sae for f in self.failures])

    def to_pandas(self) -> Any:
        """`table()` as a DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.table())

    def value(self, sae: str, metric: str, **at: int | float | str) -> float:
        """One number: `value("mine", "sae_top_k_test_accuracy", k=5)`; an error with the reason where it is missing."""
        numbers = [m for r in self.results if r.sae["name"] == sae for m in r.output.measurements if m.metric == metric]
        found = next((m for m in numbers if dict(m.at) == at), None)
        if found is None or found.value is None:
            places = ", ".join(str(dict(m.at)) for m in numbers) or "none"
            reason = found.reason if found is not None else f"not measured there; places measured: {places}"
            raise UserError(f"{metric} of {sae!r} at {at}: {reason}")
        return found.value


def evaluate(
    model: PreTrainedModel | LanguageModel | str | Path,
    saes: AnySae | Sequence[AnySae] | Mapping[str, AnySae],
    evals: str | Sequence[str] | Mapping[str, Any] = "core",
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    site: str | None = None,
    texts: Sequence[str] | Tensor | None = None,
    labelled: Mapping[str, Labelled | GivenLabels] | None = None,
    world: Path | str = "world",
    seed: int = 42,
    batch_size: int = 32,
    device: str = "auto",
    dtype: str = "float32",
    progress: bool | None = None,
) -> Evaluation:
    """Measures every SAE by every eval; the language model runs once for all SAEs of a site.

    model: a loaded Hugging Face model (with its `tokenizer`), or a hub id, folder or `embedded/lm` to load in `dtype`
        on `device`. A loaded model stays where it is and as it is.
    saes: one, several, or several by name. Objects of others are wrapped (`wrap_sae`): `site` is their hook name where
        they do not say it themselves. SAEs that fail leave the others alone and stand in `failures`.
    evals: a name, names, or names with settings: a record (`CoreSettings(...)`), or its fields as in
        `{"core": {"context_size": 64}}`; None or {}: the defaults.
    texts: documents, or token rows (row, position) that start with BOS, for the core eval; without them it reads the
        `dataset` that its settings name.
    labelled: texts by class, by name of the data set, for sparse probing and TPP; without them these read their
        `dataset_names`. `GivenLabels(train, test)` fixes the split.
    world: where `embedded/...` lies. batch_size: sequences per language-model batch; changes no number.
    progress: whether a bar is shown; by default on a terminal only.
    """
    hub = Hub(Path(world), _given(texts, labelled or {}))
    in_memory = {"texts": texts, "labelled": labelled or None}
    wanted = [(find_eval(name), settings) for name, settings in _read_evals(evals, in_memory).items()]
    with torch.no_grad(), _language_model(model, tokenizer, hub, device=device, dtype=dtype) as lm:
        ready = _read_saes(saes, lm, site)
        with Progress("evaluate", shown=progress) as bar:
            context = EvalContext(lm=lm, hub=hub, seed=seed, batch_size=batch_size, progress=bar)
            measured = [_run(context, evaluated, settings, ready) for evaluated, settings in wanted]
    return Evaluation(
        results=tuple(result for results, _ in measured for result in results),
        failures=tuple(failure for _, failures in measured for failure in failures),
    )


def _given(texts: Sequence[str] | Tensor | None, labelled: Mapping[str, Labelled | GivenLabels]) -> dict[str, Given]:
    """The data in memory by name."""
    given: dict[str, Given] = {name: _labels(name, classes) for name, classes in labelled.items()}
    if TEXTS in given:
        raise UserError(f"labelled: {TEXTS!r} is the name of the running text; choose another")
    if isinstance(texts, Tensor):
        if texts.ndim != 2 or texts.is_floating_point():
            raise UserError(f"texts: got a {texts.dtype} tensor of shape {tuple(texts.shape)}, expected rows of tokens")
        given[TEXTS] = GivenRows(texts)
    elif texts is not None:
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise UserError("texts: expected a list of strings, or a tensor of token rows")
        given[TEXTS] = GivenTexts(tuple(texts))
    return given


def _labels(name: str, classes: Labelled | GivenLabels) -> GivenLabels:
    if not isinstance(classes, GivenLabels):
        classes = GivenLabels({label: tuple(texts) for label, texts in classes.items()})
    if len(classes.train) < 2 or (classes.test is not None and list(classes.test) != list(classes.train)):
        raise UserError(f"labelled[{name!r}]: expected at least two classes, the same in train and test")
    return classes


def _read_evals(evals: str | Sequence[str] | Mapping[str, Any], in_memory: Mapping[str, Any]) -> dict[str, Any]:
    """The settings record of every eval asked for, by its name; `in_memory` is what arguments gave, by argument."""
    names = [evals] if isinstance(evals, str) else list(evals)
    chosen: Mapping[str, Any] = evals if isinstance(evals, Mapping) else {}
    if not names:
        raise UserError("evals is empty, expected at least one name")
    return {name: _settings(find_eval(name), chosen.get(name) or {}, in_memory) for name in names}


def _settings(evaluated: Eval, chosen: Any, in_memory: Mapping[str, Any]) -> Any:
    """The settings record: as given, or its fields filled up; data sets in memory are what is read by default."""
    name, record = evaluated.name, evaluated.settings
    if is_dataclass(chosen):
        if not isinstance(chosen, record):
            raise UserError(f"evals[{name!r}]: got a {type(chosen).__name__}, expected a {record.__name__}")
        return chosen
    known = {field.name: field for field in fields(record)}
    implied: dict[str, Any] = {}
    for argument, place in evaluated.takes.items():
        given = in_memory.get(argument)
        if given is not None:
            implied |= {place: TEXTS if argument == "texts" else tuple(given)}
            implied |= {"context_size": given.shape[1]} if isinstance(given, Tensor) else {}
        elif place not in chosen and known[place].default is MISSING and known[place].default_factory is MISSING:
            raise UserError(
                f"evals[{name!r}]: nothing to read; give {argument}=..., or name data sets: "
                f"evals={{{name!r}: {{{place!r}: ...}}}}"
            )
    return read_record(record, implied | dict(chosen), where=f"evals[{name!r}]")


@contextmanager
def _language_model(
    model: PreTrainedModel | LanguageModel | str | Path,
    tokenizer: PreTrainedTokenizerBase | None,
    hub: Hub,
    *,
    device: str,
    dtype: str,
) -> Iterator[LanguageModel]:
    """The model to run; one that the caller has loaded is in evaluation mode within the block."""
    if isinstance(model, LanguageModel):
        yield model
    elif isinstance(model, str | Path):
        yield load_language_model(hub, str(model), dtype=dtype, device=device)
    else:
        if tokenizer is None:
            raise UserError("model is loaded already: give its tokenizer too (tokenizer=...)")
        trained = model.training
        model.eval()
        try:
            own = completed_tokenizer(copy.deepcopy(tokenizer))
            name = model.config.name_or_path or type(model).__name__
            yield wrap_language_model(model, own, name=name, revision="in memory")
        finally:
            model.train(trained)


def _read_saes(
    saes: AnySae | Sequence[AnySae] | Mapping[str, AnySae], lm: LanguageModel, site: str | None
) -> list[Sae]:
    """The SAEs in evaluation mode on the model's device, each under a name of its own, the caller's left alone."""
    if isinstance(saes, Mapping):
        named: list[tuple[str | None, AnySae]] = list(saes.items())
    elif isinstance(saes, Sequence) and not isinstance(saes, str):
        named = [(None, sae) for sae in saes]
    else:
        named = [(None, saes)]
    if not named:
        raise UserError("saes is empty, expected at least one")
    ready = [_ready(sae, name, lm, site) for name, sae in named]
    names = [sae.card.name for sae in ready]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"saes: several are called {', '.join(twice)}; give them as a mapping, name -> SAE")
    return ready


def _ready(source: AnySae, name: str | None, lm: LanguageModel, site: str | None) -> Sae:
    if isinstance(source, str | Path):
        path = Path(source)
        sae = read_sae(path, name=name or path.name, source={"path": str(path)})
    elif isinstance(source, Sae):
        sae = copy.deepcopy(source) if source.W_dec.device != lm.device or source.training else copy.copy(source)
        sae.card = replace(sae.card, name=name or sae.card.name)
    else:
        width = lm.width(Site.parse(site)) if site is not None else None
        sae = wrap_sae(source, site=site, name=name, d_in=width, model_name=lm.name)
    lm.require_site(sae.card.site, sae.card.d_in)
    return sae.to(lm.device).eval()


def _run(
    context: EvalContext, evaluated: Eval, settings: Any, saes: Sequence[Sae]
) -> tuple[list[Result], list[Failure]]:
    lm = context.lm
    model = {"name": lm.name, "revision": lm.revision, "dtype": str(lm.dtype).removeprefix("torch.")}
    shared = shared_parts(evaluated, settings, engine="native", model=model, hub=context.hub, seed=context.seed)

    def parts(sae: Sae) -> dict[str, Any]:
        return {**shared, "sae": sae.card.digest, "site": sae.card.site.hook_name}

    measured = {m.sae.card.name: m for m in run_eval(context, evaluated, settings, saes, parts=parts)}
    results: list[Result] = []
    failures: list[Failure] = []
    for sae in saes:
        _, result, error = measured[sae.card.name]
        if result is not None:
            results.append(result)
        else:
            assert error is not None
            log.error("%s of %s failed: %s", evaluated.name, sae.card.name, error)
            failures.append(Failure(sae.describe(), evaluated.name, error))
    return results, failures
