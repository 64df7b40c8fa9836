"""SAELens' SAEs and trainers, built from our settings. The only module of training that knows SAELens."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import io
import json
import typing
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from sae_research.errors import UserError
from sae_research.files import write_atomically
from sae_research.foreign import shown
from sae_research.lm.site import Site
from sae_research.records import read_value
from sae_research.training.settings import SETTINGS, TrainSettings

_OLDEST = (6, 54)
_OURS = ("d_in", "d_sae", "dtype", "device", "metadata", "normalize_activations", "reshape_activations")
"""Fields of SAELens' configurations that our settings decide."""
_FOLDED = ("expected_average_only_in", "covariance_whitening")
"""Normalisations that go into the weights at the end."""
_AT_ONCE = 4096
"""Activations of which norms are taken at once."""


def lens_version() -> str:
    """The version of the SAELens that is installed; a UserError where it is missing or too old."""
    remedy = "pip install 'sae-research[training]'"
    try:
        version = importlib.metadata.version("sae-lens")
    except importlib.metadata.PackageNotFoundError:
        raise UserError(f"SAEs are trained by SAELens' trainers, and it is not installed: {remedy}") from None
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
        raise UserError(f"SAELens {version} is too old to train with, expected {'.'.join(map(str, _OLDEST))}: {remedy}")
    return version


def build_trainer(settings: TrainSettings, d_in: int, device: str) -> Any:
    """SAELens' trainer of an SAE with initial weights that the seed decides; the global generator is left alone."""
    config = build_config(settings, d_in, device)
    from sae_lens.config import SAETrainerConfig
    from sae_lens.registry import get_sae_training_class
    from sae_lens.training.sae_trainer import SAETrainer

    trainer_config = SAETrainerConfig(
        total_training_samples=settings.tokens,
        train_batch_size_samples=settings.train_batch_size_tokens,
        lr=settings.lr,
        lr_end=settings.lr / 10,  # its runner's default; a bare configuration has none
        lr_scheduler_name=settings.lr_scheduler_name,
        lr_warm_up_steps=settings.lr_warm_up_steps,
        lr_decay_steps=settings.lr_decay_steps,
        adam_beta1=settings.adam_beta1,
        adam_beta2=settings.adam_beta2,
        device=device,
        autocast=settings.autocast,
        dead_feature_window=settings.dead_feature_window,
    )
    with torch.random.fork_rng(), _lens_errors(settings):
        torch.manual_seed(settings.seed)
        sae = get_sae_training_class(settings.architecture)[0](config)
        return SAETrainer(trainer_config, sae, iter(()))


def build_config(settings: TrainSettings, d_in: int, device: str = "cpu") -> Any:
    """SAELens' configuration of the SAE; a UserError for an architecture or an option that it does not have."""
    lens_version()
    import sae_lens
    from sae_lens.registry import SAE_TRAINING_CLASS_REGISTRY, get_sae_training_class

    name, architecture = settings.title, settings.architecture
    if architecture not in SAE_TRAINING_CLASS_REGISTRY:
        raise UserError(
            f"train {name!r}: SAELens {sae_lens.__version__} has no architecture {shown(architecture)} to train; "
            f"valid: {', '.join(SAE_TRAINING_CLASS_REGISTRY)}"
        )
    _, config_class = get_sae_training_class(architecture)
    options = _options(settings, config_class)
    if architecture == "matching_pursuit":
        # It needs this value and warns of any other, its own default included.
        options.setdefault("decoder_init_norm", 1.0)
    site = Site.parse(settings.place)
    with _lens_errors(settings):
        return config_class(
            d_in=d_in,
            d_sae=settings.width(d_in),
            device=device,
            normalize_activations=settings.normalize_activations,
            reshape_activations="hook_z" if site.kind == "attn_z" else "none",
            **options,
        )


def _options(settings: TrainSettings, config_class: type) -> dict[str, Any]:
    """The options of the architecture, each of the type that SAELens declares."""
    hints = typing.get_type_hints(config_class)
    names = [f.name for f in dataclasses.fields(config_class) if f.name not in _OURS]
    options: dict[str, Any] = {}
    for key, value in settings.options.items():
        if key not in names:
            raise UserError(
                f"train {settings.title!r}: unknown key {shown(key)}; valid: {', '.join(SETTINGS)}; and for "
                f"architecture {settings.architecture}: {', '.join(names)}"
            )
        is_list = typing.get_origin(hints[key]) is list
        hint = tuple[typing.get_args(hints[key])[0], ...] if is_list else hints[key]
        read = read_value(hint, value, where=f"train {settings.title!r}: {key}")
        options[key] = list(read) if is_list else read
    return options


