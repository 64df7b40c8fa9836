"""The evals as a library: takes objects in memory, returns typed results; no DVC, no params.yaml, no files."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sae_research.errors import UserError
from sae_research.evals.base import Eval, EvalContext
from sae_research.evals.judged.settings import JudgedSettings
from sae_research.evals.keys import shared_parts
from sae_research.evals.registry import find_eval
from sae_research.evals.run import run_eval
from sae_research.evaluation import Evaluation, Failure
from sae_research.formats.aliases import looks_like_alias
from sae_research.formats.fetching import fetch_published
from sae_research.formats.load import load_sae
from sae_research.judges.access import Caller, JudgeAccess
from sae_research.judges.settings import Judging
from sae_research.lm.hooks import evaluation_mode
from sae_research.lm.load import completed_tokenizer, load_language_model, wrap_language_model
from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site
from sae_research.measurements import Result
from sae_research.progress import Progress
from sae_research.records import read_record
from sae_research.saes.base import Sae
from sae_research.saes.build import at_site
from sae_research.saes.wrapped import EncoderDecoder, wrap_sae
from sae_research.sources.hub import Hub
from sae_research.sources.memory import Given, GivenLabels, GivenRows, GivenTexts

log = logging.getLogger(__name__)

AnySae = Sae | EncoderDecoder | str | Path
"""An `Sae`, any object with `encode` and `decode`, a checkpoint on disk, or a published SAE's short name."""
Labelled = Mapping[str, Sequence[str]]
"""Texts by class."""

TEXTS = "texts"
"""The data set name under which evals find `texts`."""


def evaluate(
    model: PreTrainedModel | LanguageModel | str | Path,
    saes: AnySae | Sequence[AnySae] | Mapping[str, AnySae],
    evals: str | Sequence[str] | Mapping[str, Any] = "core",
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    site: str | None = None,
    texts: Sequence[str] | Tensor | None = None,
    labelled: Mapping[str, Labelled | GivenLabels] | None = None,
    judge: str | Caller | None = None,
    judging: Judging | Mapping[str, Any] | None = None,
    answers: Path | str | None = None,
    world: Path | str = "world",
    seed: int = 42,
    batch_size: int = 32,
    device: str = "auto",
    dtype: str = "float32",
    progress: bool | None = None,
) -> Evaluation:
    """Measures every SAE with every eval; the language model runs once for all SAEs of a site.

    model: a loaded Hugging Face model (with its `tokenizer`), or a hub id, folder or `embedded/lm` to load in `dtype`
        on `device`. A loaded model keeps its device, dtype and mode.
    saes: one, several, or several by name. Third-party objects are wrapped (`wrap_sae`); `site` is the hook name of
        those that do not state one. An SAE that fails is listed in `failures` and does not affect the others.
    evals: a name, names, or names with settings: a record (`CoreSettings(...)`), or its fields as in
        `{"core": {"context_size": 64}}`; None or {}: the defaults.
    texts: documents, or token rows (row, position) that start with BOS, for the core eval; without them its settings
        must name a `dataset`.
    labelled: texts by class, by name of the data set, for sparse probing and TPP; without them their settings must
        name `dataset_names`. `GivenLabels(train, test)` fixes the split.
    judge: who judges in the evals that ask a judge, in place of what their settings say: `rules`, `openai:<model>`,
        `transformers:<model>`, or a function from messages (dicts with `role` and `content`) to text.
    judging: how a judge behind a server is reached and what it may cost: a `Judging`, or its fields; nothing leaves
        this machine unless its `base_url` names the server. answers: the folder of such a judge's answers, which are
        not asked for again; None: they are forgotten with this call.
    world: the folder behind `embedded/...` names. batch_size: sequences per language-model batch; changes no number.
    progress: whether to show a bar; by default only on a terminal.
    """
    hub = Hub(Path(world), _data_in_memory(texts, labelled or {}))
    in_memory = {"texts": texts, "labelled": labelled or None}
    chosen = _read_evals(evals, in_memory, hub, judge)
    judges = _judges(judge, judging, answers)
    with torch.no_grad(), _language_model(model, tokenizer, hub, device=device, dtype=dtype) as lm:
        loaded = _read_saes(saes, lm, site, hub)
        with Progress("evaluate", shown=progress) as bar:
            context = EvalContext(lm=lm, hub=hub, seed=seed, batch_size=batch_size, progress=bar, judges=judges)
            measured = [_run(context, evaluated, settings, loaded) for evaluated, settings in chosen]
    return Evaluation(
        results=tuple(result for results, _ in measured for result in results),
        failures=tuple(failure for _, failures in measured for failure in failures),
    )


