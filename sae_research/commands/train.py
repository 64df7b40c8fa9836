"""`python -m sae_research train`."""

from __future__ import annotations

import argparse
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae_research.errors import UserError
from sae_research.files import folder_in_the_making, remove_leftovers
from sae_research.foreign import read_json_object
from sae_research.pipeline.paths import find_paths
from sae_research.stdout import show
from sae_research.training.settings import TrainSettings, read_settings
from sae_research.yaml_text import read_yaml

if TYPE_CHECKING:
    from sae_research.training.keys import Request

log = logging.getLogger(__name__)

HELP = "train SAEs on a model's activations, with SAELens' trainers"

_SETTINGS: Mapping[str, tuple[type, str]] = {
    "layer": (int, "where to read: the residual stream after this layer"),
    "hook_name": (str, "where to read, instead of --layer: blocks.4.hook_mlp_out, ..."),
    "architecture": (str, "standard (default), topk, batchtopk, jumprelu, gated, ..."),
    "d_sae": (int, "latents"),
    "expansion_factor": (int, "latents per dimension of the activations, instead of --d_sae"),
    "k": (float, "topk, batchtopk: latents per token"),
    "l1_coefficient": (float, "standard, gated: the weight of the sparsity loss"),
    "l0_coefficient": (float, "jumprelu: the weight of the sparsity loss"),
    "training_tokens": (int, "activations to train on"),
    "split": (str, "the split of the data set"),
    "first_text": (int, "texts of it to pass over"),
    "context_size": (int, "tokens per row"),
    "store_batch_size_prompts": (int, "rows that the model reads at once"),
    "n_batches_in_buffer": (int, "such batches in the buffer that is shuffled"),
    "outlier_norm": (float, "leave out activations of more than so many times the median norm"),
    "train_batch_size_tokens": (int, "activations per step"),
    "normalize_activations": (str, "none, expected_average_only_in (default), layer_norm, covariance_whitening"),
    "lr": (float, "learning rate"),
    "lr_warm_up_steps": (int, "steps in which it rises"),
    "lr_decay_steps": (int, "steps in which it falls to 0"),
    "dead_feature_window": (int, "steps without firing after which a latent is dead"),
    "seed": (int, "seeds initial weights and the order of activations"),
    "checkpoint_every": (int, "steps from one checkpoint to the next; 0: none"),
}
"""Options that are settings, under the names that SAELens has for them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model_name", required=True, help="a Hub id, a local folder, or embedded/lm")
    parser.add_argument("--dataset_path", help="the text: a Hub id, a local folder or file, or embedded/text")
    for name, (kind, words) in _SETTINGS.items():
        parser.add_argument(f"--{name}", type=kind, help=words)
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="NAME=VALUE", help="any other setting or option of the architecture"
    )
    parser.add_argument("--config", type=Path, help="a YAML file as below `train:` in params.yaml; options here win")
    parser.add_argument("--output_name", help="what the SAE is called, and its folder")
    parser.add_argument("--output_path", type=Path, default=Path("checkpoints"), help="default: checkpoints")
    parser.add_argument("--revision", help="of the model on the Hub")
    parser.add_argument("--torch_dtype", default="float32", help="the model's: float32 (default), bfloat16, float16")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N")
    parser.add_argument("--dry_run", action="store_true", help="say what it will cost and what may go wrong; then stop")


def run(parsed: argparse.Namespace) -> None:
    from sae_research.pipeline.trained import requests_for
    from sae_research.progress import Progress
    from sae_research.sources.hub import Hub
    from sae_research.training.fit import Pass, Workplace, train_missing
    from sae_research.training.keys import TrainedModel

    settings = settings_of(parsed)
    paths = find_paths()
    remove_leftovers(paths.store)
    hub = Hub(paths.world)
    snapshot = hub.model(parsed.model_name, revision=parsed.revision)
    model = TrainedModel(parsed.model_name, snapshot.revision, parsed.torch_dtype)
    place = Workplace(hub, model, parsed.device, paths.store, _measured_text(paths.params))
    requests = requests_for(place, list(settings), snapshot)
    targets = {request.key: parsed.output_path / request.settings.title for request in requests}
    for request in requests:
        _require_free(targets[request.key], request)
        _warn_if_unreadable(request.settings, snapshot.path)
    with Progress("training") as progress:
        if parsed.dry_run:
            for text in dict.fromkeys(request.settings.text for request in requests):
                Pass(place, [r for r in requests if r.settings.text == text], progress).prepare()
            return
        train_missing(place, requests, progress)
    for key, target in targets.items():
        if not target.exists():
            with folder_in_the_making(target, scratch=target.parent) as draft:
                shutil.copytree(place.trained(key), draft, dirs_exist_ok=True)
        show(f"{target}\n")


def settings_of(parsed: argparse.Namespace) -> tuple[TrainSettings, ...]:
    """The SAEs that the command line and its file describe."""
    from_file = {} if parsed.config is None else read_yaml(parsed.config)
    if not isinstance(from_file, Mapping):
        raise UserError(f"{parsed.config}: expected a mapping of settings, as below `train:` in params.yaml")
    values: dict[str, Any] = {"architecture": "standard", **from_file}
    values |= {name: getattr(parsed, name) for name in _SETTINGS if getattr(parsed, name) is not None}
    values |= dict(_assignment(text) for text in parsed.set)
    if parsed.dataset_path is not None:
        values["dataset"] = parsed.dataset_path
    if parsed.output_name is not None:
        values["name"] = parsed.output_name
    if isinstance(values.get("k"), float) and values["k"].is_integer():
        values["k"] = int(values["k"])
    settings = read_settings(values, where="train")
    titles = [one.title for one in settings]
    twice = next((title for title in titles if titles.count(title) > 1), None)
    if twice is not None:
        raise UserError(f"train: two SAEs are called {twice!r}; give each a name in {parsed.config}")
    return settings


def _assignment(text: str) -> tuple[str, Any]:
    """`NAME=VALUE`, the value as YAML reads it."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    name, equals, value = text.partition("=")
    try:
        read = YAML(typ="safe", pure=True).load(value)
    except YAMLError:
        equals = ""
    if not equals:
        raise UserError(f"--set {text}: expected NAME=VALUE, for example aux_loss_coefficient=0.5")
    return name, read


def _measured_text(params: Path) -> Any:
    """The text that the project in this folder measures; None where there is no project, or its file is broken."""
    from sae_research.pipeline.params import load_params
    from sae_research.pipeline.trained import measured_text

    try:
        return measured_text(load_params(params)) if params.is_file() else None
    except UserError as error:
        log.debug("the text of the core eval is not known: %s", error)
        return None


def _require_free(target: Path, request: Request) -> None:
    """UserError if another SAE is in the folder `target`."""
    from sae_research.training.record import RECORD

    if not target.exists():
        return
    remedy = "choose another --output_name, or remove that folder"
    record = target / RECORD
    if not record.is_file() or read_json_object(record, remedy=remedy).get("key") != request.key:
        raise UserError(f"{target} exists and holds something else than this SAE; {remedy}")


def _warn_if_unreadable(settings: TrainSettings, model_folder: Path) -> None:
    from sae_research.lm.load import model_shape
    from sae_research.lm.site import Site
    from sae_research.training.readable import why_unreadable

    reason = why_unreadable(settings, model_shape(model_folder).width(Site.parse(settings.place)))
    if reason is not None:
        log.warning("this SAE can be trained, but not measured here: %s", reason)