@contextlib.contextmanager
def _lens_errors(settings: TrainSettings) -> Iterator[None]:
    """What SAELens says against the settings as a UserError; its warnings are not ours to show."""
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except ValueError as error:
        raise UserError(f"train {settings.title!r}: SAELens refuses its settings: {error}") from error


def estimate_scale(trainer: Any, x: Float[Tensor, "token d"]) -> None:
    """Has SAELens estimate, from these activations, what `normalize_activations` asks for."""
    scaler, config = trainer.activation_scaler, trainer.sae.cfg
    parts = [part.float() for part in x.split(_AT_ONCE)]
    arguments = {"d_in": config.d_in, "data_provider": iter(parts), "n_batches_for_norm_estimate": len(parts)}
    with contextlib.redirect_stderr(io.StringIO()):  # it shows bars even where stderr is no terminal
        if config.normalize_activations == "expected_average_only_in":
            scaler.estimate_scaling_factor(**arguments)
        elif config.normalize_activations == "covariance_whitening":
            scaler.estimate_whitening(**arguments)


def save_trainer(trainer: Any, folder: Path) -> None:
    """Writes all that a trainer needs to go on, in SAELens' own form."""
    folder.mkdir(parents=True)
    trainer.sae.save_model(folder)
    trainer.save_trainer_state(folder)


def load_trainer(trainer: Any, folder: Path) -> None:
    """Brings a fresh trainer to where the saved one stood."""
    trainer.load_trainer_state(folder)
    trainer.sae.load_weights_from_checkpoint(folder)


def fold_normalisation(trainer: Any) -> None:
    """Brings the trained SAE to the model's units, as the end of SAELens' own `fit` does."""
    scaler = trainer.activation_scaler
    if scaler.scaling_factor is not None:
        trainer.sae.fold_activation_norm_scaling_factor(scaler.scaling_factor)
    if scaler.whitening is not None:
        trainer.sae.fold_activation_whitening(
            mean=scaler.whitening.mean,
            whitening_matrix=scaler.whitening.matrix,
            unwhitening_matrix=scaler.whitening.inverse_matrix,
        )
    scaler.scaling_factor = scaler.whitening = None


def describe(config: Any, settings: TrainSettings, model_name: str) -> None:
    """Writes into SAELens' configuration where the SAE comes from."""
    about: dict[str, Any] = {
        "model_name": model_name,
        "hook_name": settings.place,
        "hook_head_index": None,
        "dataset_path": settings.dataset,
        "context_size": settings.context_size,
        "prepend_bos": settings.prepend_bos,
        "exclude_special_tokens": True,
        "sequence_separator_token": "bos",
    }
    for key, value in about.items():
        config.metadata[key] = value


def write_inference(trainer: Any, folder: Path, *, runner: Mapping[str, Any]) -> None:
    """Writes the SAE as SAELens' runner does: configuration, weights, log10 densities, the runner's settings."""
    trainer.sae.save_inference_model(folder)
    write_atomically(folder / "sparsity.safetensors", safetensors_bytes({"sparsity": trainer.log_feature_sparsity}))
    write_atomically(folder / "runner_cfg.json", json.dumps(runner, indent=2, sort_keys=True) + "\n")


def untrained_form(settings: TrainSettings, d_in: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Configuration and tensors that training would leave, of an SAE with two dimensions after one step.

    In that step every latent counts as dead, because some of what SAELens refuses it refuses only then.
    """
    small = dataclasses.replace(settings, d_sae=settings.width(d_in), expansion_factor=None)
    trainer = build_trainer(small, 2, "cpu")
    trainer.n_forward_passes_since_fired += settings.dead_feature_window + 1
    with _lens_errors(settings):
        trainer.step(torch.ones(2, 2))
    if settings.normalize_activations in _FOLDED:
        trainer.sae.cfg.normalize_activations = "none"
    describe(trainer.sae.cfg, settings, "model")
    tensors = trainer.sae.state_dict()
    trainer.sae.process_state_dict_for_saving_inference(tensors)
    return trainer.sae.cfg.get_inference_sae_cfg_dict(), tensors
