"""`python -m sae_research health`."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sae_research.errors import UserError
from sae_research.pipeline.paths import find_paths
from sae_research.stdout import show

if TYPE_CHECKING:
    from sae_research.evaluation import Evaluation
    from sae_research.lm.model import LanguageModel
    from sae_research.results.health.assess import Health
    from sae_research.results.health.settings import HealthSettings
    from sae_research.results.health.training import Training
    from sae_research.saes.base import Sae
    from sae_research.sources.hub import Hub

HELP = "say whether SAEs are healthy: those of a run, or a checkpoint that is measured now"

_SPLITS = ("test", "validation", "train")
"""Of the data set's splits the first of these is read."""
_ROWS, _LENGTH, _BATCH = 400, 128, 16
_MEASURED_NOW = ("model_name", "layer", "dataset", "split", "num_samples", "context_length", "batch_size", "dtype")


class _Text(NamedTuple):
    """What a checkpoint is measured on."""

    dataset: str
    split: str
    num_samples: int
    """Rows of tokens."""
    context_length: int
    """Tokens per row."""
    batch_size: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("saes", nargs="*", metavar="SAE", help="SAEs of the run, in detail; default: a table of all")
    parser.add_argument("--results", type=Path, help="the folder of a run; default: eval_results")
    parser.add_argument("--output", type=Path, metavar="FILE", help="also write everything as JSON")
    parser.add_argument("--verbose", action="store_true", help="show what each answer rests on")
    now = parser.add_argument_group("to measure a checkpoint now, without a run")
    now.add_argument("--sae_path", type=Path, metavar="PATH", help="the checkpoint: a folder or file of a known format")
    now.add_argument("--model_name", help="a folder or hub id; default: what the checkpoint names")
    now.add_argument("--layer", type=int, help="the layer that the SAE must be of; default: what the checkpoint names")
    now.add_argument("--dataset", help="a folder or hub id; default: what the SAE was trained on, by training.json")
    now.add_argument("--split", help=f"default: the first that there is of {', '.join(_SPLITS)}")
    now.add_argument("--num_samples", type=int, metavar="N", help=f"rows of tokens; default: {_ROWS}")
    now.add_argument("--context_length", type=int, metavar="N", help=f"tokens per row; default: {_LENGTH}")
    now.add_argument(
        "--batch_size", type=int, metavar="N", help=f"rows per batch of the language model; default: {_BATCH}"
    )
    now.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), help="of the model; default: float32")
    now.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N; default: auto")
    now.add_argument("--absorption", action="store_true", help="measure absorption too, which takes longer")


def run(parsed: argparse.Namespace) -> None:
    from sae_research.files import write_atomically
    from sae_research.pipeline.params import load_params
    from sae_research.results.health.document import health_document
    from sae_research.results.health.settings import HealthSettings
    from sae_research.results.numbers import json_text

    path = find_paths().params
    params = load_params(path) if path.exists() else None
    settings = params.health if params is not None else HealthSettings()
    if parsed.sae_path is None:
        healths, about = _of_run(parsed, settings), {}
    else:
        of_words = params.settings.get("absorption") if params is not None else None
        evals = {"absorption": of_words or {}} if parsed.absorption else {}
        healths, about = _of_checkpoint(parsed, settings, evals)
    show(_text(healths, settings, in_detail=bool(about or parsed.saes), verbose=parsed.verbose))
    if parsed.output is not None:
        write_atomically(parsed.output, json_text(health_document(healths, settings) | about))


def _text(healths: Sequence[Health], settings: HealthSettings, *, in_detail: bool, verbose: bool) -> str:
    from sae_research.results.health.report import health_page, health_section

    if in_detail:
        return "\n\n".join(health_page(health, settings, verbose=verbose) for health in healths) + "\n"
    section = health_section(healths, settings)
    if not section:
        raise UserError("neither core nor absorption has measured an SAE, so nothing can be said; run `dvc repro`")
    return section + "\n"


def _of_run(parsed: argparse.Namespace, settings: HealthSettings) -> list[Health]:
    """The SAEs of a run, or those that were named, from its results."""
    from sae_research.results.health.assess import assess
    from sae_research.results.health.training import training_records
    from sae_research.results.merge import finished_entries

    paths = find_paths()
    needless = [name for name in _MEASURED_NOW if getattr(parsed, name) is not None]
    if needless or parsed.absorption:
        option = needless[0] if needless else "absorption"
        raise UserError(f"--{option} says how a checkpoint is measured; give it with --sae_path PATH")
    results = parsed.results or paths.results
    entries = finished_entries(results)
    saes = paths.saes if parsed.results is None else results.resolve().parent / paths.saes.name
    healths = assess(entries, settings, training_records(saes, entries))
    names = [health.sae for health in healths]
    unknown = next((name for name in parsed.saes if name not in names), None)
    if unknown is not None:
        raise UserError(f"{results} has no SAE {unknown!r}; it has: {', '.join(names)}")
    return [health for health in healths if not parsed.saes or health.sae in parsed.saes]