def _data_in_memory(
    texts: Sequence[str] | Tensor | None, labelled: Mapping[str, Labelled | GivenLabels]
) -> dict[str, Given]:
    """The data sets in memory, by name."""
    data: dict[str, Given] = {name: _labels(name, classes) for name, classes in labelled.items()}
    if TEXTS in data:
        raise UserError(f"labelled: {TEXTS!r} is the name of the running text; choose another")
    if isinstance(texts, Tensor):
        if texts.ndim != 2 or texts.is_floating_point():
            raise UserError(f"texts: got a {texts.dtype} tensor of shape {tuple(texts.shape)}, expected rows of tokens")
        data[TEXTS] = GivenRows(texts.cpu())
    elif texts is not None:
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise UserError("texts: expected a list of strings, or a tensor of token rows")
        data[TEXTS] = GivenTexts(tuple(texts))
    return data


def _labels(name: str, classes: Labelled | GivenLabels) -> GivenLabels:
    if not isinstance(classes, GivenLabels):
        classes = GivenLabels({label: tuple(texts) for label, texts in classes.items()})
    if len(classes.train) < 2 or (classes.test is not None and list(classes.test) != list(classes.train)):
        raise UserError(f"labelled[{name!r}]: expected at least two classes, the same in train and test")
    return classes


def _judges(
    judge: str | Caller | None, judging: Judging | Mapping[str, Any] | None, answers: Path | str | None
) -> JudgeAccess:
    """How judges are reached."""
    connection = judging if isinstance(judging, Judging) else read_record(Judging, judging or {}, where="judging")
    return JudgeAccess(
        connection, None if answers is None else Path(answers), caller=judge if callable(judge) else None
    )


def _read_evals(
    evals: str | Sequence[str] | Mapping[str, Any],
    in_memory: Mapping[str, Any],
    hub: Hub,
    judge: str | Caller | None,
) -> list[tuple[Eval, Any]]:
    """The chosen evals with their settings records; `in_memory` has the data that arguments passed, by argument."""
    names = [evals] if isinstance(evals, str) else list(evals)
    if not names:
        raise UserError("evals is empty, expected at least one name")
    chosen: list[tuple[Eval, Any]] = []
    if judge is not None and not any(issubclass(find_eval(name).settings, JudgedSettings) for name in names):
        raise UserError(f"judge: none of these evals asks one: {', '.join(names)}; leave it out")
    for name in names:
        evaluated = find_eval(name)
        values = (evals.get(name) or {}) if isinstance(evals, Mapping) else {}
        settings = _settings(evaluated, _judged_by(judge, evaluated, values), in_memory)
        for data_set in evaluated.data(settings):
            if data_set.name not in hub.given:
                data_set.require({})
        chosen.append((evaluated, settings))
    return chosen


def _judged_by(judge: str | Caller | None, evaluated: Eval, values: Any) -> Any:
    """The settings, or their fields, with this judge."""
    if judge is None or not issubclass(evaluated.settings, JudgedSettings):
        return values
    name = "caller" if callable(judge) else judge
    return replace(values, judge=name) if isinstance(values, JudgedSettings) else {**values, "judge": name}


