"""Every eval on a GPU, called as users call it, finds what it finds on the CPU, by its compiled kernels or without.

Where there is no GPU, a simulated one stands in (`support.simulated_gpu`): it shows that all tensors are where they
must be. What only a GPU can show is marked `gpu`.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from support.simulated_gpu import simulated_gpu
from support.small_evals import SETTINGS, letters_model, letters_sae, words_model
from torch import Tensor

import sae_research
from sae_research.evals.registry import eval_names
from sae_research.lm.model import LanguageModel
from sae_research.lm.structure import take_apart
from sae_research.saes.base import Sae
from sae_research.saes.kernels import pursuit, screening

SMALLER: Mapping[str, Mapping[str, Any]] = {
    "ravel": {"baselines": ("pca", "das", "mdas"), "num_pairs_per_attribute": 12},
    "unlearning": {"multipliers": (8,)},
    "sensitivity": {"n_latents": 3},
    "autointerp": {"n_latents": 3},
}
"""By eval, what differs from `SETTINGS`."""
UNSTABLE = {("baseline", "das"), ("baseline", "mdas")}
"""Places of numbers that rounding decides: some of a rotation's gradients are 0 but for rounding, all of MDAS' in the
first step, and Adam makes steps of full length of them."""
Place = tuple[Any, ...]
Numbers = dict[Place, float]
"""By SAE, metric or column, and place; NaN where a number is missing."""


class Tolerance(NamedTuple):
    """How near two runs must be: on a GPU other kernels round differently, so a word or a latent may change sides."""

    distance: float
    """Two numbers are alike within this, times their size where that is above 1."""
    share: float
    """So many of an eval's numbers must be alike, and half of each metric's."""


TOLERANCES = {torch.float32: Tolerance(1e-3, 0.99), torch.bfloat16: Tolerance(0.05, 0.9)}
_MODELS = {"absorption": letters_model, "sensitivity": words_model, "autointerp": words_model}
"""The model of an eval that needs one of its own."""


@pytest.fixture(params=[pytest.param("cuda", marks=pytest.mark.gpu), "simulated"])
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where the eval runs beside the CPU."""
    if request.param == "cuda":
        if not torch.cuda.is_available():
            pytest.skip("no GPU")
        yield "cuda"
    elif torch.cuda.is_available():
        pytest.skip("there is a GPU, which needs no stand-in")
    else:
        with simulated_gpu() as name:
            yield name


@pytest.fixture(scope="module")
def numbers(lm: LanguageModel, small_world: Path, make_sae: Any) -> Callable[..., Numbers]:
    """Runs an eval; what was run once is remembered."""

    @cache
    def run(name: str, device: str, dtype: torch.dtype, kernels: str = "") -> Numbers:
        model = _MODELS[name]() if name in _MODELS else lm
        if name == "absorption":
            saes = [letters_sae(), letters_sae("topk", k=2)]
        else:
            # New ones each time, because some keep what their kernel has made of the atoms.
            saes = [make_sae("relu"), make_sae("topk", k=2), make_sae("ihtp", k=1), make_sae("mpsae", s=3)]
        settings = replace(SETTINGS[name], **SMALLER.get(name, {}))
        found = sae_research.evaluate(
            _on(model, device, dtype), saes, {name: settings}, world=small_world, seed=0, batch_size=16, progress=False
        )
        assert not found.failures, found.failures
        return _numbers(found)

    return run


def _on(lm: LanguageModel, device: str, dtype: torch.dtype) -> LanguageModel:
    model: Any = copy.deepcopy(lm.plain_model).to(device=device, dtype=dtype)
    return LanguageModel(take_apart(model, lm.n_layers), lm.tokenizer, name=lm.name, revision=lm.revision)


def _numbers(found: sae_research.Evaluation) -> Numbers:
    """Every measurement, and every number in tables."""
    numbers: Numbers = {}
    for result in found.results:
        sae = result.sae["name"]
        for m in result.output.measurements:
            if UNSTABLE.isdisjoint(m.at.items()):
                numbers[sae, m.metric, *m.at.items()] = np.nan if m.value is None else m.value
        for table, content in result.output.tables.items():
            for column, values in content.columns.items():
                if values.dtype.kind == "f":
                    numbers |= {(sae, f"{table}.{column}", *at): float(v) for at, v in np.ndenumerate(values)}
    return numbers


def _assert_alike(found: Numbers, expected: Numbers, tolerance: Tolerance) -> None:
    assert found.keys() == expected.keys()
    assert np.isfinite(list(expected.values())).mean() > 0.5, "most numbers are missing"
    far: dict[str, list[bool]] = defaultdict(list)
    for place, number in expected.items():
        same = np.isclose(found[place], number, rtol=tolerance.distance, atol=tolerance.distance, equal_nan=True)
        far[place[1]].append(not same)
    apart = {metric: f"{sum(each)} of {len(each)}" for metric, each in far.items() if any(each)}
    n_far = sum(map(sum, far.values()))
    assert n_far <= (1 - tolerance.share) * len(expected), apart
    assert all(2 * sum(each) <= len(each) for each in far.values()), apart


@pytest.mark.parametrize(
    ("device", "dtype", "kernels"),
    [
        ("simulated", torch.float32, "compiled"),
        *(
            pytest.param("cuda", dtype, kernels, marks=pytest.mark.gpu)
            for dtype in TOLERANCES
            for kernels in ("compiled", "plain")
        ),
    ],
    indirect=["device"],
    ids=lambda value: str(value).removeprefix("torch."),
)
@pytest.mark.parametrize("name", eval_names())
def test_the_device_finds_what_the_cpu_finds(
    name: str, kernels: str, dtype: torch.dtype, device: str, numbers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = numbers(name, device, dtype)
    if kernels == "plain":
        for kernel in (pursuit, screening):
            monkeypatch.setattr(kernel, "library", lambda: None)
    _assert_alike(found, numbers(name, "cpu", dtype, kernels), TOLERANCES[dtype])


class Foreign:
    """A plain SAE of somebody else, whose weights lie on the CPU or on the device."""

    def __init__(self, sae: Sae, device: str) -> None:
        self.W_enc, self.b_enc, self.W_dec, self.b_dec = (
            sae.get_buffer(name).to(device) for name in ("W_enc", "b_enc", "W_dec", "b_dec")
        )

    def encode(self, x: Tensor) -> Tensor:
        return torch.relu((x - self.b_dec) @ self.W_enc + self.b_enc)

    def decode(self, codes: Tensor) -> Tensor:
        return codes @ self.W_dec + self.b_dec


def test_rows_of_tokens_and_foreign_saes_may_lie_anywhere(
    device: str, lm: LanguageModel, rows: Tensor, make_sae: Any
) -> None:
    sae = make_sae("relu")
    evals = {
        "core": {
            "context_size": rows.shape[1],
            "batch_size": 4,
            "n_reconstruction_batches": 1,
            "n_sparsity_batches": 2,
        },
        "dashboards": {"n_rows": len(rows), "n_latents": 5},
    }
    saes = {"on the cpu": Foreign(sae, "cpu"), "on the device": Foreign(sae, device)}
    found = sae_research.evaluate(
        _on(lm, device, torch.float32), saes, evals, texts=rows.to(device), site=sae.card.site.hook_name, progress=False
    )
    assert not found.failures, found.failures
    for metric in ("l0", "explained_variance", "ce_loss_score"):
        assert found.value("on the cpu", metric) == pytest.approx(found.value("on the device", metric), rel=1e-4)