def _of_checkpoint(
    parsed: argparse.Namespace, settings: HealthSettings, evals: Mapping[str, Any]
) -> tuple[list[Health], dict[str, Any]]:
    """One checkpoint, measured now by core and these `evals`, and what it was measured on."""
    from sae_research.formats.registry import read_sae
    from sae_research.lm.load import load_language_model
    from sae_research.results.health.training import read_training
    from sae_research.sources.hub import Hub

    path: Path = parsed.sae_path
    if parsed.saes or parsed.results:
        raise UserError("--sae_path measures that checkpoint alone; leave out the names of SAEs, and --results")
    if not path.exists():
        raise UserError(f"--sae_path: {path} does not exist")
    training = read_training(path if path.is_dir() else path.parent)
    sae = read_sae(path, name=path.resolve().name, source={"path": str(path)}).eval()
    if parsed.layer not in (None, sae.card.site.layer):
        raise UserError(f"--layer is {parsed.layer}, but {path} reads {sae.card.site.hook_name}; leave --layer out")
    hub, model = Hub(find_paths().world), parsed.model_name or sae.card.model_name
    text = _text_of(parsed, training, hub)
    lm = load_language_model(hub, model, dtype=parsed.dtype or "float32", device=parsed.device)
    measured = _measure(sae, lm, hub, text, evals)
    if measured.failures:
        reasons = [f"{failure.eval_name} failed: {failure.error}" for failure in measured.failures]
        raise UserError(f"{path}: {'; '.join(reasons)}")
    about = {"measured_on": {"sae": str(path), "model": model, "revision": lm.revision, **text._asdict()}}
    records = {sae.card.name: training} if training is not None else {}
    return measured.health(settings, records, dataset=text.dataset), about


def _text_of(parsed: argparse.Namespace, training: Training | None, hub: Hub) -> _Text:
    """What the options say, the SAE's own training text and the defaults where they say nothing."""
    for name, least in (("num_samples", 1), ("context_length", 2), ("batch_size", 1)):
        if (value := getattr(parsed, name)) is not None and value < least:
            raise UserError(f"--{name} is {value}, expected at least {least}")
    dataset = parsed.dataset or (training.dataset if training is not None else None)
    if dataset is None:
        raise UserError(f"{parsed.sae_path} does not say what it was trained on; give --dataset, a folder or hub id")
    return _Text(
        dataset, parsed.split or _first_split(hub, dataset), parsed.num_samples or _ROWS,
        parsed.context_length or _LENGTH, parsed.batch_size or _BATCH,
    )  # fmt: skip


def _first_split(hub: Hub, dataset: str) -> str:
    """The first of `_SPLITS` that the data set has; those that the package knows by name have a test split."""
    from sae_research.data.running import running_text_family
    from sae_research.data.tables import has_split

    if running_text_family(dataset) is not None:
        return _SPLITS[0]
    return next((split for split in _SPLITS[:-1] if has_split(hub, dataset, split)), _SPLITS[-1])


def _measure(sae: Sae, lm: LanguageModel, hub: Hub, text: _Text, evals: Mapping[str, Any]) -> Evaluation:
    """Core and these `evals`. Both passes of core read the same rows, so that `num_samples` rows are enough."""
    import torch

    from sae_research.data.text import load_texts, token_rows
    from sae_research.library import evaluate

    rows = token_rows(
        load_texts(hub, text.dataset, text.split),
        lm.tokenizer,
        context_size=text.context_length,
        n_rows=text.num_samples,
        prepend_bos=sae.card.prepend_bos,
        name=f"split {text.split!r} of data set {text.dataset!r}",
    )
    # The largest batch that the rows are a multiple of.
    batch = math.gcd(text.num_samples, text.batch_size)
    n_batches = text.num_samples // batch
    core = {"batch_size": batch, "n_reconstruction_batches": n_batches, "n_sparsity_batches": n_batches}
    both = torch.cat([rows, rows])
    chosen = {"core": core, **evals}
    return evaluate(lm, sae, chosen, texts=both, world=find_paths().world, batch_size=text.batch_size)