def _settings(evaluated: Eval, values: Any, in_memory: Mapping[str, Any]) -> Any:
    """The settings record: `values` itself, or made of these fields. Data in memory is what the eval then reads.

    Nothing stands in for a data set that is neither passed nor named, least of all the embedded world's.
    """
    where, record = f"evals[{evaluated.name!r}]", evaluated.settings
    if is_dataclass(values):
        if not isinstance(values, record):
            raise UserError(f"{where}: got a {type(values).__name__}, expected a {record.__name__}")
        return values
    implied: dict[str, Any] = {}
    for argument, field in evaluated.takes.items():
        data = in_memory.get(argument)
        if data is not None:
            implied |= {field: TEXTS if argument == "texts" else tuple(data)}
            implied |= {"context_size": data.shape[1]} if isinstance(data, Tensor) else {}
    values = implied | dict(values)
    required = [f.name for f in fields(record) if f.default is MISSING and f.default_factory is MISSING]
    missing = next((name for name in required if name not in values), None)
    if missing is not None and {field.name for field in fields(record)}.issuperset(values):
        remedies = [f"pass {argument}=..." for argument, name in evaluated.takes.items() if name == missing]
        remedies.append(f"set it: evals={{{evaluated.name!r}: {{{missing!r}: ...}}}}")
        raise UserError(f"{where}: {missing} is not set and has no default; {', or '.join(remedies)}")
    return read_record(record, values, where=where)


@contextmanager
def _language_model(
    model: PreTrainedModel | LanguageModel | str | Path,
    tokenizer: PreTrainedTokenizerBase | None,
    hub: Hub,
    *,
    device: str,
    dtype: str,
) -> Iterator[LanguageModel]:
    """The model to run; one that the caller loaded is in evaluation mode within the block."""
    if isinstance(model, LanguageModel):
        yield model
    elif isinstance(model, str | Path):
        yield load_language_model(hub, str(model), dtype=dtype, device=device)
    else:
        if tokenizer is None:
            raise UserError("the model is already loaded; pass its tokenizer too (tokenizer=...)")
        with evaluation_mode(model):
            completed = completed_tokenizer(copy.deepcopy(tokenizer))
            name = model.config.name_or_path or type(model).__name__
            yield wrap_language_model(model, completed, name=name, revision="in memory")


def _read_saes(
    saes: AnySae | Sequence[AnySae] | Mapping[str, AnySae], lm: LanguageModel, site: str | None, hub: Hub
) -> list[Sae]:
    """The SAEs in evaluation mode on the model's device, with distinct names; the caller's objects do not change."""
    if isinstance(saes, Mapping):
        named: list[tuple[str | None, AnySae]] = list(saes.items())
    elif isinstance(saes, Sequence) and not isinstance(saes, str):
        named = [(None, sae) for sae in saes]
    else:
        named = [(None, saes)]
    if not named:
        raise UserError("saes is empty, expected at least one")
    loaded = [_read_sae(sae, name, lm, site, hub) for name, sae in named]
    names = [sae.card.name for sae in loaded]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"saes: duplicate names: {', '.join(twice)}; pass a mapping from names to SAEs")
    return loaded


def _read_sae(source: AnySae, name: str | None, lm: LanguageModel, site: str | None, hub: Hub) -> Sae:
    if isinstance(source, str) and looks_like_alias(source) and not Path(source).exists():
        sae = fetch_published(hub, source, name=name)
    elif isinstance(source, str | Path):
        sae = load_sae(source, name=name, default_site=site)
    elif isinstance(source, Sae):
        sae = copy.deepcopy(source) if source.W_dec.device != lm.device or source.training else copy.copy(source)
        sae.card = replace(sae.card, name=name or sae.card.name)
    else:
        width = lm.width(Site.parse(site)) if site is not None else None
        sae = wrap_sae(source, site=site, name=name, d_in=width, model_name=lm.name)
    lm.require_site(sae.card.site, sae.card.d_in)
    return at_site(sae, lm.canonical(sae.card.site)).to(lm.device).eval()


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
